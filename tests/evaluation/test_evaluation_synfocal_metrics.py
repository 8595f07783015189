"""SynFocal's metrics against naive twins, and against what they must be by definition."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest

from metrichmsr.evaluation.focal_twins import implied_size_m, pose_spread_mm, scenes_of, twin_spread
from metrichmsr.evaluation.report import to_json, to_markdown
from metrichmsr.evaluation.synfocal_metrics import (
    SLICINGS,
    SubjectPrediction,
    SubjectTruth,
    depth_scores,
    evaluate_synfocal,
    root_distance_error,
    root_position_error_m,
    score_subject,
)


@pytest.fixture
def rng():
    return np.random.default_rng(5)


# ── naive twins ─────────────────────────────────────────────────────────────────────────────────────────────────────


def naive_similarity_error_mm(predicted, target):
    """Procrustes by a numerical search over quaternions' eigenvector (Horn), scale and shift in closed form."""
    p, t = predicted - predicted.mean(0), target - target.mean(0)
    S = p.T @ t
    N = np.empty((4, 4))
    A = S - S.T
    N[0, 0], N[0, 1:] = np.trace(S), (A[1, 2], A[2, 0], A[0, 1])
    N[1:, 0] = N[0, 1:]
    N[1:, 1:] = S + S.T - np.trace(S) * np.eye(3)
    w, x, y, z = np.linalg.eigh(N)[1][:, -1]
    R = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
    turned = [R @ row for row in p]
    scale = sum(float(a @ b) for a, b in zip(turned, t, strict=True)) / sum(float(a @ a) for a in p)
    errors = [math.dist(scale * a, b) for a, b in zip(turned, t, strict=True)]
    return 1000 * sum(errors) / len(errors)


def naive_depth(predicted, target):
    rel, square, close, count = 0.0, 0.0, 0, 0
    for p, t in zip(predicted.ravel().tolist(), target.ravel().tolist(), strict=True):
        if not t > 0:
            continue
        count += 1
        rel += abs(p - t) / t
        square += (p - t) ** 2
        close += p > 0 and max(p / t, t / p) < 1.25
    return (rel / count, math.sqrt(square / count), close / count) if count else (math.nan,) * 3


def naive_sd(values):
    mean = sum(values) / len(values)
    return math.sqrt(sum((value - mean) ** 2 for value in values) / len(values))


def assert_equal(a, b):
    np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-9)


# ── single measures ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_root_errors(rng):
    predicted, target = rng.normal(0, 1, (8, 3)) + [0, 0, 4], rng.normal(0, 1, (8, 3)) + [0, 0, 4]
    relative = [(math.hypot(*p) - math.hypot(*t)) / math.hypot(*t) for p, t in zip(predicted, target, strict=True)]
    assert_equal(root_distance_error(predicted, target), relative)
    assert_equal(
        root_position_error_m(predicted, target), [math.dist(p, t) for p, t in zip(predicted, target, strict=True)]
    )
    assert root_distance_error(1.1 * target, target) == pytest.approx(0.1)
    assert root_distance_error(-target, target) == pytest.approx(0), "of the distance alone"


def test_depth(rng):
    target = rng.uniform(1, 5, (12, 16))
    target[rng.random(target.shape) < 0.3] = np.nan
    predicted = target * rng.uniform(0.6, 1.5, target.shape)
    assert_equal(depth_scores(predicted, target), naive_depth(predicted, target))
    mask = rng.random(target.shape) < 0.5
    assert_equal(depth_scores(predicted, target, mask), naive_depth(predicted, np.where(mask, target, np.nan)))
    assert depth_scores(target, target) == (0, 0, 1)
    assert np.isnan(depth_scores(predicted, np.full_like(target, np.nan))).all()
    with_hole = predicted.copy()
    with_hole[np.unravel_index(np.nanargmax(target), target.shape)] = np.nan
    scores = depth_scores(with_hole, target)
    assert np.isnan(scores.abs_rel)
    assert np.isnan(scores.rmse_m)
    assert scores.delta1 <= depth_scores(predicted, target).delta1


