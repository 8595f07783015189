"""Several meshes in one picture: who hides whom, and whose faces they are."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from metrichmsr.geometry import intrinsics
from metrichmsr.rendering import interpolate, join_meshes, rasterize, rasterize_scene

K = intrinsics(40.0, 40.0, 32.0, 24.0)
SIZE = {"height": 48, "width": 64}


def square(left: float, right: float, depth: float, faces: list[list[int]]) -> tuple[Tensor, Tensor]:
    """An upright square that fills the columns left…right of the picture."""
    x = (torch.tensor([left, right, right, left]) - 32) * depth / 40
    y = (torch.tensor([4.0, 4.0, 44.0, 44.0]) - 24) * depth / 40
    return torch.stack([x, y, torch.full((4,), depth)], -1), torch.tensor(faces)


FAR = square(8, 40, 4.0, [[0, 1, 2], [0, 2, 3]])
NEAR = square(24, 56, 2.0, [[0, 0, 1], [3, 2, 1], [1, 0, 3]])  # its first face has no area


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_the_nearer_mesh_hides_the_farther_in_any_order(order: tuple[int, int]) -> None:
    meshes = [(FAR, NEAR)[i] for i in order]
    scene = rasterize_scene(meshes, K, **SIZE)
    far, near = order.index(0), order.index(1)
    expected = torch.full((48, 64), -1)
    expected[4:44, 8:40] = far
    expected[4:44, 24:56] = near
    assert torch.equal(scene.mesh_id, expected)
    assert torch.equal(scene.mask, expected >= 0)
    assert (scene.depth_m[expected == far] == 4).all()
    assert (scene.depth_m[expected == near] == 2).all()
    assert torch.isnan(scene.depth_m[expected < 0]).all()


def test_face_ids_are_those_of_each_mesh_alone() -> None:
    scene = rasterize_scene([FAR, NEAR], K, **SIZE)
    for index, (vertices, faces) in enumerate([FAR, NEAR]):
        alone = rasterize(vertices[None], faces, K, **SIZE)
        part = scene.of(index)
        seen = part.mask
        assert seen.any()
        assert torch.equal(part.face_id[seen], alone.face_id[seen])
        torch.testing.assert_close(part.depth_m[seen], alone.depth_m[seen], rtol=0, atol=0)
        positions = interpolate(part, faces, vertices)
        torch.testing.assert_close(positions[..., 2][seen], part.depth_m[seen])
        assert torch.isnan(part.depth_m[~seen]).all()
        assert (positions[~seen] == 0).all()
    hidden = rasterize(*(t[None] if i == 0 else t for i, t in enumerate(FAR)), K, **SIZE).mask & ~scene.of(0).mask
    assert hidden.sum() == 40 * 16


def test_of_equally_near_meshes_the_first_is_seen() -> None:
    scene = rasterize_scene([NEAR, NEAR, FAR], K, **SIZE)
    assert (scene.mesh_id != 1).all()
    assert (scene.mesh_id == 0).any()


def test_a_scene_of_nothing_is_an_empty_picture() -> None:
    empty = (torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.long))
    for meshes in ([], [empty], [(torch.zeros(4, 3), empty[1])]):
        scene = rasterize_scene(meshes, K, **SIZE)
        assert scene.mask.shape == (48, 64)
        assert not scene.mask.any()
        assert (scene.face_id == -1).all()
        assert torch.isnan(scene.depth_m).all()
    around = rasterize_scene([empty, FAR, empty], K, **SIZE)
    assert set(around.mesh_id.unique().tolist()) == {-1, 1}


def test_joined_meshes_know_their_parts() -> None:
    joined = join_meshes([FAR, NEAR])
    assert joined.mesh_of_vertex.tolist() == [0] * 4 + [1] * 4
    assert joined.mesh_of_face.tolist() == [0, 0, 1, 1, 1]
    assert joined.face_in_mesh.tolist() == [0, 1, 0, 1, 2]
    torch.testing.assert_close(joined.vertices[joined.faces[2:]], NEAR[0][NEAR[1]])
    with pytest.raises(ValueError, match="no mesh"):
        join_meshes([])
