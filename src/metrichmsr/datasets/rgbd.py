"""Photos with registered sensor depth, and the people in them.

Depth leaves here as float32 z-depth in metres with NaN where the sensor has no reading. It is the depth of the first
surface: of clothes and skin, about 10 cm in front of a pelvis.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Bool, Float

from metrichmsr.datasets.photo import ZERO_BASED, PhotoFile, entry, given_camera, read_json
from metrichmsr.errors import InputError


@dataclass(frozen=True)
class RgbdPerson:
    """One person known to be in the picture."""

    box_xyxy: Float[np.ndarray, "4"]
    """Box around the visible person, continuous pixels."""
    mask_value: int | None = None
    """Value of this person's pixels in the frame's mask; None where the set has no mask."""
    height_m: float | None = None
    """Stated stature; None where unknown."""


@dataclass(frozen=True)
class RgbdFrame:
    """A photo with depth."""

    name: str
    """The frame's name in its set."""
    photo: PhotoFile
    depth_path: Path
    depth_scale: float
    """Stored units per metre."""
    people: tuple[RgbdPerson, ...]
    """Who is known to be there."""
    people_complete: bool
    """Whether ``people`` is everybody: where it is, anyone else who is found is a false alarm."""
    mask_path: Path | None = None
    mask_threshold: int = 0
    """Mask pixels above it are the person (JPEG masks blur at the edge); 0 keeps the stored values."""

    def read_depth(self) -> Float[np.ndarray, "H W"]:
        """Z-depth in metres, float32; NaN where the sensor has no reading."""
        stored = cv2.imread(str(self.depth_path), cv2.IMREAD_UNCHANGED)
        if stored is None or stored.dtype != np.uint16 or stored.ndim != 2:
            raise InputError(f"{self.depth_path}: not a 16-bit depth image")
        depth = stored.astype(np.float32) / np.float32(self.depth_scale)
        depth[stored == 0] = np.nan
        return depth

    def read_mask(self, person: RgbdPerson) -> Bool[np.ndarray, "H W"] | None:
        """Pixels of one person; None where the set has no mask."""
        if self.mask_path is None or person.mask_value is None:
            return None
        return _read_labels(self.mask_path, self.mask_threshold) == person.mask_value


RGBD_SETS: Mapping[str, str] = {
    "rgbd_uc3m_height": "4 standing adults at 2 m, one empty room, one face close to the camera",
    "rgbd_pcl_five_people": "5 people from behind at 1.8-2.6 m",
    "rgbd_tum_fr3_walking": "1-2 people with motion blur and camera roll",
    "rgbd_uva_turnaround": "one upper body turning at 0.85 m",
    "rgbd_deepdeform": "people hidden behind a shirt they hold: scene depth only",
}
"""The sets with depth, and what they show."""

_DEPTH_SCALE = {"rgbd_tum_fr3_walking": 5000.0}
_MILLIMETRES = 1000.0

# UvA's principal point is the exact half of the image: already continuous. The others are Kinect calibrations by
# OpenCV or PCL, 0-based (for PCL's cloud x = (u - cx) z / f holds to 1e-6 with the pixel's index).
_PIXEL_OFFSET = {"rgbd_uva_turnaround": 0.0}

_PEOPLE_BY_EYE: Mapping[str, Mapping[str, tuple[tuple[float, float, float, float], ...]]] = {
    "rgbd_pcl_five_people": {
        "rgb.png": (
            (16, 62, 154, 480),
            (144, 96, 244, 480),
            (280, 104, 364, 440),
            (362, 105, 468, 460),
            (460, 48, 608, 480),
        )
    },
    "rgbd_tum_fr3_walking": {
        "test1/rgb/1341846675.350149.png": ((88, 48, 312, 480), (338, 0, 570, 480)),
        "test1/rgb/1341846675.718055.png": ((0, 54, 295, 480), (218, 0, 470, 480)),
        "test2/rgb/1341846653.598213.png": ((143, 141, 276, 480),),
        "test2/rgb/1341846653.866214.png": ((220, 129, 308, 480),),
        "test3/rgb/1341846670.664027.png": ((5, 78, 615, 480),),
        "test3/rgb/1341846670.896149.png": ((0, 78, 515, 480),),
    },
}
"""Boxes of everybody in the sets that come without masks, drawn by eye on a grid (±5 px)."""

_EMPTY_ROOMS = {"rgbd_uc3m_height": ("empty_lab",)}
"""Frames without masks in which there is nobody; the other maskless frames show someone who is not labelled."""


def read_rgbd(folder: Path, name: str) -> list[RgbdFrame]:
    """One of :data:`RGBD_SETS`."""
    if name not in RGBD_SETS:
        raise InputError(f"{name}: not a known set with depth (known: {', '.join(RGBD_SETS)})")
    path = folder / name / "meta.json"
    meta = read_json(path)
    records = meta.get("frames") or [{"rgb": "rgb.png", "depth": "depth.png"}]
    return [_frame(name, record, meta, path) for record in records]


def _frame(name: str, record: Any, meta: Any, path: Path) -> RgbdFrame:
    image_name = entry(record, "rgb", path)
    image = path.parent / image_name
    K = entry(record if "K" in record else meta, "K", path)
    photo = PhotoFile(image, given_camera(K, image, pixel_offset=_PIXEL_OFFSET.get(name, ZERO_BASED)))
    mask_path = path.parent / record["mask"] if "mask" in record else None
    threshold = 127 if mask_path is not None and mask_path.suffix == ".jpg" else 0
    if name in _PEOPLE_BY_EYE:
        boxes = _PEOPLE_BY_EYE[name].get(image_name)
        people = tuple(RgbdPerson(box_xyxy=np.array(box, dtype=np.float64)) for box in boxes or ())
        complete = boxes is not None
    else:
        people = _masked_people(mask_path, threshold, record)
        complete = bool(people) or record.get("name") in _EMPTY_ROOMS.get(name, ())
    return RgbdFrame(
        name=str(record.get("name", image_name)),
        photo=photo,
        depth_path=path.parent / entry(record, "depth", path),
        depth_scale=_DEPTH_SCALE.get(name, _MILLIMETRES),
        people=people,
        people_complete=complete,
        mask_path=mask_path,
        mask_threshold=threshold,
    )


def _masked_people(mask_path: Path | None, threshold: int, record: Any) -> tuple[RgbdPerson, ...]:
    """People from the mask: those the record lists, or (threshold masks) the one person there is."""
    if mask_path is None:
        return ()
    stated = record.get("persons", [{"mask_value": 1}] if threshold else [])
    if not stated:
        return ()
    labels = _read_labels(mask_path, threshold)
    people = []
    for person in stated:
        rows, columns = np.nonzero(labels == person["mask_value"])
        if not len(rows):
            raise InputError(f"{mask_path}: no pixel of value {person['mask_value']}")
        box = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], dtype=np.float64)
        people.append(RgbdPerson(box, int(person["mask_value"]), person.get("height_m_gt")))
    return tuple(people)


def _read_labels(mask_path: Path, threshold: int) -> np.ndarray:
    stored = cv2.imread(str(mask_path), cv2.IMREAD_GRAYSCALE)
    if stored is None:
        raise InputError(f"{mask_path}: cannot be read as a mask")
    return (stored > threshold).astype(np.uint8) if threshold else stored
