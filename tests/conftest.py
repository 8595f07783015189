"""Fixtures shared by all rooms: made-up records that obey the conventions, and the shared data folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from metrichmsr import own_process
from metrichmsr.structures import COCO17, Camera, Person, Recovery

own_process.settle()  # before any test loads torch

BONES = ("root", "spine01", "neck01", "upperarm01.L", "upperarm01.R", "upperleg01.L", "upperleg01.R")


def ellipsoid(center: np.ndarray, radii: tuple[float, float, float], rings: int = 12, sectors: int = 16):
    """Vertices and outward, counter-clockwise faces of a closed ellipsoid."""
    polar = np.linspace(0, np.pi, rings + 1)[1:-1, None]
    azimuth = np.linspace(0, 2 * np.pi, sectors, endpoint=False)[None]
    ring = np.stack(
        np.broadcast_arrays(np.sin(polar) * np.cos(azimuth), np.cos(polar), np.sin(polar) * np.sin(azimuth))
    )
    unit = np.concatenate([[[0.0, 1.0, 0.0]], ring.reshape(3, -1).T, [[0.0, -1.0, 0.0]]])
    last = len(unit) - 1
    faces = []
    for s in range(sectors):
        t = (s + 1) % sectors
        faces.append((0, 1 + t, 1 + s))
        faces.append((last, last - sectors + s, last - sectors + t))
        for r in range(rings - 2):
            a, b, c, d = 1 + r * sectors + s, 1 + r * sectors + t, 1 + (r + 1) * sectors + s, 1 + (r + 1) * sectors + t
            faces += [(a, b, c), (b, d, c)]
    return center + unit * radii, np.array(faces, dtype=np.int64)


@pytest.fixture
def make_camera() -> Callable[..., Camera]:
    """Factory of a camera that is off-centre and has a K with no short decimals."""

    def make(width: int = 160, height: int = 120, source: str = "exif", **fields) -> Camera:
        K = np.array([[200 / 1.3, 0.0, width / 2 + 1 / 3], [0.0, 200 / 1.29, height / 2 - 2 / 7], [0.0, 0.0, 1.0]])
        return Camera(K=K, width=width, height=height, source=source, **{"focal_std_px": 9.0, **fields})

    return make


@pytest.fixture
def make_person(make_camera) -> Callable[..., Person]:
    """Factory of a person: an ellipsoid of human size whose keypoints lie in it and project onto its 2D ones."""

    def make(id: int = 0, pelvis=(0.2, 0.1, 4.0), camera: Camera | None = None, **fields) -> Person:
        camera = camera or make_camera()
        rng = np.random.default_rng(id)
        pelvis = np.asarray(pelvis, dtype=np.float64)
        vertices, faces = ellipsoid(pelvis, (0.25, 0.85, 0.2))
        keypoints = pelvis + rng.uniform(-0.5, 0.5, (len(COCO17), 3)) * (0.25, 0.85, 0.2)
        uvw = keypoints @ camera.K.T
        uv = uvw[:, :2] / uvw[:, 2:]
        joints = np.concatenate([pelvis[None], pelvis + rng.uniform(-0.2, 0.2, (len(BONES) - 1, 3))])
        values = {
            "id": id,
            "score": 0.97 - 0.1 * id,
            "box_xyxy": np.concatenate([uv.min(axis=0), uv.max(axis=0)]),
            "body_model": "anny",
            "translation_m": pelvis,
            "pose": {bone: rng.normal(size=3) for bone in BONES},
            "shape": {"age": 0.6, "height": 0.5 + 0.01 * id},
            "height_m": 1.7,
            "height_std_m": 0.06,
            "distance_std_m": 0.2,
            "keypoints_2d_px": np.column_stack([uv, rng.uniform(0.5, 1, len(COCO17))]),
            "keypoints_3d_m": keypoints,
            "vertices_m": vertices,
            "faces": faces,
            "joints_m": joints,
            "reprojection_px": 0.0,
        }
        return Person(**{**values, **fields})

    return make


@pytest.fixture
def make_recovery(make_camera, make_person) -> Callable[..., Recovery]:
    """Factory of a recovery of a small picture: so many people side by side, or the people given."""

    def make(path: str | Path = "photos/pair.jpg", people: int | tuple[Person, ...] = 2, **fields) -> Recovery:
        camera = fields.pop("camera", None) or make_camera()
        if isinstance(people, int):
            people = tuple(make_person(i, (0.2 - 0.9 * i, 0.1, 4.0 + i), camera) for i in range(people))
        values = {
            "image_path": Path(path),
            "image": np.full((camera.height, camera.width, 3), 90, dtype=np.uint8),
            "camera": camera,
            "people": people,
            "timings_ms": {"read": 1.2345678, "fit": 900.0},
            "versions": {"metrichmsr": "0.1.0", "checkpoint": "none"},
        }
        return Recovery(**{**values, **fields})

    return make


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder with the shared data sets, beside the repository; skips where it is absent."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip("no shared data beside the repository")
    return folder
