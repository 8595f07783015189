"""Figures of the scene's depth: regions, baselines, and the report."""

from __future__ import annotations

import json

import numpy as np
import pytest

from metrichmsr.errors import InputError, UsageError
from metrichmsr.evaluation.scene_depth import (
    CLOSED,
    CONSTANT,
    FARTHEST_M,
    INITIAL,
    REFINED,
    DepthAnswers,
    DepthCase,
    answers,
    evaluate_depth,
    measure,
    picture_figures,
    plane_depth,
    ring,
)
from metrichmsr.evaluation.scene_depth_sets import EvaluateDepthOptions, SimulatedDepth
from metrichmsr.structures import AnchorResiduals, Recovery, Scene


@pytest.fixture
def case(make_camera):
    camera = make_camera()
    rng = np.random.default_rng(0)
    truth = rng.uniform(2, 8, (camera.height, camera.width)).astype(np.float32)
    truth[:10] = np.nan
    truth[10:14] = FARTHEST_M + 5
    person = np.zeros(truth.shape, dtype=bool)
    person[40:80, 50:80] = True
    return DepthCase("a", np.zeros((*truth.shape, 3), np.uint8), camera, truth, person)


def scene_of(case, initial, refined=None, **residuals):
    told = None
    if residuals:
        told = AnchorResiduals(initial=0.1, closed_form=0.1, refined=0.1, pixels=99, by_person={}, **residuals)
    return Scene(
        depth_m=initial if refined is None else refined,
        source="x",
        refined=refined is not None,
        initial_depth_m=initial,
        residuals=told,
    )


def test_all_methods_are_measured_over_the_same_pixels(case):
    initial = 1.1 * case.depth_m
    initial[50:60] = np.nan
    refined = case.depth_m.copy()
    refined[100] = np.nan  # taken behind the camera: that is no way out
    found = answers(case, scene_of(case, initial, refined, scale=0.9, shift_m=0.05), ())
    figures = {method: picture_figures(found.depths_m[method], found) for method in found.depths_m}
    known = np.isfinite(initial) & (case.depth_m < FARTHEST_M)
    assert found.known.sum() == known.sum()
    truth = case.depth_m[known].astype(np.float64)
    assert figures[INITIAL]["abs_rel_percent"] == pytest.approx(10, abs=1e-3)
    closed = np.abs(0.9 * 1.1 * truth + 0.05 - truth) / truth
    assert figures[CLOSED]["abs_rel_percent"] == pytest.approx(100 * closed.mean(), rel=1e-4)
    row = np.zeros_like(known)
    row[100] = True
    lost = np.where(row[known], (truth - 0.05) / truth, 0)
    assert figures[REFINED]["abs_rel_percent"] == pytest.approx(100 * lost.mean(), rel=1e-4)
    inside = known & case.person
    people = np.abs(initial[inside] - case.depth_m[inside]) / case.depth_m[inside]
    assert figures[INITIAL]["people_abs_rel_percent"] == pytest.approx(100 * people.mean(), rel=1e-4)
    around = known & ring(case.person)
    naive = np.zeros_like(known)
    reach = round(0.03 * case.depth_m.shape[1])
    for y, x in zip(*np.nonzero(case.person), strict=True):
        naive[max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1] = True
    np.testing.assert_array_equal(around, known & naive & ~case.person)


def test_the_ground_plane_passes_under_the_people(make_camera, make_person):
    camera = make_camera()
    person = make_person(pelvis=(0.0, 0.75, 4.0), camera=camera)
    depth = plane_depth(camera, [person])
    assert depth.shape == (camera.height, camera.width)
    assert (depth > 0).all()
    assert (np.diff(depth[:, 80]) <= 1e-4).all(), "nearer and nearer downwards"
    assert depth[0, 0] == pytest.approx(12, rel=0.05), "above the horizon three times the people's distance"
    assert np.isfinite(plane_depth(camera, [])).all()


def test_the_report(case):
    def recover(image, camera):
        return Recovery(image_path=None, image=image, camera=camera, people=())  # pyright: ignore[reportArgumentType]

    def broken(recovery, one):
        raise InputError("b: broken")

    def perfect(recovery, one):
        return scene_of(one, one.depth_m)

    found, failures = measure([case, case._replace(label="b")], recover, {"perfect": perfect})
    assert [len(found["perfect"]), failures] == [2, []]
    result = evaluate_depth("set, perfect", found["perfect"], protocol="how")
    rows = {row.method: row.values for row in result.tables[0].rows}
    assert rows[REFINED]["abs_rel_percent"] == pytest.approx(0, abs=1e-4)
    assert rows[REFINED]["delta1_percent"] == pytest.approx(100)
    assert rows[CONSTANT]["abs_rel_percent"] > 10
    assert result.cases[0].label == "a"
    assert json.dumps([dict(row.values) for row in result.tables[0].rows])
    _, failures = measure([case], recover, {"broken": broken})
    assert failures == ["a: b: broken"]


def test_spoilt_depth_is_the_same_every_time_and_unknown_where_truth_is(case):
    recovery = Recovery(image_path=None, image=case.image, camera=case.camera, people=())  # pyright: ignore[reportArgumentType]
    first, again = (SimulatedDepth(case, recovery)(case.image, case.camera) for _ in range(2))
    np.testing.assert_array_equal(first.depth_m, again.depth_m)
    assert first.metric
    assert not np.isfinite(first.depth_m[:10]).any()
    known = np.isfinite(first.depth_m)
    assert 0.02 < np.median(np.abs(first.depth_m / case.depth_m - 1)[known]) < 1


def test_a_region_of_few_pixels_is_not_measured(case):
    few = np.zeros_like(case.person)
    few[60, 60] = True
    one = DepthAnswers("a", {}, case.depth_m, np.isfinite(case.depth_m), few, int(np.isfinite(case.depth_m).sum()))
    assert np.isnan(picture_figures(case.depth_m, one)["people_abs_rel_percent"])


def test_options_that_cannot_be(tmp_path):
    with pytest.raises(UsageError, match="--scenes DIR"):
        EvaluateDepthOptions(out=tmp_path)
    with pytest.raises(UsageError, match="--count"):
        EvaluateDepthOptions(out=tmp_path, data=tmp_path, count=0)
