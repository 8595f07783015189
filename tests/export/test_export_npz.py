"""NPZ of parameters and AMASS's layout: plain NumPy reads them, and the body model rebuilds the bodies from them."""

from __future__ import annotations

import numpy as np
import pytest
import roma
import torch
from export_people import posed_person

from metrichmsr.errors import InputError, UsageError
from metrichmsr.export.amass import amass_arrays, write_people_amass
from metrichmsr.export.frames import GLTF_FROM_CAMERA
from metrichmsr.export.parameters_npz import write_parameters_npz


def test_the_body_comes_back_from_its_parameters(anny, make_recovery, make_anny, tmp_path):
    recovery = make_recovery(people=(make_anny(0), make_anny(1, (1.0, 0.0, 7.0))))
    write_parameters_npz(recovery, tmp_path / "recovery.npz")
    with np.load(tmp_path / "recovery.npz", allow_pickle=False) as file:
        arrays = {key: file[key] for key in file.files}
    assert arrays["body_model"] == "anny"
    assert tuple(arrays["bone_names"]) == anny.bone_names
    assert tuple(arrays["bone_parents"]) == anny.parents
    assert tuple(arrays["shape_names"]) == anny.shape_names
    pose, shape, place = (torch.from_numpy(arrays[k]).float() for k in ("pose_rotvec", "shape", "translation_m"))
    posed = anny(roma.rotvec_to_rotmat(pose), shape, place)
    np.testing.assert_allclose(posed.vertices_m.numpy(), arrays["vertices_m"], atol=1e-5)
    np.testing.assert_allclose(posed.joints_m.numpy(), arrays["joints_m"], atol=1e-5)
    np.testing.assert_array_equal(arrays["faces"], anny.faces.numpy())
    np.testing.assert_array_equal(arrays["K"], recovery.camera.K)
    np.testing.assert_allclose(arrays["distance_m"], np.linalg.norm(arrays["translation_m"], axis=1))
    assert np.isnan(arrays["world_from_camera"]).all(), "nothing tells which way is up"


def test_nobody_is_no_rows(make_recovery, tmp_path):
    write_parameters_npz(make_recovery(people=0), tmp_path / "recovery.npz")
    with np.load(tmp_path / "recovery.npz", allow_pickle=False) as file:
        assert file["vertices_m"].shape == (0, 0, 3)
        assert file["keypoints_3d_m"].shape == (0, 17, 3)


@pytest.mark.parametrize(("kind", "width"), [("smpl", 156), ("smplh", 156), ("smplx", 165)])
def test_amass_rebuilds_the_body_as_smpl_does(tiny_smpl, make_recovery, tmp_path, kind, width):
    body = tiny_smpl(kind)
    person = posed_person(body)
    recovery = make_recovery(people=(person,))
    write_people_amass(recovery, tmp_path)
    with np.load(tmp_path / "person_0_amass.npz", allow_pickle=False) as file:
        arrays = {key: file[key] for key in file.files}
    assert arrays["poses"].shape == (1, width)
    assert arrays["trans"].shape == (1, 3)
    assert arrays["betas"].shape == (16,)
    # SMPL's own way: the pelvis stays where the rest body has it, and trans is added to every vertex.
    columns = body.num_bones if kind != "smpl" else 22
    rotvecs = torch.from_numpy(arrays["poses"].reshape(-1, 3)[:columns]).float()
    if kind == "smpl":  # its hand joints, which the layout has no place for
        rest = np.stack(list(person.pose.values()))[22:]
        rotvecs = torch.cat([rotvecs, torch.from_numpy(rest).float()])
    shape = torch.from_numpy(arrays["betas"][: len(body.shape_names)]).float()[None]
    out = body(roma.rotvec_to_rotmat(rotvecs)[None], shape)
    vertices = (out.vertices_m + body.rest(shape).joints_m[:, :1])[0].numpy() + arrays["trans"]
    x, y, z = (person.vertices_m @ GLTF_FROM_CAMERA.T).T
    np.testing.assert_allclose(vertices, np.stack([x, -z, y], axis=1), atol=2e-5, err_msg="z up")


def test_amass_is_for_the_smpl_family(make_recovery, make_anny, tmp_path):
    with pytest.raises(UsageError, match="not anny: recover with --body-model smpl"):
        write_people_amass(make_recovery(people=(make_anny(),)), tmp_path)
    assert not list(tmp_path.iterdir())


def test_amass_needs_the_models_own_pelvis(make_person):
    with pytest.raises(InputError, match="trans"):
        amass_arrays([make_person(body_model="smpl")], np.eye(4))
