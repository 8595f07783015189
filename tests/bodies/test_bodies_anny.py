from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import roma
import torch

from metrichmsr.bodies import load_body_model
from metrichmsr.bodies.anny import AnnyBody
from metrichmsr.bodies.anny_asset import ASSET, pack_planes, unpack_planes
from metrichmsr.errors import ModelFileError
from metrichmsr.structures import BLAZEPOSE33, COCO17

FIXTURE = Path(__file__).parent / "anny_parity.npz"


@pytest.fixture(scope="module")
def model() -> AnnyBody:
    return AnnyBody.load()


@pytest.fixture(scope="module")
def double() -> AnnyBody:
    return AnnyBody.load().double()


@pytest.fixture(scope="module")
def small(double: AnnyBody) -> AnnyBody:
    ids = torch.randperm(double.num_vertices, generator=torch.Generator().manual_seed(1))[:20]
    return double.restricted_to(ids)


def random_bodies(model: AnnyBody, batch: int, *, seed: int, spread: float = 0.4) -> tuple[torch.Tensor, torch.Tensor]:
    """Random rotations of every bone, and shapes all over the range."""
    generator = torch.Generator().manual_seed(seed)
    dtype = model.default_shape().dtype
    rotvecs = spread * torch.randn(batch, model.num_bones, 3, generator=generator, dtype=dtype)
    low, high = model.shape_limits()
    shape = low + torch.rand(batch, len(low), generator=generator, dtype=dtype) * (high - low)
    return roma.rotvec_to_rotmat(rotvecs), shape


def test_stored_answers_of_anny_are_met(double: AnnyBody, model: AnnyBody):
    with np.load(FIXTURE) as fixture:
        stored = {key: torch.from_numpy(fixture[key]) for key in fixture.files}
    for body in (double, model):
        dtype = body.default_shape().dtype
        out = body(roma.rotvec_to_rotmat(stored["rotvecs"]).to(dtype), stored["shape"].to(dtype))
        error = (out.vertices_m[:, stored["vertex_ids"]] - stored["vertices_m"]).norm(dim=-1)
        assert error.max() < 5e-5
        assert (out.joints_m - stored["joints_m"]).norm(dim=-1).max() < 2e-6
        assert (out.height_m - stored["height_m"]).abs().max() < 4e-5


@pytest.mark.slow
def test_meets_anny_over_all_ages_and_poses(double: AnnyBody):
    anny = pytest.importorskip("anny")
    reference = anny.Anny(skinning_method="lbs")
    assert tuple(reference.bone_labels) == double.bone_names
    assert tuple(reference.bone_parents) == double.parents
    assert torch.equal(reference.faces, double.faces)
    assert torch.equal(reference.face_texture_coordinate_indices, double.face_uv)
    assert (reference.texture_coordinates - double.uv).abs().max() < 1e-7
    assert torch.equal(reference.base_mesh_vertex_indices, double.base_vertex_ids)
    anthropometry = anny.Anthropometry(reference)
    corners = torch.cartesian_prod(*(torch.linspace(*axis, dtype=torch.float64) for axis in double._grid))
    pose, shape = random_bodies(double, 40, seed=3)
    pose = torch.cat([pose, double.identity_pose(len(corners))])
    shape = torch.cat([shape, corners])
    worst = 0.0
    for i in range(0, len(pose), 40):
        transforms = torch.eye(4, dtype=torch.float64).repeat(*pose[i : i + 40].shape[:2], 1, 1)
        transforms[..., :3, :3] = pose[i : i + 40]
        theirs = reference(pose_parameters=transforms, phenotype_kwargs=shape[i : i + 40])
        ours = double(pose[i : i + 40], shape[i : i + 40], theirs["bone_poses"][:, 0, :3, 3])
        worst = max(worst, (ours.vertices_m - theirs["vertices"]).norm(dim=-1).max().item())
        assert (ours.height_m - anthropometry.height(theirs["rest_vertices"])).abs().max() < 4e-5
        rest = double.rest(shape[i : i + 40])
        assert (rest.vertices_m - theirs["rest_vertices"]).norm(dim=-1).max() < 5e-5
        assert (rest.joints_m - theirs["rest_bone_heads"]).norm(dim=-1).max() < 2e-6
    assert worst < 5e-5


