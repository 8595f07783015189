"""result.json, read back by code that knows only the written contract."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from metrichmsr.errors import InputError
from metrichmsr.export.result_json import dump_result, read_result, result_document, write_result
from metrichmsr.structures import COCO17, Scene


def strict(text: str):
    def refuse(name: str):
        raise AssertionError(f"{name} in strict JSON")

    return json.loads(text, parse_constant=refuse)


def test_every_key_of_the_contract(make_recovery):
    document = strict(dump_result(result_document(make_recovery(), meshes={0: "person_0.ply", 1: "person_1.ply"})))
    assert document["schema"] == "metrichmsr/1"
    assert {"path", "width", "height"} <= set(document["image"])
    assert {"K", "source", "focal_std_px", "fov_x_deg"} <= set(document["camera"])
    assert set(document) >= {"people", "scene", "warnings", "timings_ms", "versions"}
    assert document["scene"] is None
    person = document["people"][1]
    assert set(person) >= {
        *("id", "score", "box_xyxy", "height_m", "height_std_m", "distance_m", "distance_std_m", "translation_m"),
        *("keypoints_2d_px", "keypoints_3d_m", "body_model", "pose", "shape", "mesh"),
    }
    assert list(person["keypoints_2d_px"]) == list(person["keypoints_3d_m"]) == list(COCO17)
    assert person["mesh"] == "person_1.ply"


def test_numbers_survive(make_recovery):
    recovery = make_recovery()
    document = strict(dump_result(result_document(recovery)))
    assert np.array_equal(document["camera"]["K"], recovery.camera.K), "K in full precision"
    for person, entry in zip(recovery.people, document["people"], strict=True):
        for field, written in (
            (person.keypoints_3d_m, entry["keypoints_3d_m"]),
            (person.keypoints_2d_px, entry["keypoints_2d_px"]),
        ):
            np.testing.assert_allclose([written[name] for name in COCO17], field, rtol=0, atol=5.1e-7)
        np.testing.assert_allclose(list(entry["pose"].values()), list(person.pose.values()), rtol=0, atol=5.1e-7)
        assert list(entry["pose"]) == list(entry["joints_3d_m"]) == list(person.pose)
        np.testing.assert_allclose(entry["distance_m"], math.dist((0, 0, 0), person.translation_m), atol=1e-6)


def test_keypoints_3d_project_onto_the_detected_ones(make_recovery):
    document = strict(dump_result(result_document(make_recovery())))
    (fx, _, cx), (_, fy, cy), _ = document["camera"]["K"]
    for person in document["people"]:
        for name, (x, y, z) in person["keypoints_3d_m"].items():
            u, v, _ = person["keypoints_2d_px"][name]
            assert (fx * x / z + cx, fy * y / z + cy) == pytest.approx((u, v), abs=1e-3)


def test_float32_arrays_give_short_numbers(make_recovery, make_person):
    person = make_person(translation_m=np.array([0.1, 0.2, 3.3], dtype=np.float32), score=np.float32(0.7))
    text = dump_result(result_document(make_recovery(people=(person,))))
    assert '"translation_m": [0.1, 0.2, 3.3]' in text
    assert '"score": 0.7,' in text


def test_nobody(make_recovery):
    document = result_document(make_recovery(people=0, warnings=("nobody was found",)))
    assert document["people"] == []
    assert document["warnings"] == ["nobody was found"]


def test_what_is_not_finite_is_null(make_recovery, make_person):
    keypoints = np.full((17, 3), 1.0)
    keypoints[3] = (math.nan, math.inf, 0.0)
    person = make_person(keypoints_2d_px=keypoints, reprojection_px=math.nan, height_std_m=math.inf)
    recovery = make_recovery(people=(person,), timings_ms={"fit": math.nan})
    document = strict(dump_result(result_document(recovery)))
    entry = document["people"][0]
    assert entry["keypoints_2d_px"][COCO17[3]] == [None, None, 0.0]
    assert entry["reprojection_px"] is None
    assert entry["height_std_m"] is None
    assert document["timings_ms"] == {"fit": None}


def test_scene_where_depth_ran(make_recovery):
    scene = Scene(
        depth_m=np.ones((2, 2)), source="moge", refined=True, ground_normal=np.array([0, -1.0, 0]), ground_offset_m=1.5
    )
    entry = result_document(make_recovery(scene=scene), depth="depth.npz")["scene"]
    assert entry == {
        "depth": "depth.npz",
        "source": "moge",
        "refined": True,
        "ground_plane": {"normal": [0.0, -1.0, 0.0], "offset_m": 1.5, "offset_std_m": None},
        "refinement": "none",
        "residuals": None,
        "world_from_camera": None,
        "up_source": None,
        "foot_clearance_m": {},
    }


def test_joints_without_names_are_refused(make_recovery, make_person):
    person = make_person(joints_m=np.zeros((3, 3)))
    with pytest.raises(ValueError, match="zip"):
        result_document(make_recovery(people=(person,)))


def test_round_trip_through_the_file(make_recovery, tmp_path):
    document = result_document(make_recovery("Fotos/Zoë.jpg"), frame=12)
    write_result(document, tmp_path / "result.json")
    assert read_result(tmp_path / "result.json") == document
    text = (tmp_path / "result.json").read_text(encoding="utf-8")
    assert "Zoë" in text
    assert strict(text) == json.loads(dump_result(document)) == document
    assert max(map(len, text.splitlines())) < 120, "for people to read"
    assert len(text.splitlines()) < 200, "and not a line a number"


def test_any_text_survives(make_recovery, tmp_path):
    odd = 'a "quoted" [ 1,\n 2 ] {\\} ,\n name\u2028.jpg'
    write_result(result_document(make_recovery(odd, people=0, warnings=(odd, ""))), tmp_path / "result.json")
    document = read_result(tmp_path / "result.json")
    assert (document["image"]["path"], document["warnings"]) == (odd, [odd, ""])


def test_files_older_than_the_added_keys_are_read(make_recovery, tmp_path):
    document = json.loads(dump_result(result_document(make_recovery())))
    del document["image"]["frame"], document["camera"]["distortion"], document["people"][0]["joints_3d_m"]
    document["from_the_future"] = 1
    path = tmp_path / "result.json"
    path.write_text(json.dumps(document))
    assert read_result(path) == document


def spoil(document, change):
    change(document)
    return json.dumps(document)


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (lambda d: d.update(schema="metrichmsr/2"), "schema is 'metrichmsr/2'"),
        (lambda d: d.pop("schema"), "names no schema"),
        (lambda d: d.pop("people"), "lacks people"),
        (lambda d: d["camera"].pop("source"), "camera lacks source"),
        (lambda d: d["camera"].update(K=[[1, 0], [0, 1]]), "3×3"),
        (lambda d: d["camera"].update(distortion=[0.1, 0.2]), r"camera\.distortion"),
        (lambda d: d["camera"].update(distortion=["0", 0, 0, 0, None]), r"camera\.distortion"),
        (lambda d: d["people"][1].pop("height_m"), r"people\[1\] lacks height_m"),
        (lambda d: d["people"][0]["keypoints_3d_m"].pop("nose"), "17 COCO keypoints"),
        (lambda d: d.update(people={}), "not a list"),
        (lambda d: d.update(people=[3]), r"people\[0\] is not an object"),
    ],
)
def test_foreign_and_broken_documents_are_refused(make_recovery, tmp_path, change, cause):
    path = tmp_path / "result.json"
    path.write_text(spoil(json.loads(dump_result(result_document(make_recovery()))), change))
    with pytest.raises(InputError, match=cause) as caught:
        read_result(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00", b'{"schema": NaN}', b"[]", b"3"])
def test_what_is_no_result_is_refused(tmp_path, content):
    path = tmp_path / "result.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"result\.json"):
        read_result(path)


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        read_result(tmp_path / "none.json")