def test_pose_spread(rng):
    joints = rng.normal(0, 0.4, (4, 17, 3))
    pairs = [(joints[i], joints[j]) for i in range(4) for j in range(4) if i != j]
    assert_equal(pose_spread_mm(joints), sum(naive_similarity_error_mm(a, b) for a, b in pairs) / len(pairs))
    c, s = np.cos(0.7), np.sin(0.7)
    turned = 1.3 * joints[0] @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) + [1, 2, 3]
    assert pose_spread_mm(np.stack([joints[0], turned])) == pytest.approx(0, abs=1e-6)
    assert math.isnan(pose_spread_mm(joints[:1]))


def test_implied_size():
    true = np.array([[0, 0, 4.0], [0, 3.0, 4.0]])
    assert_equal(implied_size_m(1.25 * true, true, np.array([1.6, 1.6])), [2.0, 2.0])
    assert_equal(implied_size_m(true, true, np.array([1.6, 1.7])), [1.6, 1.7])


def test_twin_spread(rng):
    heights, joints = rng.uniform(1.5, 1.8, 5), rng.normal(0, 0.4, (5, 17, 3))
    roots, true_roots = (rng.normal(0, 0.2, (5, 3)) + [0, 0, 4] for _ in range(2))
    spread = twin_spread(heights, joints, roots, true_roots, np.full(5, 1.7))
    assert_equal(spread.height_m, naive_sd(heights))
    assert_equal(spread.pose_mm, pose_spread_mm(joints))
    sizes = [1.7 * math.hypot(*p) / math.hypot(*t) for p, t in zip(roots, true_roots, strict=True)]
    assert_equal(spread.size_percent, 100 * naive_sd(sizes) / (sum(sizes) / 5))
    # A method that is wrong by the same factor everywhere is consistent.
    same = twin_spread(np.full(5, 1.7), joints[[0] * 5], 1.2 * true_roots, true_roots, np.full(5, 1.6))
    assert (same.height_m, same.size_percent) == pytest.approx((0, 0), abs=1e-9)
    lonely = twin_spread(heights[:1], joints[:1], roots[:1], true_roots[:1], heights[:1])
    assert lonely.twins == 1
    assert math.isnan(lonely.height_m)


def test_scenes():
    assert scenes_of(["b", "a", "b", "c"]) == [[0, 2], [1], [3]]


# ── the whole ───────────────────────────────────────────────────────────────────────────────────────────────────────

FOVS = (20.0, 35.0, 55.0, 80.0, 110.0)


def make_truth(rng, scene: int, fov: float, **fields) -> SubjectTruth:
    root = np.array([0.1, 0.2, 200 / fov])
    values = {
        "key": f"{scene}_{fov:.0f}",
        "scene": str(scene),
        "translation_m": root,
        "height_m": 1.5 + 0.02 * scene,
        "joints_m": root + rng.normal(0, 0.4, (17, 3)),
        "fov_x_deg": fov,
        "age_years": 7.0 * scene,
        "visible_share": 0.25 * (scene % 5),
        "support": ("ground", "seat", "lying", "air")[scene % 4],
        "root_tilt_deg": 30.0 * scene % 180,
        "outside_share": 0.1 * (scene % 7),
        "vertices_m": root + rng.normal(0, 0.4, (40, 3)),
        "depth_m": np.where(rng.random((6, 8)) < 0.7, rng.uniform(1, 9, (6, 8)), np.nan),
    }
    return SubjectTruth(**{**values, **fields})


def predict(rng, truth: SubjectTruth, noise: float) -> SubjectPrediction:
    assert truth.vertices_m is not None
    assert truth.depth_m is not None
    return SubjectPrediction(
        translation_m=truth.translation_m + rng.normal(0, noise, 3),
        height_m=truth.height_m + float(rng.normal(0, noise)),
        joints_m=truth.joints_m + rng.normal(0, noise, (17, 3)),
        vertices_m=truth.vertices_m + rng.normal(0, noise, (40, 3)),
        depth_m=truth.depth_m + rng.normal(0, noise, (6, 8)),
    )


