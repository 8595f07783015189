"""People with labelled 2D keypoints: LSP-extended, and the small sample of many sets that MMPose ships.

All labels leave here as COCO-17 in continuous pixels, NaN where the set lacks the joint or did not label it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from metrichmsr.datasets.joint_orders import (
    AIC14,
    CROWDPOSE14,
    JHMDB15,
    LSP14,
    MPII16,
    POSETRACK17,
    canonical_name,
    present,
    select_joints,
)
from metrichmsr.datasets.photo import ONE_BASED, ZERO_BASED, PhotoFile, entry, numbers, read_json
from metrichmsr.errors import InputError
from metrichmsr.structures import COCO17


@dataclass(frozen=True)
class KeypointPerson:
    """One labelled person in a picture."""

    keypoints_px: Float[np.ndarray, "17 2"]
    """COCO-17 in continuous pixels; NaN where not labelled."""
    box_xyxy: Float[np.ndarray, "4"]
    """The set's own box where it has one, else the box around the labelled joints; continuous pixels."""
    area_px: float
    """Area that scales OKS: the segmented area where the set gives one, else :data:`AREA_OF_BOX` of the box."""


@dataclass(frozen=True)
class KeypointFrame:
    """A photo and the people labelled in it (there may be more)."""

    photo: PhotoFile
    source: str
    """The data set it comes from (``lspet``, ``coco``, ``ochuman``…)."""
    people: tuple[KeypointPerson, ...]


AREA_OF_BOX = 0.53
"""Share of a person's box that the person fills, where no segmentation tells (the usual value for OKS)."""


def _labelled_person(
    joints: Float[np.ndarray, "J 2"],
    labelled: np.ndarray,
    names: tuple[str, ...],
    offset: float,
    box_xyxy: Float[np.ndarray, "4"] | None = None,
    area_px: float | None = None,
) -> KeypointPerson | None:
    """A person from one label, or None where no joint of COCO-17 is labelled."""
    joints = np.where(np.asarray(labelled, dtype=bool)[:, None], joints + offset, np.nan)
    keypoints = select_joints(joints, names, COCO17)
    if not present(keypoints).any():
        return None
    seen = joints[present(joints)]
    if box_xyxy is None:
        box_xyxy = np.concatenate([seen.min(axis=0), seen.max(axis=0)])
    if area_px is None:
        area_px = AREA_OF_BOX * float(np.prod(box_xyxy[2:] - box_xyxy[:2]))
    return KeypointPerson(keypoints_px=keypoints, box_xyxy=box_xyxy, area_px=area_px)


def read_lspet(folder: Path) -> list[KeypointFrame]:
    """``kp2d_lspet``: sport photos with one labelled person, about 150 px tall, labels from the crowd.

    12 of its 14 joints have a COCO-17 name; neck and top of the head have none and are dropped. Joints marked invisible
    have made-up positions and become NaN.
    """
    path = folder / "kp2d_lspet" / "meta.json"
    meta = read_json(path)
    names = tuple(canonical_name(name) for name in entry(meta, "joint_order", path))
    if names != LSP14:
        raise InputError(f"{path}: joint order {names} is not that of LSP")
    frames = []
    for record in entry(meta, "frames", path):
        joints = numbers(entry(record, "joints_xyv", path), (14, 3), path, "joints_xyv")
        person = _labelled_person(joints[:, :2], joints[:, 2] > 0, names, ONE_BASED)
        photo = PhotoFile(path.parent / entry(record, "image", path))
        frames.append(KeypointFrame(photo=photo, source="lspet", people=() if person is None else (person,)))
    return frames


@dataclass(frozen=True)
class _CocoFile:
    """One COCO-style label file of the MMPose sample."""

    labels: str
    names: tuple[str, ...]
    image_path: Callable[[str], str] = lambda name: name
    """From the file name in the labels to the path below the set's folder."""


