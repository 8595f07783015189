"""Files of the scene: depth maps, the surroundings in GLB and PLY, and what ``result.json`` says of them."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
import trimesh
from export_people import HEIGHT_M
from PIL import Image

from metrichmsr.export.depth_files import depth_millimetres, draw_depth
from metrichmsr.export.glb import scene_glb
from metrichmsr.export.overlay import draw_overlay
from metrichmsr.export.result_json import read_result
from metrichmsr.export.write import write_recovery


def test_depth_maps_come_back(world, tmp_path):
    recovery = world()
    folder = write_recovery(recovery, tmp_path, "a")
    scene = recovery.scene
    with np.load(folder / "depth.npz") as maps:
        assert set(maps.files) == {"depth_m", "initial_depth_m", "anchor_m", "confidence"}
        for name in maps.files:
            assert maps[name].dtype == np.float32
            np.testing.assert_array_equal(maps[name], getattr(scene, name))
    with Image.open(folder / "depth.png") as picture:
        png = np.asarray(picture)
    assert png.dtype == np.uint16
    assert png.shape == scene.depth_m.shape
    known = np.isfinite(scene.depth_m)
    assert (png[~known] == 0).all()
    assert np.abs(png[known] / 1000 - scene.depth_m[known]).max() <= 0.0006
    with Image.open(folder / "depth_preview.png") as preview:
        assert preview.mode == "RGB"


def test_the_document_tells_of_the_scene(world, tmp_path):
    folder = write_recovery(world(), tmp_path, "a")
    scene = read_result(folder / "result.json")["scene"]
    assert (folder / scene["depth"]).is_file()
    assert (scene["source"], scene["refined"], scene["refinement"]) == ("embedded", True, "network")
    assert scene["ground_plane"]["offset_m"] == HEIGHT_M
    assert np.linalg.norm(scene["ground_plane"]["normal"]) == pytest.approx(1, abs=1e-5)
    assert scene["residuals"]["initial"] is None, "JSON knows no NaN"
    assert scene["residuals"]["by_person"] == {"0": 0.02}
    assert scene["foot_clearance_m"] == {"0": 0.03}
    assert np.shape(scene["world_from_camera"]) == (4, 4)


def test_no_depth_files_unless_asked_for(world, tmp_path):
    folder = write_recovery(world(), tmp_path, "a", formats=("glb",))
    assert {path.name for path in folder.iterdir()} == {"result.json", "scene.glb"}
    assert read_result(folder / "result.json")["scene"]["depth"] is None


def test_results_from_before_the_depth_stage_are_still_read(world, tmp_path):
    path = write_recovery(world(), tmp_path, "a", formats=()) / "result.json"
    document = json.loads(path.read_text())
    for key in ("refinement", "residuals", "world_from_camera", "up_source", "foot_clearance_m"):
        del document["scene"][key]
    del document["scene"]["ground_plane"]["offset_std_m"]
    path.write_text(json.dumps(document))
    assert read_result(path)["scene"]["source"] == "embedded"


def camera_of(data: bytes) -> np.ndarray:
    """Where the camera stands, by the file's own words: trimesh forgets what cameras hang from."""
    length = int.from_bytes(data[12:16], "little")
    nodes = json.loads(data[20 : 20 + length])["nodes"]
    (index,) = (i for i, node in enumerate(nodes) if node["name"] == "camera")
    matrix = np.eye(4)
    for node in nodes:
        if index in node.get("children", ()):
            matrix = np.reshape(node["matrix"], (4, 4)).T
    assert not {"matrix", "translation", "rotation"} & set(nodes[index])
    return matrix


def test_the_glb_stands_on_its_ground(world):
    recovery = world()
    loaded = trimesh.load(io.BytesIO(scene_glb(recovery)), file_type="glb")
    assert {"surroundings", "person_0"} <= set(loaded.graph.nodes_geometry)
    transform, geometry = loaded.graph["surroundings"]
    floor = trimesh.transform_points(loaded.geometry[geometry].vertices, transform)
    assert np.abs(floor[:, 1]).max() < 0.02, "the floor lies at y = 0"
    transform, geometry = loaded.graph["person_0"]
    body = trimesh.transform_points(loaded.geometry[geometry].vertices, transform)
    matrix = recovery.scene.world_from_camera
    expected = recovery.people[0].vertices_m @ matrix[:3, :3].T + matrix[:3, 3]
    np.testing.assert_allclose(np.sort(body, axis=0), np.sort(expected, axis=0), atol=1e-4)
    camera = camera_of(scene_glb(recovery))
    np.testing.assert_allclose(camera[:3, 3], [0, HEIGHT_M, 0], atol=1e-6)
    # A glTF camera looks along its −z.
    assert -camera[1, 2] == pytest.approx(np.sin(np.radians(-20)), abs=1e-6)


