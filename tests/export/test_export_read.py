"""A result folder read back, and the verb ``convert``: what it writes equals what the recovery itself writes."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from metrichmsr import cli
from metrichmsr.bodies.change_body import change_body
from metrichmsr.errors import InputError
from metrichmsr.export import read_result
from metrichmsr.export.read import read_recovery
from metrichmsr.export.write import write_recovery


@pytest.fixture
def result(world, make_anny, tmp_path):
    """A recovery with a scene and two Anny bodies, and its folder."""
    people = (make_anny(0, (0.2, 0.0, 4.0)), make_anny(1, (-0.8, 0.1, 6.0)))
    recovery = world(people=people)
    path = tmp_path / "photos" / "pair.png"
    path.parent.mkdir()
    Image.fromarray(recovery.image).save(path)
    recovery = dataclasses.replace(recovery, image_path=path)
    (tmp_path / "out").mkdir()
    folder = write_recovery(recovery, tmp_path / "out", "pair", formats=("ply", "depth", "obj", "bvh", "npz"))
    return recovery, folder


def test_everything_comes_back(result):
    recovery, folder = result
    again = read_recovery(folder)
    np.testing.assert_array_equal(again.camera.K, recovery.camera.K)
    np.testing.assert_array_equal(again.image, recovery.image)
    np.testing.assert_array_equal(again.scene.depth_m, recovery.scene.depth_m)
    np.testing.assert_allclose(again.scene.world_from_camera, recovery.scene.world_from_camera, atol=1e-8)
    np.testing.assert_allclose(again.scene.ground_normal, recovery.scene.ground_normal, atol=1e-6)
    assert again.scene.foot_clearance_m == recovery.scene.foot_clearance_m
    assert np.isnan(again.scene.residuals.initial)
    for before, after in zip(recovery.people, again.people, strict=True):
        np.testing.assert_allclose(after.vertices_m, before.vertices_m, rtol=0, atol=2e-5)
        np.testing.assert_allclose(after.joints_m, before.joints_m, rtol=0, atol=1e-5)
        np.testing.assert_allclose(after.keypoints_3d_m, before.keypoints_3d_m, atol=1e-6)
        np.testing.assert_array_equal(after.rig.skin_bones, before.rig.skin_bones)
        assert after.height_m == pytest.approx(before.height_m, abs=1e-6)


def test_converted_files_are_those_of_the_recovery(result, tmp_path, capsys):
    _, folder = result
    assert cli.main(["convert", str(folder), "--to", "obj,bvh,npz", "--out", str(tmp_path / "more")]) == 0
    assert "person_1.bvh" in capsys.readouterr().out
    names = {path.name for path in (tmp_path / "more").iterdir()}
    assert names == {
        *("person_0.bvh", "person_1.bvh", "recovery.npz", "scene.obj", "scene.mtl", "scene_photo.jpg"),
    }
    for name in ("person_0.bvh", "person_1.bvh"):
        first, second = ((place / name).read_text().split("MOTION") for place in (folder, tmp_path / "more"))
        numbers = [np.array(text[1].split("Frame Time:")[1].split(), float) for text in (first, second)]
        np.testing.assert_allclose(numbers[1], numbers[0], atol=2e-3, err_msg="thousandths of degrees")
    with np.load(folder / "recovery.npz") as before, np.load(tmp_path / "more" / "recovery.npz") as after:
        assert before.files == after.files
        np.testing.assert_allclose(after["vertices_m"], before["vertices_m"], atol=2e-5)
    assert (folder / "scene.mtl").read_text() == (tmp_path / "more" / "scene.mtl").read_text()


def test_files_go_beside_the_result(result):
    _, folder = result
    before = {path.name for path in folder.iterdir()}
    assert cli.main(["convert", str(folder), "--to", "glb,colmap"]) == 0
    added = {path.name for path in folder.iterdir()} - before
    assert added == {"scene.glb", "cameras.txt", "images.txt", "points3D.txt"}


def test_the_picture_may_have_moved(result, tmp_path, capsys):
    recovery, folder = result
    moved = recovery.image_path.rename(tmp_path / "elsewhere.png")
    assert cli.main(["convert", str(folder), "--to", "obj"]) == 2
    assert "name it with --image" in capsys.readouterr().err
    assert cli.main(["convert", str(folder), "--to", "obj", "--image", str(moved)]) == 0


@pytest.fixture
def relative(result, tmp_path, monkeypatch):
    """The same, recovered from ``photos/pair.png`` in another working folder than today's, which has a namesake."""
    recovery, _ = result
    monkeypatch.chdir(tmp_path)
    recovery = dataclasses.replace(recovery, image_path=Path("photos/pair.png"))
    folder = write_recovery(recovery, Path("out"), "pair", formats=("ply", "depth"))
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "photos").mkdir(parents=True)
    Image.fromarray(255 - recovery.image).save(elsewhere / "photos" / "pair.png")
    monkeypatch.chdir(elsewhere)
    return recovery, tmp_path / folder


