"""The runner on a tiny world: a perfect method has no error, a known change has exactly its error."""

import importlib
import json
import math
from dataclasses import replace

import cv2
import numpy as np
import pytest

from metrichmsr.datasets import HeightVideo
from metrichmsr.errors import InputError, MetricHMSRError, UsageError
from metrichmsr.evaluation.height_video import evaluate_height_video
from metrichmsr.evaluation.pictures import write_contact_sheet
from metrichmsr.evaluation.real import EVALUATIONS, EvaluateRealOptions, evaluate_real, main_evaluate_real, write_report
from metrichmsr.evaluation.report import to_json, to_markdown
from metrichmsr.evaluation.session import Gallery, Session
from metrichmsr.recover import RecoverOptions
from metrichmsr.structures import COCO17

STREETS = ("kitti_pedestrians", "nuscenes_pedestrians")


def evaluate(predict, folder, name, **options):
    (result,) = evaluate_real(predict, folder, sets=(name,), **options)
    return result


def row(result, table: int = 0, index: int = 0):
    return result.tables[table].rows[index].values


# ── distances and heights ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["rgbd_uc3m_height", *STREETS])
def test_a_perfect_method_has_no_distance_error(name, method, tiny_sets):
    result = evaluate(method(), tiny_sets, name)
    values = row(result)
    assert values["n"] == (1 if name == "kitti_pedestrians" else 2 if name == "nuscenes_pedestrians" else 3)
    for key in ("mean_percent", "median_percent", "mean_abs_percent", "median_abs_percent"):
        assert values[key] == pytest.approx(0, abs=0.02)
    assert values["coverage_percent"] == 100


@pytest.mark.parametrize("name", ["rgbd_uc3m_height", *STREETS, "mpi3dhp_mini"])
@pytest.mark.parametrize("factor", [1.1, 0.9])
def test_ten_percent_too_far_is_ten_percent(name, factor, method, tiny_sets, make_farther):
    result = evaluate(method(lambda person: make_farther(person, factor)), tiny_sets, name)
    table = 1 if name == "mpi3dhp_mini" else 0
    values = row(result, table)
    assert values["mean_percent"] == pytest.approx(100 * (factor - 1), abs=0.02)
    assert values["median_abs_percent"] == pytest.approx(10, abs=0.02)
    assert values["coverage_percent"] == 0, "5 % sigma, 10 % error"


def test_the_same_body_with_the_true_stature_undoes_a_pure_scale_error(method, tiny_sets, make_farther):
    result = evaluate(method(lambda person: make_farther(person, 1.25)), tiny_sets, "rgbd_uc3m_height")
    recovered, constant, true_stature, _ = (r.values for r in result.tables[0].rows)
    assert recovered["mean_percent"] == pytest.approx(25, abs=0.02)
    assert true_stature["mean_abs_percent"] == pytest.approx(0, abs=0.02)
    # 1.69 m instead of 1.70, 1.70 and 1.60 m.
    assert constant["mean_percent"] == pytest.approx(
        100 * np.mean([1.69 / 1.7, 1.69 / 1.7, 1.69 / 1.6]) - 100, abs=0.03
    )


def test_box_rule_is_right_for_upright_boards(method, tiny_sets):
    values = evaluate(method(), tiny_sets, "nuscenes_pedestrians").tables[0].rows[3].values
    assert values["mean_percent"] == pytest.approx(100 * np.mean([1.69 / 1.7, 1.69 / 1.6]) - 100, abs=0.02)


def test_heights_and_their_coverage(method, tiny_sets):
    result = evaluate(method(lambda p: replace(p, height_m=p.height_m - 0.1)), tiny_sets, "rgbd_uc3m_height")
    recovered, constant = (r.values for r in result.tables[2].rows)
    assert recovered["mean_cm"] == pytest.approx(-10)
    assert recovered["mean_abs_cm"] == pytest.approx(10)
    assert recovered["coverage_percent"] == 0
    assert constant["median_cm"] == pytest.approx(-1)


