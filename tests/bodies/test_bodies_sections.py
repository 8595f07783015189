from __future__ import annotations

import math

import numpy as np
import pytest
import trimesh

from metrichmsr.bodies.sections import MeshPart, hull_girth, hull_outline, plane_axes, plane_crossings

UP = np.array([0.0, 0.0, 1.0])


def whole(mesh: trimesh.Trimesh) -> MeshPart:
    return MeshPart.of(np.asarray(mesh.faces), np.ones(len(mesh.vertices), dtype=bool))


def girth(mesh: trimesh.Trimesh, origin, normal) -> float:
    part = whole(mesh)
    vertices = np.asarray(mesh.vertices)[part.vertex_ids]
    return hull_girth(
        plane_crossings(vertices, part.edges, np.asarray(origin, float), np.asarray(normal, float)), normal
    )


@pytest.mark.parametrize("height", [-0.31, 0.0, 0.2718])
def test_girth_of_a_cylinder(height: float):
    tube = trimesh.creation.cylinder(radius=0.15, height=1.0, sections=256)
    assert girth(tube, [0, 0, height], UP) == pytest.approx(2 * math.pi * 0.15, rel=2e-4)


def test_girth_of_a_slanted_cut_is_that_of_the_ellipse():
    tube = trimesh.creation.cylinder(radius=0.1, height=2.0, sections=512)
    tilt = math.radians(40)
    normal = np.array([math.sin(tilt), 0.0, math.cos(tilt)])
    a, b = 0.1 / math.cos(tilt), 0.1
    angle = np.linspace(0, 2 * math.pi, 100_001)
    arc = np.hypot(a * np.sin(angle), b * np.cos(angle))
    perimeter = float(((arc[1:] + arc[:-1]) / 2).sum() * (angle[1] - angle[0]))
    assert girth(tube, [0, 0, 0.1], normal) == pytest.approx(perimeter, rel=2e-4)


def test_tape_bridges_hollows():
    left, right = (trimesh.creation.cylinder(radius=0.1, height=1.0, sections=256) for _ in range(2))
    left.apply_translation([0.15, 0, 0])
    right.apply_translation([-0.15, 0, 0])
    both = trimesh.util.concatenate([left, right])
    assert girth(both, [0, 0, 0.1], UP) == pytest.approx(2 * math.pi * 0.1 + 2 * 0.3, rel=2e-4)


def test_agrees_with_trimesh_on_a_convex_body():
    egg = trimesh.creation.icosphere(subdivisions=3)
    egg.apply_scale([0.2, 0.15, 0.4])
    normal = np.array([0.2, -0.3, 1.0]) / math.sqrt(1.13)
    segments = trimesh.intersections.mesh_plane(egg, normal, [0.0, 0.0, 0.05])
    expected = np.linalg.norm(segments[:, 0] - segments[:, 1], axis=1).sum()
    assert girth(egg, [0, 0, 0.05], normal) == pytest.approx(expected, rel=1e-5)


def test_a_part_leaves_the_rest_out():
    box = trimesh.creation.box([0.3, 0.2, 1.0])
    fin = trimesh.creation.box([0.5, 0.05, 1.0])
    fin.apply_translation([0.4, 0, 0])
    both = trimesh.util.concatenate([box, fin])
    chosen = np.arange(len(both.vertices)) < len(box.vertices)
    part = MeshPart.of(np.asarray(both.faces), chosen)
    points = plane_crossings(np.asarray(both.vertices)[part.vertex_ids], part.edges, np.zeros(3), UP)
    assert hull_girth(points, UP) == pytest.approx(1.0)
    assert len(part.edges) == len(box.edges_unique)


def test_outline_lies_in_the_plane_and_has_the_girths_length():
    egg = trimesh.creation.icosphere(subdivisions=2)
    part = whole(egg)
    normal = np.array([0.6, 0.0, 0.8])
    points = plane_crossings(np.asarray(egg.vertices)[part.vertex_ids], part.edges, 0.3 * normal, normal)
    outline = hull_outline(points, normal)
    np.testing.assert_allclose(outline @ normal, 0.3, atol=1e-12)
    around = np.linalg.norm(outline - np.roll(outline, 1, axis=0), axis=1).sum()
    assert around == pytest.approx(hull_girth(points, normal), rel=1e-6)


@pytest.mark.parametrize("normal", [[0, 0, 1], [1, 0, 0], [0.6, 0, 0.8], [0.48, 0.6, 0.64]])
def test_axes_of_a_plane(normal):
    basis = np.vstack([plane_axes(np.array(normal, float)), normal])
    np.testing.assert_allclose(basis @ basis.T, np.eye(3), atol=1e-12)


def test_nothing_to_go_around_has_no_girth():
    egg = trimesh.creation.icosphere(subdivisions=1)
    assert math.isnan(girth(egg, [0, 0, 5.0], UP))
