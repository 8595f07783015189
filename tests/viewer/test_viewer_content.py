"""From the folder of a result to shapes: counts, positions, colours; and the files that cannot be used."""

from __future__ import annotations

import dataclasses
import io
import json

import numpy as np
import pytest
import trimesh
from viewer_boxes import BOX, CAMERA_HEIGHT_M, WALL_M

from metrichmsr.errors import InputError
from metrichmsr.export.palette import clay_color
from metrichmsr.viewer.content import Detail, ResultContent
from metrichmsr.viewer.depth_maps import open_depth_maps
from metrichmsr.viewer.panel import about_html, dark_enough, warnings_html
from metrichmsr.viewer.photo import find_photo
from metrichmsr.viewer.result_folder import open_result, open_results, read_mesh
from metrichmsr.viewer.sequences import entries_of
from metrichmsr.viewer.viewpoints import at_person, from_above, overview, through_camera


@pytest.fixture
def content(box_result) -> ResultContent:
    return ResultContent(open_result(box_result()))


def test_people_stand_on_the_ground_of_the_world(content):
    assert [shapes.person.id for shapes in content.people] == [0, 1]
    assert content.knows_up
    for shapes, (x, z) in zip(content.people, ((0.0, 4.0), (1.2, 5.0)), strict=True):
        assert (len(shapes.vertices), len(shapes.faces)) == (8, 12)
        low, high = shapes.vertices.min(axis=0), shapes.vertices.max(axis=0)
        np.testing.assert_allclose(low, (x - BOX[0] / 2, 0, -z - BOX[2] / 2), atol=1e-6)
        np.testing.assert_allclose(high, (x + BOX[0] / 2, BOX[1], -z + BOX[2] / 2), atol=1e-6)
        assert shapes.color == tuple(round(255 * value) for value in clay_color(shapes.person.id))


def test_bodies_are_drawn_whole_until_there_are_too_many_triangles(box_result, monkeypatch):
    result = open_result(box_result())
    content = ResultContent(result)
    for body, shapes in zip(content.drawn_bodies, content.people, strict=True):
        assert body.vertices is shapes.vertices
        assert body.faces is shapes.faces
    asked = []
    monkeypatch.setattr("metrichmsr.viewer.content.lighter_bodies", lambda *given: asked.append(given[1]) or given[0])
    assert len(ResultContent(result, Detail(max_body_triangles=7)).drawn_bodies) == 2
    assert asked == [7]


def test_a_ruler_stands_beside_everybody(content):
    ruler = content.people[0].ruler
    staff = ruler.segments[0]
    np.testing.assert_allclose(staff[0], (BOX[0] / 2 + 0.12, 0, -4.0), atol=1e-6)
    np.testing.assert_allclose(staff[1] - staff[0], (0, BOX[1], 0), atol=1e-6)
    heights = ruler.segments[1:-1, 0, 1]
    np.testing.assert_allclose(heights, np.arange(19) / 10, atol=1e-6)
    lengths = np.linalg.norm(ruler.segments[1:-1, 1] - ruler.segments[1:-1, 0], axis=1)
    assert lengths[10] == lengths[0] > lengths[5] == lengths[15] > lengths[7]
    assert [text for text, _ in ruler.numbers] == ["0.0", "0.5", "1.0", "1.5"]
    assert np.ptp(ruler.doubt[0][:, 1]) == pytest.approx(2 * 0.09)


def test_the_tube_reaches_one_sigma_either_way(content):
    shapes = content.people[1]
    distances = np.linalg.norm(shapes.tube.ends - content.eye, axis=1)
    np.testing.assert_allclose(distances, shapes.person.distance_m + np.array([-0.4, 0.4]), atol=1e-9)
    np.testing.assert_allclose(shapes.tube.ends.mean(axis=0), shapes.pelvis, atol=1e-9)
    mesh = trimesh.Trimesh(shapes.tube.surface.vertices, shapes.tube.surface.faces)
    assert mesh.is_watertight
    assert mesh.is_winding_consistent