def test_a_leaning_body_shows_in_the_halves(method, tiny_sets):
    # The upper corners come 10 % nearer along their rays: the same picture of a board that leans towards the camera.
    leaning = method(lambda p: replace(p, vertices_m=p.vertices_m * np.where(p.vertices_m[:, 1:2] < 0, 0.9, 1.0)))
    upper, lower = (r.values for r in evaluate(leaning, tiny_sets, "rgbd_uc3m_height").tables[1].rows)
    assert upper["n"] == lower["n"] == 3
    assert -9 < upper["mean_percent"] < -6
    assert -4 < lower["mean_percent"] < -1


def test_missed_people_and_false_alarms_are_counted(method, tiny_sets):
    counts = evaluate(method(keep=lambda person: person.id == 1), tiny_sets, "rgbd_uc3m_height").counts
    assert (counts["people"], counts["matched"], counts["missed"], counts["false alarms"]) == (3, 1, 2, 0)
    elsewhere = method(lambda person: replace(person, box_xyxy=np.array([0.0, 0, 9, 9])))
    counts = evaluate(elsewhere, tiny_sets, "rgbd_uc3m_height").counts
    assert (counts["matched"], counts["missed"], counts["false alarms"]) == (0, 3, 3)


def test_cyclists_are_not_scored_and_hidden_pedestrians_are_missed(method, tiny_sets):
    counts = evaluate(method(), tiny_sets, "kitti_pedestrians").counts
    assert counts == {
        "frames": 1, "pedestrians": 2, "matched": 1, "missed": 1, "cyclists, not scored": 1, "found, unlabelled": 0,
    }  # fmt: skip


def test_a_mesh_that_misses_its_person_is_not_a_distance(method, tiny_sets):
    aside = method(lambda person: replace(person, vertices_m=person.vertices_m + np.array([9.0, 0, 0])))
    result = evaluate(aside, tiny_sets, "rgbd_uc3m_height")
    assert result.counts["no common pixels"] == 3
    assert row(result)["n"] == 0
    assert math.isnan(row(result)["mean_percent"])


# ── joints and keypoints ────────────────────────────────────────────────────────────────────────────────────────────


def test_perfect_joints(method, tiny_sets):
    result = evaluate(method(), tiny_sets, "mpi3dhp_mini")
    assert result.counts == {"frames": 2, "found": 1}
    body, figure = (r.values for r in result.tables[0].rows)
    assert body["mpjpe_mm"] == pytest.approx(0, abs=1e-6)
    assert body["pa_mpjpe_mm"] == pytest.approx(0, abs=1e-6)
    # The world's people are standing figures of 1.70 m: the constant is off by its centimetre of stature.
    assert figure["pa_mpjpe_mm"] == pytest.approx(0, abs=1e-6)
    assert 0 < figure["mpjpe_mm"] < 10


def test_other_landmark_sources_stand_beside_the_body(method, tiny_sets):
    seen = []

    def doubled(image, person, camera):
        seen.append((image.shape, camera.source))
        return 2 * person.keypoints_3d_m

    result = evaluate(method(), tiny_sets, "mpi3dhp_mini", others={"doubled": doubled})
    _, other, _ = (r.values for r in result.tables[0].rows)
    assert other["pa_mpjpe_mm"] == pytest.approx(0, abs=1e-6)
    assert other["mpjpe_mm"] > 100
    assert seen == [((240, 320, 3), "given")]


def test_perfect_keypoints(method, tiny_sets):
    result = evaluate(method(), tiny_sets, "kp2d_lspet")
    assert result.counts == {"images": 2, "found": 2, "without a labelled torso, skipped": 1}
    for values in (row(result, 0, 0), row(result, 0, 1)):
        assert values["n"] == 23, "one wrist is hidden"
        assert values["pck_percent"] == values["swap_percent"] == 100
        assert values["interval"] == "100.0–100.0"


def test_a_body_that_projects_elsewhere_is_wrong_though_the_landmarks_are_right(method, tiny_sets):
    aside = method(lambda person: replace(person, keypoints_3d_m=person.keypoints_3d_m + np.array([2.0, 0, 0])))
    result = evaluate(aside, tiny_sets, "kp2d_lspet")
    assert row(result, 0, 0)["pck_percent"] == 100
    assert row(result, 0, 1)["pck_percent"] == 0


