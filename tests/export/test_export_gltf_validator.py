"""GLB files before Khronos's validator: ``npm install gltf-validator`` in any folder, its node_modules as NODE_PATH."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from export_people import posed_person

from metrichmsr.export.glb import scene_glb
from metrichmsr.export.gltf_animation import animation_glb
from metrichmsr.export.sequence import Motion, MotionSequence
from metrichmsr.structures import Scene
from metrichmsr.viewer.surroundings import SurroundingsMesh

NODE = shutil.which("node")
_WARNING = 1


def _has_validator() -> bool:
    asked = [str(NODE), "-e", "require('gltf-validator')"]
    return NODE is not None and subprocess.run(asked, capture_output=True, check=False).returncode == 0


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not _has_validator(), reason="no node here, or it finds no gltf-validator (NODE_PATH)"),
]


@pytest.fixture
def complaints(tmp_path):
    """Errors and warnings about a file."""

    def validate(data: bytes) -> list:
        file = tmp_path / "file.glb"
        file.write_bytes(data)
        script = Path(__file__).with_name("validate_gltf.cjs")
        ran = subprocess.run([str(NODE), str(script), str(file)], capture_output=True, text=True, timeout=300)
        assert ran.returncode == 0, ran.stderr
        return [issue for issue in json.loads(ran.stdout) if issue[0] <= _WARNING]

    return validate


@pytest.fixture
def scene(make_recovery, make_camera):
    """A wall three metres away, seen by a camera that looks down a little."""
    tilt = np.deg2rad(10)
    world = np.eye(4)
    world[1:3, 1:3] = [[-np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), -np.cos(tilt)]]
    world[1, 3] = 1.5
    camera = make_recovery(people=()).camera
    depth = np.full((camera.height, camera.width), 3.0, np.float32)
    return Scene(
        depth_m=depth, source="embedded", refined=True, confidence=np.ones_like(depth), world_from_camera=world
    )


def test_the_validator_complains_of_what_is_wrong(complaints, make_recovery):
    data = scene_glb(make_recovery())
    assert complaints(data) == []
    assert complaints(data.replace(b'"type":"VEC3"', b'"type":"VEC2"')) != []


def test_scenes_with_and_without_bones_and_surroundings(complaints, anny, make_recovery, scene):
    people = posed_person(anny, 0, (0.2, 0.1, 4.0)), posed_person(anny, 1, (-1.0, 0.3, 30.0))
    for recovery in (make_recovery(), make_recovery(people=people), make_recovery(people=())):
        assert complaints(scene_glb(recovery)) == []
        assert complaints(scene_glb(dataclasses.replace(recovery, scene=scene))) == []


def test_a_sequence_with_somebody_away(complaints, anny, make_recovery, scene):
    generator = torch.Generator().manual_seed(0)
    rotvecs = torch.cumsum(0.1 * torch.randn(4, anny.num_bones, 3, generator=generator), 0).double().numpy()
    frames = np.arange(4)
    shape = anny.default_shape().numpy().astype(np.float64)
    walker = Motion(0, frames, rotvecs, np.column_stack([0.05 * frames, 0 * frames, 4 + 0.1 * frames]), shape, 0.9)
    guest = Motion(1, frames[[0, 3]], rotvecs[[3, 0]], np.array([[1.0, 0, 5], [1.1, 0, 5]]), shape, 0.8)
    first = dataclasses.replace(make_recovery(people=()), scene=scene)
    assert complaints(animation_glb(MotionSequence(frames / 25, anny, (walker, guest)), first)) == []


def test_bodies_with_morph_targets(complaints, tiny_smpl, make_recovery):
    body = tiny_smpl("smplh")
    rng = np.random.default_rng(0)
    rotvecs, places = 0.3 * rng.normal(size=(9, body.num_bones, 3)), np.tile([0.0, 0.0, 5.0], (9, 1))
    motion = Motion(0, np.arange(9), rotvecs, places, rng.normal(size=len(body.shape_names)), 0.9)
    data = animation_glb(MotionSequence(np.arange(9) / 25, body, (motion,)), make_recovery(people=()))
    assert b'"targets"' in data
    assert complaints(data) == []


def test_what_the_viewer_shows_the_browser(complaints):
    corners = np.array([(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0)], np.float64)
    mesh = SurroundingsMesh(corners, np.array([(0, 2, 1), (0, 3, 2)]), corners[:, :2])
    assert complaints(mesh.glb(np.full((8, 8, 3), 128, np.uint8))) == []