def test_the_camera_and_its_picture(content):
    np.testing.assert_allclose(content.eye, (0, CAMERA_HEIGHT_M, 0))
    corners = content.frustum.corners - content.eye
    depth = -corners[0, 2]
    np.testing.assert_allclose(corners[0], depth * np.array([-80 / 120, 60 / 120, -1]), atol=1e-9)
    np.testing.assert_allclose(corners[2], depth * np.array([80 / 120, -60 / 120, -1]), atol=1e-9)


def test_the_surroundings_are_where_the_depth_says(content):
    mesh = content.mesh("refined")
    floor, wall = mesh.vertices[:, 1] < 1e-3, mesh.vertices[:, 2] < -WALL_M + 1e-3
    assert floor.sum() > 500
    assert wall.sum() > 500
    assert (floor | wall).all(), "nobody's depth is among it"
    initial = content.mesh("initial")
    np.testing.assert_allclose(initial.vertices[:, 2].min(), -1.25 * WALL_M, rtol=1e-5)
    # Each vertex is painted with the pixel that it is seen at.
    camera = content.camera
    seen = (mesh.vertices - content.eye) * (1, -1, -1)
    np.testing.assert_allclose(
        mesh.uv * (camera.width, camera.height), (seen[:, :2] / seen[:, 2:]) * 120 + (80, 60), atol=1e-3
    )