def test_pelvis_goes_to_the_translation_and_carries_all(model: AnnyBody):
    pose, shape = random_bodies(model, 4, seed=4)
    translation = torch.tensor([[0.3, -0.2, 4.0]]) * torch.arange(1, 5)[:, None]
    here, there = model(pose, shape), model(pose, shape, translation)
    torch.testing.assert_close(there.joints_m[:, 0], translation)
    assert here.joints_m[:, 0].abs().max() == 0
    for name in ("vertices_m", "joints_m", "coco17_m", "landmarks33_m"):
        torch.testing.assert_close(
            getattr(there, name) - translation[:, None], getattr(here, name), atol=1e-5, rtol=0, msg=name
        )
    assert torch.equal(here.height_m, there.height_m)


def test_root_rotation_turns_everything_about_the_pelvis(double: AnnyBody):
    pose, shape = random_bodies(double, 2, seed=5)
    turn = roma.random_rotmat(2, dtype=torch.float64, generator=torch.Generator().manual_seed(6))
    turned = pose.clone()
    turned[:, 0] = turn @ pose[:, 0]
    before, after = double(pose, shape), double(turned, shape)
    for name in ("vertices_m", "joints_m", "coco17_m", "landmarks33_m"):
        torch.testing.assert_close(getattr(after, name), getattr(before, name) @ turn.mT, msg=name)
    torch.testing.assert_close(after.bone_rotations, turn[:, None] @ before.bone_rotations)


def test_identity_pose_of_the_reference_adult_is_its_rest_body(double: AnnyBody):
    # Anny's reference orientations are those of its middle adult: there no bone has to be brought to its reference.
    shape = double.default_shape()[None]
    shape[:, double.shape_names.index("age")] = 2 / 3
    shape[:, [0, 2, 3, 4, 5]] = 0.5
    out, rest = double(double.identity_pose(), shape), double.rest(shape)
    torch.testing.assert_close(out.vertices_m, rest.vertices_m - rest.joints_m[:, :1], atol=2e-5, rtol=0)
    torch.testing.assert_close(out.joints_m, rest.joints_m - rest.joints_m[:, :1], atol=2e-5, rtol=0)


def test_a_mirrored_pose_gives_the_mirrored_body(double: AnnyBody):
    pose, shape = random_bodies(double, 2, seed=7)
    out, mirrored = double(pose, shape), double(double.mirror_pose(pose), shape)
    flip = torch.tensor([-1.0, 1, 1], dtype=torch.float64)
    swap = [double.mirrored_bones().index(i) for i in range(double.num_bones)]
    error = (mirrored.joints_m - out.joints_m[:, swap] * flip).norm(dim=-1)
    above_neck = [name.startswith(("neck", "head", "eye")) for name in double.bone_names]
    assert error[:, [not above for above in above_neck]].max() < 2e-5
    # MakeHuman's targets are not exactly symmetric in neck, mouth and ears, at some phenotypes.
    assert error.max() < 5e-3
    error = (mirrored.vertices_m - out.vertices_m[:, double.mirrored_vertices] * flip).norm(dim=-1)
    assert error.median() < 1e-4
    assert error.max() < 0.015
    for names, points in ((COCO17, "coco17_m"), (BLAZEPOSE33, "landmarks33_m")):
        other = [names.index(swapped_side(name)) for name in names]
        torch.testing.assert_close(
            getattr(mirrored, points), getattr(out, points)[:, other] * flip, atol=5e-3, rtol=0, msg=points
        )


def swapped_side(name: str) -> str:
    return name.replace("left", "?").replace("right", "left").replace("?", "right")


def test_restricted_model_agrees_with_the_full_one(model: AnnyBody):
    ids = torch.tensor([9000, 3, 12345, 17, 294])
    light = model.restricted_to(ids)
    pose, shape = random_bodies(model, 3, seed=8)
    full, few = model(pose, shape), light(pose, shape)
    assert light.num_vertices == 5
    torch.testing.assert_close(few.vertices_m, full.vertices_m[:, ids], atol=2e-6, rtol=0)
    for name in ("joints_m", "coco17_m", "landmarks33_m", "height_m", "bone_rotations"):
        torch.testing.assert_close(getattr(few, name), getattr(full, name), atol=2e-6, rtol=0, msg=name)
    torch.testing.assert_close(light.rest(shape).vertices_m, model.rest(shape).vertices_m[:, ids], atol=2e-6, rtol=0)
    again = light.restricted_to(torch.tensor([2, 0]))
    assert again.vertex_ids.tolist() == [12345, 9000]
    torch.testing.assert_close(again(pose, shape).vertices_m, few.vertices_m[:, [2, 0]], atol=2e-6, rtol=0)