def test_a_body_behind_the_camera_is_wrong(method, tiny_sets):
    behind = method(lambda person: replace(person, keypoints_3d_m=-person.keypoints_3d_m))
    assert row(evaluate(behind, tiny_sets, "kp2d_lspet"), 0, 1)["pck_percent"] == 0


def test_exchanged_sides_cost_pck_and_not_its_tolerant_form(method, tiny_sets):
    other = [COCO17.index(name.replace("left", "L").replace("right", "left").replace("L", "right")) for name in COCO17]
    mirrored = method(lambda person: replace(person, keypoints_2d_px=person.keypoints_2d_px[other]))
    values = row(evaluate(mirrored, tiny_sets, "kp2d_lspet"))
    assert values["pck_percent"] < 60
    assert values["swap_percent"] == 100


def test_missed_people_are_wrong_and_absent_from_found_only(method, tiny_sets):
    result = evaluate(method(keep=lambda person: False), tiny_sets, "kp2d_lspet")
    assert result.counts["found"] == 0
    assert row(result, 0, 0)["pck_percent"] == 0
    assert math.isnan(row(result, 1, 0)["pck_percent"])


# ── video ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_height_and_its_spread_over_a_video(method, tmp_path):
    path = tmp_path / "walk.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (320, 240))
    for _ in range(8):
        writer.write(np.full((240, 320, 3), 20, dtype=np.uint8))
    writer.release()
    errors = iter([0.1, -0.1, 0.1, -0.1])

    def wavering(image, camera, /):
        recovery = method()(np.full_like(image, 20), camera)
        (person,) = recovery.people
        return replace(recovery, people=(replace(person, height_m=1.65 + next(errors)),))

    box = tuple(method()(np.full((240, 320, 3), 20, np.uint8), None).people[0].box_xyxy)
    video = HeightVideo(path, 1.65, ((0, box), (7, box)))
    result = evaluate_height_video(video, Session(predict=wavering, name="video"), every=2)
    values = row(result)
    assert values["n"] == 4
    assert values["mean_cm"] == pytest.approx(0, abs=1e-9)
    assert values["mean_abs_cm"] == pytest.approx(10)
    assert values["spread_cm"] == pytest.approx(100 * np.std([0.1, -0.1, 0.1, -0.1], ddof=1))
    assert row(result, 0, 1)["mean_cm"] == pytest.approx(4)


# ── runner ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_all_sets_that_are_there_are_evaluated_in_order(method, tiny_sets):
    done = []
    results = evaluate_real(method(), tiny_sets, on_result=lambda result: done.append(result.name))
    names = [result.name for result in results]
    assert names == done == [name for name in EVALUATIONS if (tiny_sets / name).is_dir()]
    assert len(names) == 5


def test_frames_are_limited(method, tiny_sets):
    fake = method()
    result = evaluate(fake, tiny_sets, "rgbd_uc3m_height", max_frames=2)
    assert fake.calls == result.counts["frames"] == 2
    assert [case.label for case in result.cases] == ["one#0"], "first and last frame"


def test_pictures_the_method_refuses_count_as_missed_and_are_named(tiny_sets):
    def refuse(image, camera, /):
        raise MetricHMSRError("no model")

    for result in evaluate_real(refuse, tiny_sets, gallery=Gallery(2)):
        assert result.failures
        assert all("no model" in line for line in result.failures)
        assert math.isnan(result.seconds_per_image)
    assert "Given up on" in to_markdown([result])


def test_a_defect_of_the_method_is_not_swallowed(tiny_sets):
    def broken(image, camera, /):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        evaluate_real(broken, tiny_sets)


def test_report_reads_back_and_has_no_nan(method, tiny_sets, tmp_path):
    results = evaluate_real(method(keep=lambda person: person.id == 0), tiny_sets)
    write_report(results, tmp_path, {"metrichmsr": "1.2.3"})
    text = (tmp_path / "evaluation.json").read_text()
    assert "NaN" not in text
    read = json.loads(text)
    assert read == to_json(results, {"metrichmsr": "1.2.3"})
    assert list(read["sets"]) == [result.name for result in results]
    markdown = (tmp_path / "evaluation.md").read_text()
    for result in results:
        assert f"### {result.name}" in markdown
    tables = [block.splitlines() for block in markdown.split("\n\n") if block.startswith("|")]
    assert len(tables) == sum(len(result.tables) for result in results)
    for header, rule, *rows in tables:
        assert {line.count("|") for line in (header, rule, *rows)} == {header.count("|")}