@pytest.mark.parametrize("pixels", [3000, 900])
def test_thinned_maps_keep_every_pixel_at_its_place(box_result, pixels):
    result = open_result(box_result())
    maps = open_depth_maps(result, pixels)
    assert maps.stride > 1
    height, width = maps.depth_m.shape
    assert (maps.camera.height, maps.camera.width) == (height, width)
    u, v = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    thin = np.stack([u, v, np.ones_like(u)], -1) @ np.linalg.inv(maps.camera.K).T
    big = maps.first + maps.stride * np.stack([u - 0.5, v - 0.5], -1) + 0.5
    full = np.concatenate([big, np.ones((height, width, 1))], -1) @ np.linalg.inv(result.camera.K).T
    np.testing.assert_allclose(thin, full, atol=1e-9)
    content = ResultContent(result, Detail(max_triangles=pixels // 2, max_points=pixels))
    seen = (content.mesh("refined").vertices - content.eye) * (1, -1, -1)
    uv = content.mesh("refined").uv * (160, 120)
    np.testing.assert_allclose(uv, (seen[:, :2] / seen[:, 2:]) * 120 + (80, 60), atol=1e-3)


def test_points_have_the_photo_s_colours(box_result):
    content = ResultContent(open_result(box_result()), Detail(max_points=5000))
    cloud = content.points("refined", "photo")
    assert 1000 < len(cloud.points) <= 5000
    assert (cloud.colors == 128).all()
    confident = content.points("refined", "confidence").colors
    # Viridis at a half: bluish green.
    assert np.abs(confident.astype(int) - (33, 145, 140)).max() < 8


def test_what_stands_in_front_of_somebody_stays(box_result, make_box_recovery):
    recovery = make_box_recovery(places=((0.0, 4.0),))
    depth = recovery.scene.depth_m.copy()
    depth[80:95, 70:90] = 2.0  # a table before the legs
    scene = dataclasses.replace(recovery.scene, depth_m=depth)
    maps = ResultContent(open_result(box_result(places=((0.0, 4.0),), scene=scene))).maps
    assert maps.left_out[70, 80]
    assert not maps.left_out[86:90, 76:84].any()


def test_anchors_lie_on_the_bodies(content):
    assert len(content.anchors) > 100
    front = np.unique(np.round(content.anchors[:, 2], 4))
    np.testing.assert_allclose(front, (-5.0 + BOX[2] / 2, -4.0 + BOX[2] / 2), atol=1e-4)


def test_the_painted_mesh_is_a_valid_glb(content):
    glb = content.mesh("refined").glb(content.texture("photo"))
    scene = trimesh.load(io.BytesIO(glb), file_type="glb", process=False)
    (geometry,) = scene.geometry.values()
    assert len(geometry.faces) == len(content.mesh("refined").faces)


def test_without_world_the_camera_s_axes_are_shown_upright(box_result, make_box_recovery):
    scene = make_box_recovery().scene
    bare = type(scene)(depth_m=scene.depth_m, source="embedded", refined=True)
    content = ResultContent(open_result(box_result(scene=bare)))
    assert not content.knows_up
    np.testing.assert_allclose(content.eye, 0)
    assert content.floor_y == pytest.approx(-CAMERA_HEIGHT_M)
    assert content.people[0].pelvis[2] == pytest.approx(-4.0)
    assert any("which way is up" in warning for warning in content.warnings)
    assert not content.maps.has_initial


def test_people_alone(box_result):
    content = ResultContent(open_result(box_result(scene=None)))
    assert content.maps is None
    assert len(content.people) == 2
    assert ResultContent(open_result(box_result("other")), Detail(scene=False)).maps is None


def test_nobody(box_result):
    content = ResultContent(open_result(box_result(places=())))
    assert content.people == ()
    assert np.isfinite(content.middle).all()
    assert len(content.mesh("refined").faces) > 1000
    assert not content.doubts.body


def test_without_meshes_there_are_skeletons(box_result):
    content = ResultContent(open_result(box_result(formats=("depth",))))
    assert len(content.people[0].faces) == 0
    assert len(content.people[0].skeleton) == 18
    assert any("--save ply" in warning for warning in content.warnings)


def test_the_photo_is_found_in_the_glb_beside_or_not_at_all(box_result, tmp_path):
    result = open_result(box_result(formats=("ply", "depth", "glb")))
    (tmp_path / "wall.png").unlink()
    photo = find_photo(result)
    assert photo.shape == (120, 160, 3)
    assert np.abs(photo.astype(int) - 128).max() < 4
    bare = open_result(box_result("bare"))
    assert (find_photo(bare) == 128).all()
    (tmp_path / "bare.png").unlink()
    assert find_photo(bare) is None
    content = ResultContent(bare)
    assert any("photo is not found" in warning for warning in content.warnings)
    assert len(content.mesh("refined").glb(content.texture("photo"))) > 1000


def test_viewpoints_have_what_they_should_in_sight(content):
    for aspect in (0.46, 1.6):
        above = from_above(content, aspect)
        for view in (
            overview(content, aspect),
            above,
            at_person(content, content.people[1], aspect),
        ):
            for shapes in content.people[1:]:
                ray = shapes.pelvis - view.position
                forward = view.look_at - view.position
                cosine = ray @ forward / np.linalg.norm(ray) / np.linalg.norm(forward)
                assert np.degrees(np.arccos(cosine)) < 25
                if aspect < 1 and view is not above:
                    # The panel covers the lower part of a phone's window.
                    assert ray @ (0, 1, 0) > forward @ (0, 1, 0)
        view = overview(content, aspect)
        for place in (content.eye, *content.frustum.corners, *(shapes.head for shapes in content.people)):
            forward = (view.look_at - view.position) / np.linalg.norm(view.look_at - view.position)
            right = np.cross(forward, (0, 1, 0)) / np.linalg.norm(np.cross(forward, (0, 1, 0)))
            offset = place - view.position
            seen = np.array([offset @ right / aspect, offset @ np.cross(right, forward)]) / (offset @ forward)
            assert np.abs(seen).max() < np.tan(view.fov / 2)
        photo = through_camera(content, aspect)
        np.testing.assert_allclose(photo.position, content.eye)
        across = 2 * np.degrees(np.arctan(np.tan(photo.fov / 2) * aspect))
        assert across >= content.camera.fov_x_deg - 1e-6
        assert np.degrees(photo.fov) >= content.camera.fov_y_deg - 1e-6


def test_what_is_told_is_escaped_and_names_the_camera(content):
    text = about_html(content)
    assert "focal length 120 ± 6 px" in text
    assert "from the photo&#x27;s EXIF" in text or "from the photo's EXIF" in text
    assert "a warning &lt;b&gt;of its own&lt;/b&gt;" in warnings_html(content)
    assert "camera 1.50 ± 0.10 m above it" in text


def test_button_colours_carry_white_text():
    for color in ((230, 159, 0), (86, 180, 233), (0, 114, 178)):
        dark = dark_enough(color)
        assert all(a <= b for a, b in zip(dark, color, strict=True))
    assert dark_enough((0, 0, 120)) == (0, 0, 120)


def test_folders_of_results_are_opened_in_natural_order(box_result):
    for stem in ("walk_10", "walk_2", "b"):
        folder = box_result(stem)
    assert [result.name for result in open_results([folder.parent])] == ["b", "walk_2", "walk_10"]
    assert [result.name for result in open_results([folder, folder / "result.json", folder.parent])] == [
        "b",
        "walk_2",
        "walk_10",
    ]


def test_frames_make_sequences(box_result):
    for stem in ("walk_2", "walk_10", "walk_9", "beach"):
        folder = box_result(stem)
    entries = entries_of(open_results([folder.parent]))
    assert [(entry.name, entry.numbers) for entry in entries] == [("beach", (0,)), ("walk (3 frames)", (2, 9, 10))]
    assert [frame.name for frame in entries[1].frames] == ["walk_2", "walk_9", "walk_10"]


def test_frames_of_a_video_make_a_sequence(box_result, tmp_path):
    for frame in (11, 3):
        folder = box_result(f"clip_{frame:06d}", frame=frame)
        document = json.loads((folder / "result.json").read_text())
        document["image"]["path"] = str(tmp_path / "clip.mp4")
        (folder / "result.json").write_text(json.dumps(document))
    (entry,) = entries_of(open_results([folder.parent]))
    assert (entry.name, entry.numbers, entry.is_sequence) == ("clip (2 frames)", (3, 11), True)


def test_results_of_one_name_are_told_apart(box_result, tmp_path):
    first = box_result()
    second = tmp_path / "again" / "wall"
    second.parent.mkdir()
    first.rename(second)
    names = [entry.name for entry in entries_of(open_results([second, box_result()]))]
    assert names == ["wall", "out/wall"]


def change(folder, **fields):
    document = json.loads((folder / "result.json").read_text())
    document.update(fields)
    (folder / "result.json").write_text(json.dumps(document))


def test_folders_that_cannot_be_shown(box_result, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"empty: no result in this folder.*metrichmsr recover"):
        open_results([tmp_path / "empty"])
    with pytest.raises(InputError, match="nowhere: no such file or folder"):
        open_results([tmp_path / "nowhere"])
    folder = box_result()
    change(folder, schema="metrichmsr/9")
    with pytest.raises(InputError, match=r"result\.json: its schema is 'metrichmsr/9'; this version reads"):
        open_results([folder])


def test_files_that_are_missing_or_damaged(box_result):
    folder = box_result()
    (folder / "person_1.ply").write_bytes((folder / "person_1.ply").read_bytes()[:-20])
    with pytest.raises(InputError, match=r"person_1\.ply: not a mesh"):
        ResultContent(open_result(folder))
    (folder / "person_1.ply").unlink()
    with pytest.raises(InputError, match=r"person_1\.ply: missing"):
        ResultContent(open_result(folder))
    folder = box_result("second")
    (folder / "depth.npz").write_bytes(b"PK\x03\x04 nonsense")
    with pytest.raises(InputError, match=r"depth\.npz: damaged"):
        ResultContent(open_result(folder)).mesh("refined")
    (folder / "depth.npz").unlink()
    with pytest.raises(InputError, match=r"depth\.npz: missing.*--no-scene"):
        ResultContent(open_result(folder))
    np.savez(folder / "depth.npz", depth_m=np.ones((3, 4)))
    with pytest.raises(InputError, match=r"depth_m is \(3, 4\), the picture \(120, 160\)"):
        ResultContent(open_result(folder)).mesh("refined")


def test_meshes_of_other_programs_are_read(tmp_path):
    mesh = trimesh.creation.box((1, 2, 3))
    path = tmp_path / "box.ply"
    path.write_bytes(trimesh.exchange.ply.export_ply(mesh, encoding="ascii"))
    vertices, faces = read_mesh(path)
    np.testing.assert_allclose(np.ptp(vertices, axis=0), (1, 2, 3))
    assert faces.shape == (12, 3)