def test_restricting_leaves_the_full_model_alone(model: AnnyBody):
    model.restricted_to(torch.arange(5)).double()
    assert {b.dtype for b in model.buffers() if b.is_floating_point()} == {torch.float32}
    assert model.num_vertices == 13718


def test_restricted_faces_are_the_triangles_within(model: AnnyBody):
    ids = torch.arange(5000, 5400)
    light = model.restricted_to(ids)
    inside = torch.isin(model.faces, ids).all(-1)
    assert inside.sum() > 100
    assert torch.equal(ids[light.faces], model.faces[inside])
    assert torch.equal(light.face_uv, model.face_uv[inside])


def test_derivatives_are_right(small: AnnyBody):
    pose, shape = random_bodies(small, 1, seed=9)
    driven = roma.rotmat_to_rotvec(pose[:, [small.bone_names.index(b) for b in small.driven_bones]])

    def points(rotvecs: torch.Tensor, shape: torch.Tensor, translation: torch.Tensor) -> torch.Tensor:
        out = small(small.expand_pose(roma.rotvec_to_rotmat(rotvecs)), shape, translation)
        return torch.cat([out.vertices_m, out.landmarks33_m, out.joints_m], 1)[:, ::9].sum(-1) + out.height_m[:, None]

    inputs = (driven.requires_grad_(), shape.requires_grad_(), torch.zeros(1, 3, dtype=torch.float64).requires_grad_())
    assert torch.autograd.gradcheck(points, inputs, atol=1e-5, fast_mode=True)


def test_derivatives_are_finite_at_every_corner_and_beyond(model: AnnyBody):
    light = model.restricted_to(torch.arange(0, 13718, 500))
    corners = torch.cartesian_prod(*(torch.linspace(*axis) for axis in model._grid))
    corners = corners[::7]
    low, high = model.shape_limits()
    shape = torch.cat([corners, low[None] - 0.5, high[None] + 0.5]).requires_grad_()
    pose = model.identity_pose(len(shape)).requires_grad_()
    out = light(pose, shape)
    (out.vertices_m.sum() + out.joints_m.square().sum() + out.height_m.sum()).backward()
    assert out.vertices_m.isfinite().all()
    assert pose.grad is not None
    assert pose.grad.isfinite().all()
    assert shape.grad is not None
    assert shape.grad.isfinite().all()
    # At a corner within the range no parameter is dead: taller, older, heavier bodies differ.
    height = model.shape_names.index("height")
    assert (shape.grad[: len(corners), height] != 0).all()
    assert (shape.grad[len(corners) :] == 0).all()


def test_shapes_beyond_the_limits_count_as_the_limit(model: AnnyBody):
    low, high = model.shape_limits()
    assert torch.equal(model.height((high + 1)[None]), model.height(high[None]))
    assert torch.equal(model.height((low - 1)[None]), model.height(low[None]))


def test_one_shape_serves_many_poses(model: AnnyBody):
    pose, shape = random_bodies(model, 3, seed=10)
    light = model.restricted_to(torch.arange(50))
    torch.testing.assert_close(
        light(pose, shape[:1]).vertices_m, light(pose, shape[:1].expand(3, -1)).vertices_m, atol=2e-6, rtol=0
    )
    assert light(pose, shape[:1]).height_m.shape == (3,)


def test_stature_is_that_of_people(model: AnnyBody):
    assert 1.65 < model.height(model.default_shape()[None]).item() < 1.75
    baby = model.shape_from({"age": -1 / 3, "height": 0.5})
    assert 0.45 < model.height(baby[None]).item() < 0.55
    out = model(model.identity_pose(), model.default_shape()[None])
    extent = out.vertices_m[0, :, 2].max() - out.vertices_m[0, :, 2].min()
    assert abs(extent - out.height_m[0]) < 0.01


