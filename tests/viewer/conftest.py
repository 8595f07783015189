"""A small result whose every measure is known: a plain wall, a box for a person, a camera 1.5 m above the ground."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from viewer_boxes import BOX, CAMERA_HEIGHT_M, WALL_M, box_person

from metrichmsr.export.write import write_recovery
from metrichmsr.structures import AnchorResiduals, Camera, Recovery, Scene


@pytest.fixture
def make_box_recovery() -> Callable[..., Recovery]:
    """Factory of a level camera before a wall, with boxes for people."""

    def make(
        path: Path = Path("wall.png"), places: tuple[tuple[float, float], ...] = ((0.0, 4.0), (1.2, 5.0)), **fields
    ) -> Recovery:
        camera = Camera(
            np.array([[120.0, 0, 80], [0, 120.0, 60], [0, 0, 1]]), 160, 120, source="exif", focal_std_px=6.0
        )
        world = np.diag([1.0, -1.0, -1.0, 1.0])
        world[1, 3] = CAMERA_HEIGHT_M
        rows = np.arange(120)[:, None] + 0.5
        with np.errstate(divide="ignore"):
            floor = np.where(rows > 60, CAMERA_HEIGHT_M * 120 / (rows - 60), np.inf)
        depth = np.broadcast_to(np.minimum(WALL_M, floor), (120, 160)).astype(np.float32).copy()
        anchor = np.full_like(depth, np.nan)
        people = tuple(box_person(i, x, z) for i, (x, z) in enumerate(places))
        for person in people:
            front = person.translation_m[2] - BOX[2] / 2
            u = (person.translation_m[0] + BOX[0] * np.array([-0.5, 0.5])) / front * 120 + 80
            v = (person.translation_m[1] + BOX[1] * np.array([-0.5, 0.5])) / front * 120 + 60
            anchor[max(0, int(v[0])) : int(v[1]), max(0, int(u[0])) : int(u[1])] = front
        depth = np.fmin(depth, anchor)
        scene = Scene(
            depth_m=depth,
            source="embedded",
            refined=True,
            initial_depth_m=1.25 * depth,
            anchor_m=anchor,
            confidence=np.full_like(depth, 0.5),
            refinement="network",
            residuals=AnchorResiduals(0.25, 0.02, 0.01, 0.8, 0.0, 900, {0: 0.02}),
            ground_normal=np.array([0.0, -1.0, 0.0]),
            ground_offset_m=CAMERA_HEIGHT_M,
            ground_std_m=0.1,
            world_from_camera=world,
            up_source="ground",
        )
        image = np.full((120, 160, 3), 128, np.uint8)
        values = {
            "image_path": path,
            "image": image,
            "camera": camera,
            "people": people,
            "scene": scene,
            "warnings": ("a warning <b>of its own</b>",),
            "versions": {"metrichmsr": "0", "checkpoint": "none"},
        }
        return Recovery(**{**values, **fields})

    return make


@pytest.fixture
def box_result(tmp_path, make_box_recovery) -> Callable[..., Path]:
    """Factory of the written folder, with the photo beside."""

    def make(stem: str = "wall", *, frame: int | None = None, formats=("ply", "depth"), **fields) -> Path:
        photo = tmp_path / f"{stem}.png"
        recovery = make_box_recovery(photo, **fields)
        Image.fromarray(recovery.image).save(photo)
        out = tmp_path / "out"
        out.mkdir(exist_ok=True)
        return write_recovery(recovery, out, stem, formats=formats, frame=frame)

    return make