def test_a_relative_picture_is_found_from_another_folder(relative, tmp_path, monkeypatch):
    recovery, folder = relative
    assert read_result(folder / "result.json")["image"]["path"] == "photos/pair.png"
    np.testing.assert_array_equal(read_recovery(folder).image, recovery.image)
    moved = tmp_path / "moved"
    moved.mkdir()
    for name in ("photos", "out"):
        (tmp_path / name).rename(moved / name)
    again = read_recovery("../moved/out/pair")
    np.testing.assert_array_equal(again.image, recovery.image)
    assert again.image_path == moved / "photos" / "pair.png"
    monkeypatch.chdir(moved)
    assert read_recovery("out/pair").image_path == Path("photos/pair.png")


def test_results_of_before_are_found_by_the_name_of_their_picture(relative, tmp_path, monkeypatch):
    recovery, folder = relative
    document = json.loads((folder / "result.json").read_text())
    del document["image"]["path_from_result"]
    (folder / "result.json").write_text(json.dumps(document))
    monkeypatch.chdir(tmp_path)
    np.testing.assert_array_equal(read_recovery(folder).image, recovery.image)


def test_what_shows_no_surroundings_needs_neither_picture_nor_depth(result, tmp_path, capsys):
    recovery, folder = result
    recovery.image_path.unlink()
    (folder / "depth.npz").unlink()
    before = read_recovery(folder, surroundings=False)
    assert not before.image.any()
    np.testing.assert_allclose(before.scene.world_from_camera, recovery.scene.world_from_camera, atol=1e-8)
    out = ["--out", str(tmp_path / "more")]
    assert cli.main(["convert", str(folder), "--to", "bvh,npz,ply", *out]) == 0
    assert {"person_1.bvh", "person_1.ply", "recovery.npz"} <= {path.name for path in (tmp_path / "more").iterdir()}
    assert cli.main(["convert", str(folder), "--to", "colmap", *out]) == 2
    assert "depth was not saved" in capsys.readouterr().err


def test_points_of_a_result_without_a_scene_are_refused(result, capsys):
    _, folder = result
    document = json.loads((folder / "result.json").read_text())
    document["scene"] = None
    (folder / "result.json").write_text(json.dumps(document))
    assert cli.main(["convert", str(folder), "--to", "points"]) == 2
    assert "was recovered without its scene: there is no depth for points" in capsys.readouterr().err


def test_a_missing_picture_is_told_to_callers_in_python(result):
    recovery, folder = result
    recovery.image_path.unlink()
    with pytest.raises(InputError, match="in Python image=…, or surroundings=False"):
        read_recovery(folder)


def test_another_picture_is_refused(result, tmp_path):
    _, folder = result
    Image.new("RGB", (64, 48)).save(tmp_path / "other.png")
    with pytest.raises(InputError, match=r"other\.png: is 64×48"):
        read_recovery(folder, image=tmp_path / "other.png")


def test_depth_that_was_not_saved_is_told(result):
    _, folder = result
    document = json.loads((folder / "result.json").read_text())
    document["scene"]["depth"] = None
    (folder / "result.json").write_text(json.dumps(document))
    with pytest.raises(InputError, match="--save depth"):
        read_recovery(folder)


def test_damaged_depth_is_told(result):
    _, folder = result
    (folder / "depth.npz").write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(InputError, match=r"depth\.npz"):
        read_recovery(folder)


def test_bones_of_another_model_are_told(result):
    _, folder = result
    document = json.loads((folder / "result.json").read_text())
    del document["people"][0]["pose"]["head"]
    (folder / "result.json").write_text(json.dumps(document))
    with pytest.raises(InputError, match="person 0 has other bones"):
        read_recovery(folder)


@pytest.mark.parametrize(
    ("args", "cause"),
    [
        (["--to", "fbx"], "'fbx' is none of"),
        ([], "convert to what?"),
        (["--to", "amass"], "not anny"),
        (["--body", "smpl", "--body-model-dir", "nowhere"], "SMPL"),
    ],
)
def test_what_cannot_be_converted_is_told(result, capsys, args, cause):
    _, folder = result
    before = {path.name for path in folder.iterdir()}
    assert cli.main(["convert", str(folder), *args]) == 2
    assert cause in capsys.readouterr().err
    assert {path.name for path in folder.iterdir()} == before


