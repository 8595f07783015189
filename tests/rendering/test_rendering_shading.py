"""Normals and the plain shader."""

from __future__ import annotations

import pytest
import torch
import trimesh

from metrichmsr.geometry import intrinsics
from metrichmsr.rendering import rasterize, shade, vertex_normals

K = intrinsics(100.0, 100.0, 48.0, 48.0)
BALL = trimesh.creation.icosphere(subdivisions=3, radius=0.8)
FACES = torch.tensor(BALL.faces)
VERTICES = torch.tensor(BALL.vertices, dtype=torch.float32) + torch.tensor([0.0, 0.0, 2.5])
FRAGMENTS = rasterize(VERTICES[None], FACES, K, height=96, width=96)


def test_normals_of_a_ball_are_its_radii() -> None:
    radii = torch.tensor(BALL.vertices, dtype=torch.float32) / 0.8
    normals = vertex_normals(torch.stack([VERTICES, 3 * VERTICES]), FACES)
    assert normals.shape == (2, *VERTICES.shape)
    torch.testing.assert_close(normals, radii.expand(2, -1, -1), rtol=0, atol=0.02)
    torch.testing.assert_close(vertex_normals(VERTICES, FACES.flip(1)), -normals[0])


def test_normals_are_weighted_by_area() -> None:
    """A vertex between a big and a small face at right angles leans to the big one by their ratio."""
    vertices = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 3, 0], [0, 0, 1]], dtype=torch.float64)
    normals = vertex_normals(vertices, torch.tensor([[0, 1, 2], [0, 2, 3]]))
    torch.testing.assert_close(normals[1], torch.tensor([0.0, 0, 1]).double())
    torch.testing.assert_close(normals[0], torch.nn.functional.normalize(torch.tensor([3.0, 0, 3]).double(), dim=0))


def test_vertices_without_faces_have_no_normal_and_gradients_stay_finite() -> None:
    vertices = torch.rand(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    faces = torch.tensor([[0, 1, 2], [2, 1, 3], [0, 0, 1]])
    normals = vertex_normals(vertices, faces)
    assert (normals[4] == 0).all()
    torch.testing.assert_close(normals[:4].norm(dim=-1), torch.ones(4, dtype=torch.float64))
    normals[..., 0].sum().backward()
    assert torch.isfinite(vertices.grad).all()


def test_light_comes_from_the_camera_and_a_little_from_above() -> None:
    picture = shade(FRAGMENTS, VERTICES[None], FACES, torch.tensor([1.0, 0.5, 0.25]))[0]
    seen = FRAGMENTS.mask[0]
    assert picture.shape == (96, 96, 3)
    assert (picture[~seen] == 0).all()
    assert ((picture[seen] > 0) & (picture[seen] <= 1)).all()
    brightness = picture.sum(-1)
    rows = seen[:, 48].nonzero().squeeze(1)
    top, bottom = int(rows[0]), int(rows[-1])
    assert brightness[48, 48] > 1.5 * brightness[top, 48]
    assert brightness[top, 48] > 1.1 * brightness[bottom, 48]
    # One colour, only darker or brighter.
    torch.testing.assert_close(picture[seen], picture[seen][:, :1] * torch.tensor([1.0, 0.5, 0.25]))


def test_colours_may_differ_by_vertex_and_faces_may_be_turned_inside_out() -> None:
    colors = torch.where(VERTICES[:, :1] < 0, torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0.0, 0.0, 1.0]))
    picture = shade(FRAGMENTS, VERTICES[None], FACES, colors)[0]
    assert picture[48, 30, 0] > 0.2
    assert picture[48, 30, 2] == 0
    assert picture[48, 66, 2] > 0.2
    assert picture[48, 66, 0] == 0
    inside_out = rasterize(VERTICES[None], FACES.flip(1), K, height=96, width=96)
    torch.testing.assert_close(
        shade(inside_out, VERTICES[None], FACES.flip(1), colors)[0], picture, rtol=1e-4, atol=1e-4
    )


def test_the_headlight_can_stand_elsewhere() -> None:
    right = shade(FRAGMENTS, VERTICES[None], FACES, torch.ones(3), eye_m=torch.tensor([9.0, 0.0, 2.5]))[0, ..., 0]
    assert right[48, 70] > right[48, 50] > 0
    assert right[48, 50] < 0.75 * right[48, 70]


@pytest.mark.parametrize("shape", [(1, len(VERTICES), 3), (len(VERTICES), 3), (3,)])
def test_shading_is_differentiable_in_the_colours(shape: tuple[int, ...]) -> None:
    colors = torch.full(shape, 0.5, requires_grad=True)
    shade(FRAGMENTS, VERTICES[None], FACES, colors).sum().backward()
    assert colors.grad is not None
    assert (colors.grad > 0).any()