def test_scores_of_one_subject(rng):
    truth = make_truth(rng, 3, 35)
    prediction = predict(rng, truth, 0.1)
    scores = score_subject(prediction, truth)
    p, t = prediction.translation_m, truth.translation_m

    def relative_error(a, b):
        return 1000 * sum(math.dist(x - p, y - t) for x, y in zip(a, b, strict=True)) / len(a)

    assert_equal(scores["mpjpe_mm"], relative_error(prediction.joints_m, truth.joints_m))
    assert_equal(scores["pve_mm"], relative_error(prediction.vertices_m, truth.vertices_m))
    assert_equal(scores["pa_mpjpe_mm"], naive_similarity_error_mm(prediction.joints_m, truth.joints_m))
    assert_equal(scores["rde_percent"], abs(100 * (math.hypot(*p) / math.hypot(*t) - 1)))
    assert_equal(scores["rde_signed_percent"], 100 * (math.hypot(*p) / math.hypot(*t) - 1))
    assert_equal(scores["root_error_m"], math.dist(p, t))
    assert_equal(scores["height_mae_cm"], abs(100 * (prediction.height_m - truth.height_m)))
    rel, rmse, delta1 = naive_depth(prediction.depth_m, truth.depth_m)
    assert_equal(
        [scores[k] for k in ("abs_rel_percent", "depth_rmse_m", "delta1_percent")], [100 * rel, rmse, 100 * delta1]
    )
    bare = score_subject(dataclasses.replace(prediction, vertices_m=None, depth_m=None), truth)
    assert {name for name, value in bare.items() if math.isnan(value)} == {
        "pve_mm",
        "abs_rel_percent",
        "depth_rmse_m",
        "delta1_percent",
    }


def test_truth_scores_perfectly(rng):
    truth = [make_truth(rng, scene, fov) for scene in range(3) for fov in FOVS]
    joints = {t.scene: t.joints_m - t.translation_m for t in truth}  # the same pose in all twins
    truth = [dataclasses.replace(t, joints_m=joints[t.scene] + t.translation_m) for t in truth]
    result = evaluate_synfocal([predict(rng, t, 0.0) for t in truth], truth)
    mean = result.mean(range(15))
    perfect = {"n": 15, "found": 15, "delta1_percent": 100.0}
    for name, value in mean.items():
        assert value == pytest.approx(perfect.get(name, 0), abs=1e-6), name
    consistency = result.consistency()
    assert consistency["n"] == 3
    assert [consistency[k] for k in ("height_spread_cm", "pose_spread_mm", "size_spread_percent")] == pytest.approx(
        [0, 0, 0], abs=1e-6
    )


def test_means_and_slices(rng):
    truth = [make_truth(rng, scene, fov) for scene in range(12) for fov in FOVS]
    predictions = [None if i % 10 == 9 else predict(rng, t, 0.05) for i, t in enumerate(truth)]
    result = evaluate_synfocal(predictions, truth)
    mean = result.mean(range(60))
    assert (mean["n"], mean["found"]) == (60, 54)
    scored = [score_subject(p, t) for p, t in zip(predictions, truth, strict=True) if p is not None]
    assert_equal(mean["mpjpe_mm"], sum(s["mpjpe_mm"] for s in scored) / 54)
    tables = result.slices()
    assert set(tables) == {*SLICINGS, "support"}
    for table in tables.values():
        assert sum(int(row.values["n"]) for row in table.rows) == 60, table.title
    assert [row.values["n"] for row in tables["fov"].rows] == [12] * 5, "a slice for each nominal field of view"
    assert [row.method for row in tables["support"].rows] == ["ground", "seat", "lying", "air"]
    children = next(row for row in tables["age"].rows if row.method == "4–12 years")
    assert children.values["n"] == 5, "scene 1 is of 7 years"
    assert len(result.twins) == 12
    assert {twins.twins for twins in result.twins} <= {4, 5}


def test_report(rng):
    truth = [make_truth(rng, scene, fov) for scene in range(2) for fov in FOVS]
    result = evaluate_synfocal([None, *(predict(rng, t, 0.05) for t in truth[1:])], truth)
    report = result.as_set("synfocal test")
    document = to_json([report], {"metrichmsr": "0"})
    json.dumps(document, allow_nan=False)
    tables = document["sets"]["synfocal test"]["tables"]
    assert tables[0]["rows"][0]["found"] == 9
    assert tables[1]["rows"][0]["height_spread_cm"] > 0
    assert document["sets"]["synfocal test"]["cases"][0] == {"label": "0_20", "found": 0}
    assert "| 95° and more |" in to_markdown([report])


def test_nobody_found_and_no_twins(rng):
    truth = [make_truth(rng, 0, 20)]
    result = evaluate_synfocal([None], truth)
    assert result.mean([0]) == {"n": 1, "found": 0}
    assert result.twins == ()
    to_markdown([result.as_set()])
    with pytest.raises(ValueError, match="zip"):
        evaluate_synfocal([], truth)