def test_no_result_is_told(tmp_path, capsys):
    assert cli.main(["convert", str(tmp_path), "--to", "obj"]) == 2
    assert "result.json" in capsys.readouterr().err


def test_a_body_changed_into_its_own_model_stays(anny, result):
    recovery, _ = result
    people, gaps = change_body(recovery.people[:1], anny, anny)
    assert people[0].height_m == pytest.approx(recovery.people[0].height_m, abs=0.05)
    assert gaps[0].keypoints_mm < 60
    assert gaps[0].surface_mm < 60
    assert gaps[0].height_mm == pytest.approx(1000 * (people[0].height_m - recovery.people[0].height_m), abs=1e-2)
    assert people[0].score == recovery.people[0].score


@pytest.fixture
def loads_tiny_smpl(tiny_smpl, monkeypatch):
    """The user's files are made-up models."""
    import metrichmsr.bodies as bodies

    load = bodies.load_body_model

    def load_or_make(name="anny", **options):
        return load(name) if name == "anny" else tiny_smpl(name)

    monkeypatch.setattr(bodies, "load_body_model", load_or_make)


@pytest.mark.usefixtures("loads_tiny_smpl")
def test_convert_writes_a_whole_result_in_the_other_body(result, capsys):
    _, folder = result
    assert cli.main(["convert", str(folder), "--body", "smpl", "--to", "amass"]) == 0
    out = capsys.readouterr().out
    assert "mm apart on average" in out
    other = folder.with_name("pair_smpl")
    document = read_result(other / "result.json")
    assert [person["body_model"] for person in document["people"]] == ["smpl", "smpl"]
    assert any("fitted to the keypoints of the anny body" in warning for warning in document["warnings"])
    for name in ("person_0_amass.npz", "person_1.ply", "depth.npz"):
        assert (other / name).is_file()
    assert (folder / "result.json").is_file()


@pytest.mark.usefixtures("loads_tiny_smpl")
def test_a_converted_result_knows_its_picture_from_there(relative, tmp_path, monkeypatch):
    recovery, folder = relative
    assert cli.main(["convert", str(folder), "--body", "smpl"]) == 0
    monkeypatch.chdir("/")
    other = folder.with_name("pair_smpl")
    assert cli.main(["convert", str(other), "--to", "obj"]) == 0
    with Image.open(other / "scene_photo.jpg") as photo:
        np.testing.assert_allclose(photo.getpixel((0, 0)), recovery.image[0, 0], atol=8)


@pytest.mark.usefixtures("loads_tiny_smpl")
def test_convert_brings_bodies_back_to_anny(result, anny, capsys):
    """How near the two bodies are is for tests/bodies/test_bodies_transfer.py: the model here has no person's form."""
    recovery, folder = result
    assert cli.main(["convert", str(folder), "--body", "smplx"]) == 0
    assert cli.main(["convert", str(folder.with_name("pair_smplx")), "--body", "anny", "--to", "bvh"]) == 0
    assert "anny was fitted to the keypoints of the smplx body" in capsys.readouterr().out
    back = folder.with_name("pair_smplx_anny")
    again = read_recovery(back)
    assert [person.body_model for person in again.people] == ["anny", "anny"]
    assert (back / "person_1.bvh").is_file()
    for before, after in zip(recovery.people, again.people, strict=True):
        assert tuple(after.pose) == anny.bone_names
        assert tuple(after.shape) == anny.shape_names
        assert after.vertices_m.shape == before.vertices_m.shape
        np.testing.assert_array_equal(after.keypoints_2d_px, before.keypoints_2d_px)


@pytest.mark.usefixtures("loads_tiny_smpl")
def test_only_bodies_of_another_model_are_fitted(result, capsys):
    _, folder = result
    assert cli.main(["convert", str(folder), "--body", "anny"]) == 2
    assert "its bodies are of anny already" in capsys.readouterr().err
    assert cli.main(["convert", str(folder), "--body", "smpl"]) == 0
    file = folder / "result.json"
    mixed, other = (json.loads(path.read_text()) for path in (file, folder.with_name("pair_smpl") / "result.json"))
    mixed["people"][0] = other["people"][0]
    file.write_text(json.dumps(mixed))
    capsys.readouterr()
    assert cli.main(["convert", str(folder), "--body", "anny", "--out", str(folder.with_name("one"))]) == 0
    out = capsys.readouterr().out
    assert "person 0: anny was fitted to the keypoints of the smpl body" in out
    assert "person 1" not in out
    people = read_result(folder.with_name("one") / "result.json")["people"]
    assert [person["body_model"] for person in people] == ["anny", "anny"]
    poses = [np.array(list(entry["pose"].values()), float) for entry in (people[1], mixed["people"][1])]
    np.testing.assert_allclose(*poses, atol=1e-5)