MMPOSE_FILES: Mapping[str, _CocoFile] = {
    "coco": _CocoFile("test_coco.json", COCO17),
    "ochuman": _CocoFile("test_ochuman.json", COCO17),
    "crowdpose": _CocoFile("test_crowdpose.json", CROWDPOSE14),
    "exlpose": _CocoFile("test_exlpose.json", CROWDPOSE14),
    "aic": _CocoFile("test_aic.json", AIC14),
    "jhmdb": _CocoFile("test_jhmdb_sub1.json", JHMDB15),
    "posetrack18": _CocoFile("annotations/test_posetrack18_val.json", POSETRACK17),
    # The upstream file lists drawings too, whose pictures are not in the sample: missing files are skipped below.
    "humanart": _CocoFile("test_humanart.json", COCO17, lambda name: name.removeprefix("HumanArt/images/")),
}
"""Label files of ``kp2d_mmpose_mini`` that are COCO-style, by sub-set. MPII has a format of its own."""


def read_mmpose_mini(folder: Path) -> list[KeypointFrame]:
    """``kp2d_mmpose_mini``: 26 pictures of nine sets, several people each, boxes and keypoints."""
    root = folder / "kp2d_mmpose_mini"
    if not root.is_dir():
        raise InputError(f"{root}: not a folder")
    frames = []
    for source, file in MMPOSE_FILES.items():
        frames += _read_coco_style(root / source, source, file)
    return frames + _read_mpii(root / "mpii")


def read_coco(labels: Path, pictures: Path) -> list[KeypointFrame]:
    """People of any label file in COCO's format of keypoints (17 joints, with COCO's names).

    Args:
        labels: ``person_keypoints_….json``.
        pictures: the folder below which the file names in it are found; pictures that are not there are left out.

    Raises:
        InputError: the file is damaged or of another kind, or none of its pictures is there.
    """
    if not pictures.is_dir():
        raise InputError(f"{pictures}: not a folder")
    frames = _read_coco_style(pictures, labels.stem, _CocoFile(str(labels.absolute()), COCO17))
    if not frames:
        raise InputError(f"{pictures}: none of the pictures that {labels.name} names is here")
    return frames


def _read_coco_style(root: Path, source: str, file: _CocoFile) -> list[KeypointFrame]:
    path = root / file.labels
    meta = read_json(path)
    category = next((c for c in entry(meta, "categories", path) if c.get("name") == "person"), None)
    # HumanArt states 21 joints for another field: its "keypoints" are COCO's.
    stated = tuple(canonical_name(name) for name in entry(category, "keypoints", path))[: len(file.names)]
    if stated != file.names:
        raise InputError(f"{path}: joint order {stated} is not the known one of {source}")
    labels: dict[int, list[Any]] = {}
    for label in entry(meta, "annotations", path):
        labels.setdefault(entry(label, "image_id", path), []).append(label)
    frames = []
    for image in entry(meta, "images", path):
        image_path = root / file.image_path(entry(image, "file_name", path))
        if not image_path.is_file():
            continue
        people = [_coco_person(label, file.names, path) for label in labels.get(image["id"], [])]
        known = tuple(person for person in people if person is not None)
        frames.append(KeypointFrame(photo=PhotoFile(image_path), source=source, people=known))
    return frames


def _coco_person(label: Any, names: tuple[str, ...], path: Path) -> KeypointPerson | None:
    if label.get("iscrowd"):
        return None
    joints = numbers(entry(label, "keypoints", path), (3 * len(names),), path, "keypoints").reshape(-1, 3)
    x, y, width, height = numbers(entry(label, "bbox", path), (4,), path, "bbox")
    return _labelled_person(
        joints[:, :2],
        joints[:, 2] > 0,
        names,
        ZERO_BASED,
        box_xyxy=np.array([x, y, x + width, y + height]),
        area_px=float(label["area"]) if label.get("area") else None,
    )


def _read_mpii(root: Path) -> list[KeypointFrame]:
    """MPII's label file: one entry per person; several may share a picture."""
    path = root / "test_mpii.json"
    people: dict[str, list[KeypointPerson]] = {}
    for label in read_json(path):
        joints = numbers(entry(label, "joints", path), (16, 2), path, "joints")
        seen = numbers(entry(label, "joints_vis", path), (16,), path, "joints_vis") > 0
        person = _labelled_person(joints, seen, MPII16, ONE_BASED)
        people.setdefault(entry(label, "image", path), []).extend([] if person is None else [person])
    return [
        KeypointFrame(photo=PhotoFile(root / image), source="mpii", people=tuple(known))
        for image, known in people.items()
    ]