def test_the_photo_lies_on_the_surroundings(world):
    recovery = world()
    recovery.image[:, : recovery.camera.width // 2] = (0, 0, 250)
    loaded = trimesh.load(io.BytesIO(scene_glb(recovery)), file_type="glb")
    mesh = loaded.geometry[loaded.graph["surroundings"][1]]
    texture = np.asarray(mesh.visual.material.baseColorTexture.convert("RGB"))
    assert texture.shape[:2] == recovery.image.shape[:2]
    # Camera-frame x over z tells the column; trimesh counts v upwards.
    vertices = mesh.vertices * (1, -1, -1)
    pixels = vertices @ recovery.camera.K.T
    pixels = pixels[:, :2] / pixels[:, 2:]
    np.testing.assert_allclose(mesh.visual.uv[:, 0], pixels[:, 0] / recovery.camera.width, atol=1e-4)
    np.testing.assert_allclose(1 - mesh.visual.uv[:, 1], pixels[:, 1] / recovery.camera.height, atol=1e-4)


def test_the_surroundings_leave_the_people_out(world):
    recovery = world()
    loaded = trimesh.load(io.BytesIO(scene_glb(recovery)), file_type="glb")
    vertices = loaded.geometry[loaded.graph["surroundings"][1]].vertices * (1, -1, -1)
    body = recovery.people[0].vertices_m
    near = np.linalg.norm(vertices[:, None] - body[None], axis=-1).min(1)
    assert (near > 0.01).all()


def test_without_ground_axes_are_the_cameras(world):
    recovery = world(world_from_camera=None, ground_normal=None, ground_offset_m=None, ground_std_m=None)
    loaded = trimesh.load(io.BytesIO(scene_glb(recovery)), file_type="glb")
    assert "upright" not in loaded.graph.nodes
    np.testing.assert_allclose(camera_of(scene_glb(recovery)), np.eye(4), atol=1e-9)


def test_nothing_known_and_nobody_there(world, tmp_path):
    unknown = np.full_like(world().scene.depth_m, np.nan)
    recovery = world(
        people=(),
        **{"depth_m": unknown, "initial_depth_m": None, "anchor_m": None, "confidence": None, "residuals": None},
        foot_clearance_m={},
    )
    folder = write_recovery(recovery, tmp_path, "a")
    with np.load(folder / "depth.npz") as maps:
        assert not np.isfinite(maps["depth_m"]).any()
        assert not np.isfinite(maps["anchor_m"]).any()
        assert (maps["confidence"] == 0).all()
    with Image.open(folder / "depth.png") as picture:
        assert not np.asarray(picture).any()
    assert b"surroundings" not in (folder / "scene.glb").read_bytes()
    assert "element vertex 0" in (folder / "scene.ply").read_bytes().decode("latin-1")


def test_points_of_the_scene_and_its_people(world, tmp_path):
    recovery = world()
    folder = write_recovery(recovery, tmp_path, "a", formats=("points",))
    cloud = trimesh.load(folder / "scene.ply")
    people = len(recovery.people[0].vertices_m)
    np.testing.assert_allclose(cloud.vertices[-people:], recovery.people[0].vertices_m, atol=1e-5)
    floor = np.asarray(cloud.vertices[:-people])
    assert len(floor) > 500
    scene = recovery.scene
    assert np.abs(floor @ scene.ground_normal + scene.ground_offset_m).max() < 0.01
    assert (np.asarray(cloud.colors)[:-people, :3] == (200, 0, 0)).all()


def test_millimetres_in_sixteen_bits():
    depth = np.array([[1.2345, np.nan, 65.535, 65.6, np.inf, -1.0, 0.0]])
    np.testing.assert_array_equal(depth_millimetres(depth), [[1234, 0, 65535, 0, 0, 0, 0]])


def test_the_preview_tells_near_from_far_and_unknown():
    depth = np.full((90, 120), np.nan, np.float32)
    depth[:, :40], depth[:, 40:80] = 1.0, 9.0
    picture = draw_depth(depth)
    near, far, unknown = (picture[45, x].astype(int) for x in (20, 60, 100))
    assert near[0] > near[2], "near is warm"
    assert far[2] > far[0], "far is cold"
    assert np.ptp(unknown) < 10
    assert draw_depth(np.full((5, 7), np.nan, np.float32)).shape[2] == 3
    wide = draw_depth(np.ones((100, 4000), np.float32))
    assert wide.shape[1] < 1500


def test_the_overlay_shows_the_surroundings(world):
    recovery = world()
    with_scene = draw_overlay(recovery)
    without = draw_overlay(world(depth_m=np.full_like(recovery.scene.depth_m, np.nan)))
    changed = np.abs(with_scene.astype(int) - without).max(-1) > 20
    assert changed.sum() > 200
    photo = slice(None), slice(0, 900)
    assert not changed[photo][:700].any(), "the photo itself stays as it is"
