"""A tiny world in the sets' own layouts: people are flat boards, so that every truth is known in closed form."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from metrichmsr.datasets.joint_orders import LSP14, MPI3DHP17
from metrichmsr.evaluation.baselines import standing_figure
from metrichmsr.structures import COCO17, Camera, Person, Recovery

WIDTH, HEIGHT = 320, 240
K = np.array([[300.0, 0.0, 160.0], [0.0, 305.0, 120.0], [0.0, 0.0, 1.0]])
STATURE_M = 1.7


def board_person(id: int, center: tuple[float, float, float], stature_m: float = STATURE_M) -> Person:
    """A person in a board facing the camera, half a metre wide, from heel to crown, mid-hip at ``center``."""
    center_m = np.array(center)
    hips_up = 0.53 * stature_m
    low, high = np.array([-0.25, hips_up - stature_m, 0]), np.array([0.25, hips_up, 0])
    vertices = center_m + np.array([low, [high[0], low[1], 0], high, [low[0], high[1], 0]])
    keypoints = standing_figure(stature_m)
    face = np.array([[0.0, 0, 0], [0.03, -0.03, 0], [-0.03, -0.03, 0], [0.07, 0, 0], [-0.07, 0, 0]])
    keypoints[:5] = face + np.array([0, hips_up - 0.93 * stature_m, 0])
    keypoints = center_m + keypoints
    uv = pixels(keypoints)
    return Person(
        id=id,
        score=0.9,
        box_xyxy=np.concatenate([pixels(vertices).min(axis=0), pixels(vertices).max(axis=0)]),
        body_model="board",
        translation_m=center_m,
        pose={},
        shape={},
        height_m=stature_m,
        height_std_m=0.06,
        distance_std_m=0.05 * float(np.linalg.norm(center_m)),
        keypoints_2d_px=np.column_stack([uv, np.ones(17)]),
        keypoints_3d_m=keypoints,
        vertices_m=vertices,
        faces=np.array([[0, 2, 1], [0, 3, 2]]),
        joints_m=center_m[None],
    )


def pixels(points: np.ndarray) -> np.ndarray:
    homogeneous = points @ K.T
    return homogeneous[..., :2] / homogeneous[..., 2:]


def farther(person: Person, factor: float) -> Person:
    """The same picture of a body that is ``factor`` times as large and as far away."""
    return replace(
        person,
        translation_m=factor * person.translation_m,
        keypoints_3d_m=factor * person.keypoints_3d_m,
        vertices_m=factor * person.vertices_m,
        joints_m=factor * person.joints_m,
        height_m=factor * person.height_m,
    )


SCENES: dict[int, tuple[Person, ...]] = {
    20: (board_person(0, (0.3, 0.1, 4.0)),),
    40: (board_person(0, (-0.8, 0.0, 5.0)), board_person(1, (0.9, 0.1, 4.5), 1.6)),
    60: (),
}
"""What pictures of one grey value show: the fake method recognises them by it."""


@dataclass
class FakeMethod:
    """Knows the scenes by their grey value, and may be made worse."""

    change: Callable[[Person], Person] = lambda person: person
    keep: Callable[[Person], bool] = lambda person: True
    calls: int = 0

    def __call__(self, image: np.ndarray, camera: Camera | None, /) -> Recovery:
        self.calls += 1
        people = tuple(self.change(person) for person in SCENES[int(image[0, 0, 0])] if self.keep(person))
        shown = Camera(K=K, width=WIDTH, height=HEIGHT, source="assumed")
        return Recovery(image_path=Path("array"), image=image, camera=camera or shown, people=people)


@pytest.fixture
def method() -> type[FakeMethod]:
    return FakeMethod


@pytest.fixture
def make_farther() -> Callable[[Person, float], Person]:
    return farther


@pytest.fixture(scope="session")
def tiny_sets(tmp_path_factory) -> Path:
    """A folder with the sets: scenes 20 (one person), 40 (two), 60 (nobody)."""
    root = tmp_path_factory.mktemp("real")
    _write_lspet(root / "kp2d_lspet")
    _write_mpi3dhp(root / "mpi3dhp_mini")
    _write_uc3m(root / "rgbd_uc3m_height")
    _write_kitti(root / "kitti_pedestrians")
    _write_nuscenes(root / "nuscenes_pedestrians")
    return root


def _photo(folder: Path, name: str, value: int) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(folder / name), np.full((HEIGHT, WIDTH, 3), value, dtype=np.uint8))
    return name


def _meta(folder: Path, **content: object) -> None:
    (folder / "meta.json").write_text(json.dumps(content))


def zero_based(matrix: np.ndarray) -> list[list[float]]:
    return (matrix - [[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]]).tolist()


def _write_lspet(folder: Path) -> None:
    person = SCENES[20][0]
    named = dict(zip(COCO17, person.keypoints_2d_px[:, :2], strict=True))
    head = {"neck": named["nose"], "head_top": named["nose"]}
    joints = [[*({**named, **head}[name] + 0.5), 1] for name in LSP14]
    hidden = [list(joint) for joint in joints]
    hidden[LSP14.index("left_wrist")] = [-40.0, 0.0, 0.0]
    no_torso = [list(joint) for joint in joints]
    for name in ("left_hip", "right_hip"):
        no_torso[LSP14.index(name)] = [0.0, -60.0, 0.0]
    short = [name.replace("right_", "r").replace("left_", "l") for name in LSP14]
    frames = [
        {"image": _photo(folder, f"im{i}.png", 20), "joints_xyv": labels}
        for i, labels in enumerate((joints, hidden, no_torso))
    ]
    _meta(folder, joint_order=short, frames=frames)


def _write_mpi3dhp(folder: Path) -> None:
    person = SCENES[20][0]
    named = dict(zip(COCO17, person.keypoints_3d_m, strict=True))
    joints = np.array([named.get(name, person.translation_m) for name in MPI3DHP17])
    short = [name.replace("right_", "r").replace("left_", "l") for name in MPI3DHP17]
    frame = {
        "image": _photo(folder, "a.png", 20),
        "K": K.tolist(),
        "joints3d_cam_m": joints.tolist(),
        "joints2d_px": pixels(joints).tolist(),
        "split": "test",
    }
    _meta(folder, joint_order=short, frames=[frame, {**frame, "image": _photo(folder, "b.png", 60)}])


def _write_uc3m(folder: Path) -> None:
    frames = []
    for value, name in ((20, "one"), (40, "two"), (60, "empty_lab")):
        depth, mask, listed = np.full((HEIGHT, WIDTH), 7000, np.uint16), np.zeros((HEIGHT, WIDTH), np.uint8), []
        for person in SCENES[value]:
            x0, y0, x1, y1 = np.rint(person.box_xyxy).astype(int)
            depth[y0:y1, x0:x1] = round(1000 * person.translation_m[2])
            mask[y0:y1, x0:x1] = person.id + 1
            listed.append({"mask_value": person.id + 1, "height_m_gt": person.height_m})
        depth[:, ::7] = 0  # the sensor has holes
        frame = {"name": name, "rgb": _photo(folder, f"{name}_rgb.png", value), "persons": listed}
        for kind, image in (("depth", depth), ("mask", mask)):
            frame[kind] = f"{name}_{kind}.png"
            cv2.imwrite(str(folder / frame[kind]), image)
        frames.append(frame)
    _meta(folder, K=zero_based(K), frames=frames)


def _street(person: Person, anchor: str, shift: np.ndarray) -> dict[str, object]:
    low, high = person.vertices_m.min(axis=0), person.vertices_m.max(axis=0)
    middle = (low + high) / 2
    point = middle if anchor == "centre_xyz_cam_m" else np.array([middle[0], high[1], middle[2]])
    return {
        "bbox_xyxy": (person.box_xyxy - 0.5).tolist(),
        "height_m": person.height_m,
        anchor: (point - shift).tolist(),
    }


def _write_kitti(folder: Path) -> None:
    shift = np.array([0.06, -0.001, 0.005])
    P2 = np.array(zero_based(K)) @ np.column_stack([np.eye(3), shift])
    people = [_street(person, "foot_xyz_cam_m", shift) for person in SCENES[40]]
    for person, kind in zip(people, ("Pedestrian", "Cyclist"), strict=True):
        person.update(type=kind, occluded=0)
    missed = {**people[0], "bbox_xyxy": [2, 100, 8, 120], "foot_xyz_cam_m": [-9.0, 1, 18]}
    frame = {"image": _photo(folder, "street.png", 40), "P2": P2.ravel().tolist(), "persons": [*people, missed]}
    _meta(folder, frames=[frame])


def _write_nuscenes(folder: Path) -> None:
    people = [_street(person, "centre_xyz_cam_m", np.zeros(3)) for person in SCENES[40]]
    _meta(folder, frames=[{"image": _photo(folder, "street.png", 40), "K": zero_based(K), "persons": people}])
