"""People with a skeleton: real Anny bodies in random poses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from export_people import HEIGHT_M, plane, posed_person

from metrichmsr.bodies import load_body_model
from metrichmsr.bodies.protocol import BodyModel
from metrichmsr.bodies.smpl import SmplBody
from metrichmsr.bodies.smpl_files import BONES_OF, SmplData
from metrichmsr.scene.anchors import render_anchors
from metrichmsr.scene.ground import Ground
from metrichmsr.scene.world import world_from_camera
from metrichmsr.structures import AnchorResiduals, Person, Scene


@pytest.fixture(scope="session")
def anny() -> BodyModel:
    return load_body_model("anny")


@pytest.fixture
def make_anny(anny) -> Callable[..., Person]:
    """Factory of a person with Anny's body and skeleton."""

    def make(id: int = 0, pelvis=(0.2, 0.1, 4.0), **fields) -> Person:
        return posed_person(anny, id, pelvis, **fields)

    return make


@pytest.fixture
def tiny_smpl() -> Callable[..., SmplBody]:
    """Factory of made-up models of the SMPL family: the real trees' sizes, few vertices."""

    def make(kind: str, vertices: int = 60) -> SmplBody:
        rng = np.random.default_rng(0)
        bones = BONES_OF[kind]
        data = SmplData(
            kind=kind,
            path=Path(f"{kind}.npz"),
            v_template=rng.normal(size=(vertices, 3)).astype(np.float32),
            shapedirs=0.1 * rng.normal(size=(vertices, 3, 10)).astype(np.float32),
            posedirs=0.01 * rng.normal(size=(vertices, 3, 9 * (bones - 1))).astype(np.float32),
            joint_regressor=rng.dirichlet(np.full(vertices, 0.2), bones).astype(np.float32),
            weights=rng.dirichlet(np.full(bones, 0.2), vertices).astype(np.float32),
            parents=(-1, *(int(rng.integers(max(0, bone - 4), bone)) for bone in range(1, bones))),
            faces=np.array([[i, i + 1, i + 2] for i in range(vertices - 2)]),
            hands_mean=None,
        )
        return SmplBody(data)

    return make


@pytest.fixture
def world(make_camera, make_person, make_recovery):
    """A floor under a camera that looks down by 20°, and one person on it: a Recovery with everything known."""
    camera = make_camera()
    pitch = np.radians(-20)
    normal = np.array([0.0, -np.cos(pitch), np.sin(pitch)])
    person = make_person(pelvis=(0.2, 0.0, 4.0), camera=camera)
    anchors = render_anchors([person], camera)
    floor = plane(camera, normal, HEIGHT_M)
    depth = np.fmin(floor, anchors.depth_m)
    ground = Ground(normal, HEIGHT_M, 0.05, 1.0, 0.6, "ground")

    def make(people=(person,), **fields):
        values = {
            "depth_m": depth,
            "source": "embedded",
            "refined": True,
            "initial_depth_m": 1.1 * depth,
            "anchor_m": anchors.depth_m,
            "confidence": np.where(np.isfinite(depth), 0.8, 0).astype(np.float32),
            "refinement": "network",
            "residuals": AnchorResiduals(float("nan"), 0.02, 0.01, 0.9, 0.1, 900, {0: 0.02}),
            "ground_normal": normal,
            "ground_offset_m": HEIGHT_M,
            "ground_std_m": 0.05,
            "world_from_camera": world_from_camera(ground),
            "up_source": "ground",
            "foot_clearance_m": {0: 0.03},
        }
        image = np.zeros((camera.height, camera.width, 3), np.uint8)
        image[..., 0] = 200
        return make_recovery(people=people, camera=camera, image=image, scene=Scene(**{**values, **fields}))

    return make
