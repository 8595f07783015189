"""USD: read and skinned by Pixar's own library."""

from __future__ import annotations

import numpy as np
import pytest

from metrichmsr.errors import MissingPackageError
from metrichmsr.export import usd
from metrichmsr.export.frames import moved, y_up_from_camera

pytest.importorskip("pxr")
from pxr import Usd, UsdGeom, UsdShade, UsdSkel, Vt


def in_the_world(prim, points: np.ndarray) -> np.ndarray:
    """Points of a prim in the stage's frame."""
    matrix = np.array(UsdGeom.Xformable(prim).ComputeLocalToWorldTransform(Usd.TimeCode.Default()))
    return points @ matrix[:3, :3] + matrix[3, :3]


def test_the_stage_is_metres_and_y_up(make_recovery, make_anny, tmp_path):
    usd.write_usd(make_recovery(people=(make_anny(),)), tmp_path / "scene.usdz")
    stage = Usd.Stage.Open(str(tmp_path / "scene.usdz"))
    assert UsdGeom.GetStageMetersPerUnit(stage) == 1
    assert UsdGeom.GetStageUpAxis(stage) == "Y"
    assert stage.GetDefaultPrim().GetPath() == "/scene"


def test_usdskel_poses_the_recovered_mesh(make_recovery, make_anny, tmp_path):
    recovery = make_recovery(people=(make_anny(0), make_anny(1, (-2.0, 0.1, 60.0))))
    usd.write_usd(recovery, tmp_path / "scene.usdz")
    stage = Usd.Stage.Open(str(tmp_path / "scene.usdz"))
    cache = UsdSkel.Cache()
    matrix = y_up_from_camera(recovery)
    for person in recovery.people:
        root = UsdSkel.Root(stage.GetPrimAtPath(f"/scene/person_{person.id}"))
        assert cache.Populate(root, Usd.PrimDefaultPredicate)
        body = stage.GetPrimAtPath(f"/scene/person_{person.id}/body")
        skinning = cache.GetSkinningQuery(body)
        skeleton = cache.GetSkelQuery(UsdSkel.Skeleton(stage.GetPrimAtPath(f"/scene/person_{person.id}/skeleton")))
        assert skinning
        points = UsdGeom.Mesh(body).GetPointsAttr().Get()
        expected = moved(person.vertices_m, matrix)
        np.testing.assert_allclose(in_the_world(body, np.array(points)), expected, atol=1e-5, err_msg="as stored")
        transforms = skeleton.ComputeSkinningTransforms(Usd.TimeCode.Default())
        skinned = Vt.Vec3fArray(points)
        assert skinning.ComputeSkinnedPoints(transforms, skinned, Usd.TimeCode.Default())
        np.testing.assert_allclose(in_the_world(body, np.array(skinned)), expected, atol=1e-5, err_msg="as skinned")


def test_joints_are_the_bones(anny, make_recovery, make_anny, tmp_path):
    recovery = make_recovery(people=(make_anny(),))
    usd.write_usd(recovery, tmp_path / "scene.usdz")
    stage = Usd.Stage.Open(str(tmp_path / "scene.usdz"))
    skeleton = UsdSkel.Skeleton(stage.GetPrimAtPath("/scene/person_0/skeleton"))
    assert tuple(skeleton.GetJointNamesAttr().Get()) == anny.bone_names
    topology = UsdSkel.Topology(skeleton.GetJointsAttr().Get())
    assert topology.Validate()
    assert tuple(topology.GetParentIndices()) == anny.parents
    query = UsdSkel.Cache().GetSkelQuery(skeleton)
    world = np.array(query.ComputeJointSkelTransforms(Usd.TimeCode.Default()))[:, 3, :3]
    heads = in_the_world(skeleton.GetPrim(), world)
    np.testing.assert_allclose(heads, moved(recovery.people[0].joints_m, y_up_from_camera(recovery)), atol=1e-6)


def test_the_surroundings_carry_the_photo(world, tmp_path):
    recovery = world()
    usd.write_usd(recovery, tmp_path / "scene.usdz")
    stage = Usd.Stage.Open(str(tmp_path / "scene.usdz"))
    mesh = UsdGeom.Mesh(stage.GetPrimAtPath("/scene/surroundings"))
    points = np.array(mesh.GetPointsAttr().Get())
    assert np.abs(points[:, 1]).max() < 0.02, "the floor lies at y = 0"
    uv = np.array(UsdGeom.PrimvarsAPI(mesh).GetPrimvar("st").Get())
    camera = recovery.camera
    projected = moved(points, np.linalg.inv(y_up_from_camera(recovery))) @ camera.K.T
    expected = projected[:, :2] / projected[:, 2:] / (camera.width, camera.height) * (1, -1) + (0, 1)
    np.testing.assert_allclose(uv, expected, atol=1e-4)
    material, _ = UsdShade.MaterialBindingAPI(mesh).ComputeBoundMaterial()
    picture = UsdShade.Shader(stage.GetPrimAtPath(f"{material.GetPath()}/picture"))
    asset = picture.GetInput("file").Get()
    assert asset.resolvedPath.endswith("[photo.jpg]"), "inside the package"


def test_a_missing_library_is_told(make_recovery, tmp_path, monkeypatch):
    def absent(name):
        raise ImportError(name)

    monkeypatch.setattr(usd.importlib, "import_module", absent)
    with pytest.raises(MissingPackageError, match=r"metrichmsr\[usd\]"):
        usd.write_usd(make_recovery(), tmp_path / "scene.usdz")
    assert not list(tmp_path.iterdir())
