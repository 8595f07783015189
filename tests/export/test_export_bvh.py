"""BVH: parsed by another library, its joints found by naive forward kinematics."""

from __future__ import annotations

import numpy as np
import pytest
import roma
import torch
from export_people import posed_person

from metrichmsr.errors import InputError
from metrichmsr.export.bvh import bvh_text, write_people_bvh, zxy_degrees
from metrichmsr.export.frames import GLTF_FROM_CAMERA, y_up_from_camera

bvh = pytest.importorskip("bvh")

TURNED = np.eye(4)
TURNED[:3, :3] = GLTF_FROM_CAMERA
TURNED[:3, 3] = (0.3, 1.5, -0.2)


def axis_rotation(axis: str, degrees: float) -> np.ndarray:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return {
        "X": np.array([[1, 0, 0], [0, c, -s], [0, s, c]]),
        "Y": np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]),
        "Z": np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]),
    }[axis]


def heads(text: str, frame: int) -> dict[str, np.ndarray]:
    """Joint positions, joint by joint and channel by channel in the order the file names them."""
    motion = bvh.Bvh(text)
    found: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for name in motion.get_joints_names():
        parent = motion.joint_parent(name)
        rotation, place = found[parent.name] if parent is not None else (np.eye(3), np.zeros(3))
        step, turn = np.array(motion.joint_offset(name)), np.eye(3)
        for channel in motion.joint_channels(name):
            value = motion.frame_joint_channel(frame, name, channel)
            if channel.endswith("position"):
                step = step + value * np.eye(3)["XYZ".index(channel[0])]
            else:
                turn = turn @ axis_rotation(channel[0], value)
        found[name] = rotation @ turn, place + rotation @ step
    return {name: place for name, (_, place) in found.items()}


def test_joints_are_where_the_body_has_them(anny, make_anny):
    person = make_anny(bend=0.5)
    found = heads(bvh_text([person], TURNED), 0)
    assert set(found) == set(anny.bone_names)
    expected = person.joints_m @ TURNED[:3, :3].T + TURNED[:3, 3]
    for name, place in zip(anny.bone_names, expected, strict=True):
        np.testing.assert_allclose(found[name], place, atol=2e-5, err_msg=name)


def test_many_frames(anny, make_anny):
    frames = [make_anny(pelvis=(0.1 * i, 0.0, 4.0 + i), seed=i) for i in range(4)]
    text = bvh_text(frames, TURNED, fps=25)
    motion = bvh.Bvh(text)
    assert motion.nframes == 4
    assert motion.frame_time == pytest.approx(0.04)
    for i, person in enumerate(frames):
        found = heads(text, i)
        for bone in ("head", "wrist.L", "foot.R"):
            place = person.joints_m[anny.bone_names.index(bone)] @ TURNED[:3, :3].T + TURNED[:3, 3]
            np.testing.assert_allclose(found[bone], place, atol=2e-5)


def test_the_rest_skeleton_stands_and_looks_forward(make_anny):
    motion = bvh.Bvh(bvh_text([make_anny()], TURNED))
    rest: dict[str, np.ndarray] = {}
    for name in motion.get_joints_names():
        parent = motion.joint_parent(name)
        rest[name] = np.array(motion.joint_offset(name)) + (rest[parent.name] if parent is not None else 0)
    assert (rest["root"] == 0).all()
    assert rest["head"][1] > 0.4
    assert rest["foot.L"][1] < -0.6
    assert rest["wrist.L"][0] > 0.2 > -0.2 > rest["wrist.R"][0]
    assert rest["toe2-3.L"][2] > rest["foot.L"][2] + 0.05


def test_a_file_for_everybody_with_bones(make_recovery, make_anny, make_person, tmp_path):
    recovery = make_recovery(people=(make_anny(0), make_person(1)))
    write_people_bvh(recovery, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["person_0.bvh"]
    root = heads((tmp_path / "person_0.bvh").read_text(), 0)["root"]
    matrix = y_up_from_camera(recovery)
    np.testing.assert_allclose(root, matrix[:3, :3] @ recovery.people[0].translation_m, atol=1e-5)


def test_angles_rebuild_their_rotations():
    turns = roma.random_rotmat(500, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).numpy()
    locked = np.stack([axis_rotation("Z", 30) @ axis_rotation("X", a) @ axis_rotation("Y", 50) for a in (90, -90)])
    turns = np.concatenate([turns, locked])
    again = [axis_rotation("Z", z) @ axis_rotation("X", x) @ axis_rotation("Y", y) for z, x, y in zxy_degrees(turns)]
    np.testing.assert_allclose(np.stack(again), turns, atol=1e-6)


def test_what_has_no_bones_is_refused(make_person):
    with pytest.raises(InputError, match="skeleton"):
        bvh_text([make_person()], TURNED)
    with pytest.raises(InputError, match="at least one frame"):
        bvh_text([], TURNED)


def test_frames_of_two_models_are_refused(make_anny, tiny_smpl):
    with pytest.raises(InputError, match="one body model"):
        bvh_text([make_anny(), posed_person(tiny_smpl("smpl"))], TURNED)
