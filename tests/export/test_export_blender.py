"""GLB files as Blender imports them. Blender's Python may be another one than ours: ``BPY_PYTHON`` names it."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import roma
import torch

from metrichmsr import cli
from metrichmsr.export import read_result
from metrichmsr.export.frames import GLTF_FROM_CAMERA, moved, y_up_from_camera
from metrichmsr.export.gltf_animation import animation_glb
from metrichmsr.export.read import read_recovery
from metrichmsr.export.sequence import Motion, MotionSequence

BPY_PYTHON = os.environ.get("BPY_PYTHON") or (sys.executable if importlib.util.find_spec("bpy") else None)
STREET = Path(__file__).parents[2] / "examples" / "photos" / "street.jpg"
BLENDER_FROM_GLTF = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
"""Blender's importer turns y up to its z up."""
FPS = 25

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BPY_PYTHON is None, reason="no bpy here, and BPY_PYTHON names no Python that has it"),
]


def imported(glb: Path, out: Path, *frames: int) -> dict[str, np.ndarray]:
    """What ``blender_vertices.py`` saves of a file."""
    script = Path(__file__).with_name("blender_vertices.py")
    # Another Python is not to find our packages.
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [str(BPY_PYTHON), str(script), str(glb), str(out), str(FPS), *map(str, frames)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=600, env=env, check=False)
    assert ran.returncode == 0, ran.stderr
    with np.load(out) as found:
        return dict(found)


def check_bones(found: dict[str, np.ndarray], name: str, body) -> None:
    """The body model's bones and tree, whatever order Blender lists them in."""
    parents = dict(zip(found[f"{name}/bones"].tolist(), found[f"{name}/parents"].tolist(), strict=True))
    above = ["", *(body.bone_names[parent] for parent in body.parents[1:])]
    assert parents == dict(zip(body.bone_names, above, strict=True))
    assert found[f"{name}/rig"] == f"{name}_rig"


def test_a_photo_comes_as_it_was_recovered(anny, tmp_path):
    assert cli.main(["recover", str(STREET), "--out", str(tmp_path), "--formats", "glb,depth"]) == 0
    folder = tmp_path / "street"
    people = read_result(folder / "result.json")["people"]
    recovery = read_recovery(folder)
    found = imported(folder / "scene.glb", tmp_path / "found.npz", 0)
    names = [f"person_{person['id']}" for person in people]
    assert len(names) >= 2
    assert found["meshes"].tolist() == names
    assert {"camera", "surroundings", "upright", *(f"{name}_rig" for name in names)} <= set(found["objects"].tolist())
    assert not len(found["actions"])
    matrix = y_up_from_camera(recovery)
    for name, entry, person in zip(names, people, recovery.people, strict=True):
        check_bones(found, name, anny)
        assert float(found[f"{name}/height_m"]) == pytest.approx(entry["height_m"], abs=1e-3)
        expected = moved(person.vertices_m, matrix) @ BLENDER_FROM_GLTF.T
        (shown,) = found[f"{name}/vertices"]
        assert np.ptp(shown[:, 2]) == pytest.approx(np.ptp(expected[:, 2]), abs=1e-3), "height of the posed body"
        assert np.linalg.norm(shown - expected, axis=1).max() < 1e-3
        assert np.linalg.norm(found[f"{name}/rest"] - expected, axis=1).max() < 1e-3, "bound as it was recovered"


def test_a_sequence_moves_as_the_body_model_does(anny, make_recovery, tmp_path):
    generator = torch.Generator().manual_seed(0)
    rotvecs = torch.cumsum(0.1 * torch.randn(4, anny.num_bones, 3, generator=generator), 0).double().numpy()
    frames = np.arange(4)
    shape = anny.default_shape().numpy().astype(np.float64)
    shape[anny.shape_names.index("height")] += 0.1
    walker = Motion(0, frames, rotvecs, np.column_stack([0.05 * frames, 0 * frames, 4 + 0.1 * frames]), shape, 0.9)
    guest = Motion(1, frames[[0, 3]], rotvecs[[3, 0]], np.array([[1.0, 0, 5], [1.1, 0, 5]]), shape, 0.8)
    times_s = frames / FPS
    file = tmp_path / "animation.glb"
    file.write_bytes(animation_glb(MotionSequence(times_s, anny, (walker, guest)), make_recovery(people=())))
    found = imported(file, tmp_path / "found.npz", 0, 1, 3)
    assert found["meshes"].tolist() == ["person_0", "person_1"]
    assert len(found["actions"]) == 1
    keys = {(0, 0): 0, (0, 1): 1, (0, 2): 3, (1, 0): 0, (1, 2): 1}  # (person, frame looked at) → key of the motion
    for (who, looked), key in keys.items():
        motion = (walker, guest)[who]
        pose = roma.rotvec_to_rotmat(torch.from_numpy(motion.rotvecs[key])).float()[None]
        with torch.no_grad():
            body = anny(pose, torch.from_numpy(shape).float()[None]).vertices_m[0].numpy() + motion.places_m[key]
        expected = body @ GLTF_FROM_CAMERA.T @ BLENDER_FROM_GLTF.T
        shown = found[f"person_{who}/vertices"][looked]
        assert np.linalg.norm(shown - expected, axis=1).max() < 1e-3
    assert np.ptp(found["person_1/vertices"][1], axis=0).max() < 1e-3, "hidden where it is away"
    with torch.no_grad():
        stature = float(anny.height(torch.from_numpy(shape).float()[None])[0])
    for name in ("person_0", "person_1"):
        check_bones(found, name, anny)
        assert np.ptp(found[f"{name}/rest"][:, 2]) == pytest.approx(stature, abs=1e-3), "upright and unposed at rest"
        assert float(found[f"{name}/height_m"]) == pytest.approx(stature, abs=1e-3)