def test_keypoints_lie_where_their_names_say(model: AnnyBody):
    out = model(model.identity_pose(), model.default_shape()[None])
    coco = dict(zip(COCO17, out.coco17_m[0], strict=True))
    blaze = dict(zip(BLAZEPOSE33, out.landmarks33_m[0], strict=True))
    joint = dict(zip(model.bone_names, out.joints_m[0], strict=True))
    for name in COCO17:
        torch.testing.assert_close(coco[name], blaze[name])
    for name, bone in (("shoulder", "upperarm01"), ("elbow", "lowerarm01"), ("wrist", "wrist"), ("hip", "upperleg01"),
                       ("knee", "lowerleg01"), ("ankle", "foot")):  # fmt: skip
        assert (coco[f"left_{name}"] - joint[f"{bone}.L"]).norm() < 0.035, name
    # Body frame: z up, facing −y, left +x.
    face = torch.stack([blaze[n] for n in ("right_ear", "right_eye_outer", "right_eye", "right_eye_inner", "nose",
                                           "left_eye_inner", "left_eye", "left_eye_outer", "left_ear")])  # fmt: skip
    assert (face[:, 0].diff() > 0.005).all()
    assert blaze["mouth_left"][0] - blaze["mouth_right"][0] > 0.03
    assert blaze["mouth_left"][2] < blaze["nose"][2] < blaze["left_eye"][2]
    assert (blaze["left_foot_index"] - joint["toe2-3.L"]).norm() < 0.03
    assert blaze["left_foot_index"][1] < joint["toe2-3.L"][1] < joint["foot.L"][1]
    assert blaze["left_heel"][1] - blaze["left_ankle"][1] > 0.03
    assert blaze["left_heel"][2] < blaze["left_ankle"][2] - 0.03
    assert 0.05 < (blaze["left_index"] - blaze["left_wrist"]).norm() < 0.13


def test_driven_bones_fill_the_pose_and_toes_follow(model: AnnyBody):
    driven = roma.random_rotmat((2, len(model.driven_bones)), generator=torch.Generator().manual_seed(11))
    pose = model.expand_pose(driven)
    index = {name: i for i, name in enumerate(model.driven_bones)}
    assert len(index) == 36
    for i, bone in enumerate(model.bone_names):
        if bone in index:
            expected = driven[:, index[bone]]
        elif bone.startswith("toe") and "-1." in bone:
            expected = driven[:, index[f"toe2-1.{bone[-1]}"]]
        else:
            expected = torch.eye(3).expand(2, 3, 3)
        assert torch.equal(pose[:, i], expected), bone


def test_driven_bones_are_those_of_the_pose_library(model: AnnyBody, shared_dir: Path):
    with np.load(shared_dir / "data" / "poses" / "poses.npz", allow_pickle=False) as file:
        assert model.driven_bones == tuple(str(bone) for bone in file["bones"])


def test_packing_is_exact():
    rng = np.random.default_rng(0)
    mirrored = np.array([1, 0, 2, 5, 6, 3, 4])
    values = rng.integers(-70000, 70000, (3, 3, 7))
    values[1:] //= 1000
    planes = pack_planes(values, mirrored)
    assert all(plane.dtype == np.uint8 for plane in planes)
    assert np.array_equal(unpack_planes(planes, mirrored), values)


def test_missing_and_damaged_assets_are_named(tmp_path: Path):
    missing = tmp_path / "anny.npz"
    with pytest.raises(ModelFileError, match=r"anny\.npz: the Anny body asset is missing"):
        AnnyBody.load(missing)
    whole = ASSET.read_bytes()
    for name, content in (("cut", whole[:200_000]), ("picture", b"\xff\xd8\xff\xe0"), ("empty", b"")):
        path = tmp_path / f"{name}.npz"
        path.write_bytes(content)
        with pytest.raises(ModelFileError, match=rf"{name}\.npz: not a usable Anny body asset"):
            AnnyBody.load(path)
    np.savez(tmp_path / "other.npz", format=1)
    with pytest.raises(ModelFileError, match=r"other\.npz: not a usable .*KeyError"):
        AnnyBody.load(tmp_path / "other.npz")


def test_names_are_checked():
    with pytest.raises(ModelFileError, match="'skel' is not a body model"):
        load_body_model("skel")


def test_runs_where_anny_is_not_installed():
    code = (
        "import sys; sys.modules['anny'] = None; sys.modules['trimesh'] = None\n"
        "from metrichmsr.bodies import load_body_model\n"
        "from metrichmsr.bodies.shape_prior import ShapePrior\n"
        "model = load_body_model()\n"
        "out = model(model.identity_pose(), ShapePrior.load().sample(1))\n"
        "assert out.vertices_m.shape == (1, 13718, 3)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