def test_the_command_writes_its_report_and_tells_of_pictures_given_up_on(
    method, tiny_sets, tmp_path, monkeypatch, capsys, make_farther
):
    class FakeRecoverer:
        """The fit puts people farther away by a tenth."""

        refuse = False

        def __init__(self, options, *, find):
            people = RecoverOptions(depth="none")
            assert options in (people, replace(people, method="fit")), "the method is recover's own"
            self.fits = options.method == "fit"

        def find(self, image, path):
            raise AssertionError("the fake looks at no picture")

        def __call__(self, image, *, camera):
            if self.refuse:
                raise MetricHMSRError("too dark")
            predict = method(lambda p: make_farther(p, 1.1)) if self.fits else method()
            return replace(predict(image, camera), versions={"metrichmsr": "9"})

    monkeypatch.setattr(importlib.import_module("metrichmsr.recover"), "Recoverer", FakeRecoverer)
    out = tmp_path / "new" / "folder"
    options = EvaluateRealOptions(data=tiny_sets, out=out, sets=("kitti_pedestrians",), pictures=2)
    assert main_evaluate_real(options) == 0
    said = capsys.readouterr()
    assert said.out == (out / "evaluation.md").read_text()
    assert "kitti_pedestrians" in said.err, "progress"
    document = json.loads((out / "evaluation.json").read_text())
    assert document["versions"] == {"metrichmsr": "9"}
    rows = {row["method"]: row for row in document["sets"]["kitti_pedestrians"]["tables"][0]["rows"]}
    assert rows["fit: recovered"]["mean_percent"] == pytest.approx(rows["recovered"]["mean_percent"] + 10, abs=0.5)
    assert sum("box" in name for name in rows) == 1, "rows that are the same come once"
    assert sorted(path.name for path in out.iterdir()) == [
        "evaluation.json", "evaluation.md", "worst_kitti_pedestrians.png"
    ]  # fmt: skip
    FakeRecoverer.refuse = True
    assert main_evaluate_real(replace(options, quiet=True)) == 1
    said = capsys.readouterr()
    assert "street.png: too dark" in said.out
    assert "fit: street.png: too dark" in said.out
    assert said.err == ""
    alone = tmp_path / "alone"
    FakeRecoverer.refuse = False
    assert main_evaluate_real(replace(options, out=alone, fit=False)) == 0
    assert "fit:" not in (alone / "evaluation.md").read_text()


def test_worst_cases_become_a_contact_sheet(method, tiny_sets, tmp_path, make_farther):
    gallery = Gallery(3)
    evaluate_real(method(lambda p: make_farther(p, 1.1)), tiny_sets, gallery=gallery)
    for name in ("rgbd_uc3m_height", "kp2d_lspet", "mpi3dhp_mini", *STREETS):
        pictures = gallery.pictures(name)
        assert 1 <= len(pictures) <= 3
        path = tmp_path / f"{name}.png"
        write_contact_sheet(pictures, path, columns=2)
        sheet = cv2.imread(str(path))
        assert sheet.shape[1] == 420 * min(2, len(pictures))
        assert sheet.std() > 1


def test_unknown_missing_and_absent_sets(method, tiny_sets, tmp_path):
    with pytest.raises(UsageError, match="unknown set 'lspet'"):
        EvaluateRealOptions(out=tmp_path, sets=("lspet",))
    with pytest.raises(InputError, match="video_sports2d: no such set"):
        evaluate_real(method(), tiny_sets, sets=("video_sports2d",))
    with pytest.raises(InputError, match="none of the known sets"):
        evaluate_real(method(), tmp_path)


@pytest.mark.parametrize(("field", "value"), [("max_frames", 0), ("pictures", -1)])
def test_senseless_options(field, value, tmp_path):
    with pytest.raises(UsageError, match=field.replace("_", "-")):
        EvaluateRealOptions(out=tmp_path, **{field: value})
