"""The SynFocal harness: a method that knows the truth has no error, and a withheld K costs what geometry says."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from metrichmsr import cli
from metrichmsr.bodies.anny import AnnyBody
from metrichmsr.errors import UsageError
from metrichmsr.evaluation import synfocal
from metrichmsr.evaluation.synfocal import EvaluateSynfocalOptions, evaluate_twins, to_set
from metrichmsr.evaluation.synfocal_methods import Answer, assumed_intrinsics, blazepose_world, of_constant_stature
from metrichmsr.evaluation.synfocal_metrics import SubjectPrediction
from metrichmsr.evaluation.synfocal_sight import DetectedRegions, TrueRegions
from metrichmsr.hmr.checkpoint import save_network
from metrichmsr.hmr.config import SMALL
from metrichmsr.hmr.network import build
from metrichmsr.people import Landmarker
from metrichmsr.people.detection import Detections
from metrichmsr.people.landmarks import Landmarks
from metrichmsr.synthetic.assets import VARIABLE
from metrichmsr.synthetic.benchmark import BENCHMARKS
from metrichmsr.synthetic.shots import Shot
from metrichmsr.synthetic.writer import Source, stream_shots


@pytest.fixture(scope="module")
def source() -> Source:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(VARIABLE, raising=False)
        return BENCHMARKS["validation"].source(None)


def truth_of(shot: Shot, landmarks: Landmarks) -> Answer:
    people = shot.people
    body = AnnyBody.load()
    with torch.no_grad():
        vertices = body(
            synfocal._matrices(people.pose[:1]),
            torch.from_numpy(people.shape[:1]).float(),
            torch.from_numpy(people.translation_m[:1]).float(),
        ).vertices_m[0]
    said = SubjectPrediction(
        translation_m=people.translation_m[0],
        height_m=float(people.height_m[0]),
        joints_m=people.coco17_m[0],
        vertices_m=vertices.numpy(),
    )
    return Answer(said, distance_sigma=0.01, height_sigma_m=0.01)


def by_size(shot: Shot, landmarks: Landmarks) -> Answer:
    """The truth as somebody sees it who takes the focal length for another: distances grow with it."""
    wrong = assumed_intrinsics(shot)[0, 0] / shot.K[0, 0]
    said = truth_of(shot, landmarks).prediction
    shift = said.translation_m * (wrong - 1)
    return Answer(replace(said, translation_m=said.translation_m + shift, joints_m=said.joints_m + shift))


@pytest.fixture(scope="module")
def measured(source: Source):
    methods = {
        "truth": truth_of,
        "short": of_constant_stature(truth_of, 1.0),
        "by size": by_size,
        "world": blazepose_world,
    }
    return evaluate_twins(BENCHMARKS["validation"], source, methods, TrueRegions(), scenes=1)


def test_the_truth_has_no_error(measured) -> None:
    results, truth = measured
    assert [round(t.fov_x_deg) for t in truth] == [20, 35, 55, 80, 110]
    for scores in results["truth"].scores:
        for name in ("mpjpe_mm", "pa_mpjpe_mm", "pve_mm", "rde_percent", "root_error_m", "height_mae_cm"):
            assert scores[name] == pytest.approx(0, abs=1e-2), name
        assert scores["rde_within_sigma_percent"] == scores["height_within_sigma_percent"] == 100
    assert results["truth"].consistency()["size_spread_percent"] == pytest.approx(0, abs=1e-3)


def test_constant_stature_scales_everything(measured) -> None:
    results, truth = measured
    for scores, true in zip(results["short"].scores, truth, strict=True):
        assert scores["rde_signed_percent"] == pytest.approx(100 * (1 / true.height_m - 1), abs=0.01)
        assert scores["pa_mpjpe_mm"] == pytest.approx(0, abs=0.01)
        assert math.isnan(scores["rde_within_sigma_percent"]), "nothing was said about its doubt"


def test_a_withheld_focal_length_costs_its_ratio(measured) -> None:
    results, truth = measured
    for scores, true in zip(results["by size"].scores, truth, strict=True):
        ratio = math.tan(math.radians(true.fov_x_deg) / 2) / math.tan(math.radians(30))
        assert scores["rde_signed_percent"] == pytest.approx(100 * (ratio - 1), rel=1e-3)
        assert scores["mpjpe_mm"] == pytest.approx(0, abs=0.01)


def test_a_pose_without_a_place_is_scored_as_a_pose(measured) -> None:
    results, _ = measured
    for scores in results["world"].scores:
        assert math.isfinite(scores["pa_mpjpe_mm"])
        assert scores["pa_mpjpe_mm"] <= scores["mpjpe_mm"]
        assert math.isnan(scores["rde_percent"])
        assert math.isnan(scores["height_mae_cm"])


def test_report_has_a_row_for_every_method(measured) -> None:
    results, truth = measured
    report = to_set(results, truth, benchmark="here", regions="true")
    first = report.tables[0]
    assert [row.method for row in first.rows] == list(results)
    assert first.rows[0].values["n"] == 5
    mean = np.mean([scores["rde_percent"] for scores in results["short"].scores])
    assert first.rows[1].values["rde_percent"] == pytest.approx(float(mean))
    assert {case.values["method"] for case in report.cases} == set(results)


def test_who_is_not_found_is_looked_at_where_the_truth_says(source: Source) -> None:
    (_, twins), *_ = stream_shots(source, BENCHMARKS["validation"].plan.jobs()[:1], workers=0)
    shot = twins[0]
    box = shot.people.box_xyxy[:1].astype(np.float64)

    def beside(image: np.ndarray) -> Detections:
        return Detections(box + np.array([2, 0, 2, 0]) * (box[0, 2] - box[0, 0]), np.ones(1))

    def there(image: np.ndarray) -> Detections:
        return Detections(np.concatenate([box + 1e3, box]), np.array([0.9, 0.4]))

    landmarker = Landmarker()
    lost, found = DetectedRegions(beside, landmarker), DetectedRegions(there, landmarker)
    (by_truth,), (by_find,) = lost([shot], np.random.default_rng(0)), found([shot], np.random.default_rng(0))
    assert (lost.missed, found.missed) == (1, 0)
    # One region is where the box is, the other where the keypoints are; both hold the subject.
    assert not np.allclose(by_truth.crop_from_image, by_find.crop_from_image)
    middle = np.append(box.reshape(2, 2).mean(0), 1.0)
    for seen in (by_truth, by_find):
        assert (np.abs((seen.crop_from_image[0] @ middle)[:2] - 128) < 64).all()


def test_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    tiny = replace(SMALL, width=24, heads=2, hidden=48, queries=2, slots=2, patch_layers=1, global_layers=1)
    path = tmp_path / "tiny.safetensors"
    save_network(path, build(tiny), tiny)
    argv = ["evaluate", "synfocal", "--out", str(tmp_path / "out"), "--scenes", "1", "--quiet", "--no-fit"]
    assert cli.main([*argv, "--checkpoint", str(path), "--compare", f"again={path}"]) == 0
    assert "network, K withheld" in capsys.readouterr().out
    document = json.loads((tmp_path / "out" / "evaluation.json").read_text(encoding="utf-8"))
    rows = document["sets"]["synfocal-plain validation"]["tables"][0]["rows"]
    by_method = {row["method"]: row for row in rows}
    counts = document["sets"]["synfocal-plain validation"]["counts"]
    missed = counts.pop("not found, looked at where they are")
    assert 0 <= missed < 5
    assert counts == {"scenes": 1, "scenes equal to the package's table": 1, "pictures": 5}
    assert by_method["network"]["mpjpe_mm"] == by_method["again"]["mpjpe_mm"]
    assert by_method["network"]["rde_percent"] != by_method["network, K withheld"]["rde_percent"]
    assert cli.main([*argv, "--checkpoint", str(tmp_path / "none.safetensors")]) == 2
    assert "no such checkpoint" in capsys.readouterr().err
    with pytest.raises(UsageError, match="NAME=FILE"):
        EvaluateSynfocalOptions(out=tmp_path, compare=("file",))
