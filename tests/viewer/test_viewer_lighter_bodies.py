"""Bodies of fewer triangles: how many, how near to the whole ones, and everybody in their own pose."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import trimesh

from metrichmsr.viewer.lighter_bodies import lighter_bodies
from metrichmsr.viewer.shapes import Triangles

RADIUS_M = 0.25


@pytest.fixture
def egg() -> Triangles:
    sphere = trimesh.creation.icosphere(subdivisions=5, radius=RADIUS_M)
    return Triangles(np.asarray(sphere.vertices) * (1, 3, 1), np.asarray(sphere.faces))


def moved(body: Triangles, by) -> Triangles:
    return Triangles(body.vertices + by, body.faces)


def test_few_people_keep_every_triangle(egg):
    bodies = [egg, moved(egg, 1.0)]
    for before, after in zip(bodies, lighter_bodies(bodies, 2 * len(egg.faces)), strict=True):
        assert after is before


def test_a_crowd_shares_the_triangles_and_stays_where_it_is(egg):
    pytest.importorskip("fast_simplification")
    rng = np.random.default_rng(0)
    turns = [trimesh.transformations.random_rotation_matrix(rng.random(3))[:3, :3] for _ in range(4)]
    bodies = [Triangles(egg.vertices @ turn.T + i, egg.faces) for i, turn in enumerate(turns)]
    lighter = lighter_bodies(bodies, 8000)
    first = trimesh.Trimesh(lighter[0].vertices, lighter[0].faces, process=False)
    assert first.is_watertight
    assert first.is_winding_consistent
    assert 0.97 < first.volume / (4 / 3 * np.pi * 3 * RADIUS_M**3) < 1
    for i, (turn, body) in enumerate(zip(turns, lighter, strict=True)):
        assert 1900 <= len(body.faces) <= 2000
        np.testing.assert_array_equal(body.faces, lighter[0].faces)
        # Back in the egg's own frame everybody kept the same vertices of theirs, and they are vertices of the egg.
        own = (body.vertices - i) @ turn
        np.testing.assert_allclose(own, lighter[0].vertices @ turns[0], atol=1e-9)
        np.testing.assert_allclose(np.linalg.norm(own / (1, 3, 1), axis=1), RADIUS_M, atol=1e-9)


def test_nobody_falls_apart_and_other_topologies_are_found_apart(egg):
    pytest.importorskip("fast_simplification")
    box = trimesh.creation.box()
    small = Triangles(np.asarray(box.vertices), np.asarray(box.faces))
    none = Triangles(np.zeros((0, 3)), np.zeros((0, 3), np.int64))
    lighter = lighter_bodies([egg, small, none, moved(egg, 2.0)], 100)
    assert [len(body.faces) for body in lighter[1:3]] == [12, 0]
    assert lighter[1] is small
    assert 1400 <= len(lighter[0].faces) == len(lighter[3].faces) <= 1500


def test_without_the_package_bodies_are_whole_and_a_warning_says_so(egg, monkeypatch):
    monkeypatch.setitem(sys.modules, "fast_simplification", None)
    with pytest.warns(UserWarning, match=r"fast-simplification is missing.*metrichmsr\[viewer\]"):
        (body,) = lighter_bodies([egg], 2000)
    assert body is egg
