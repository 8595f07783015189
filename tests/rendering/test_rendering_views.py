"""Pictures of different meshes at once are those made one by one; holes and backs are left out."""

import torch

from metrichmsr.rendering import rasterize, see


def triangles(generator: torch.Generator, n: int) -> tuple[torch.Tensor, torch.Tensor]:
    vertices = torch.rand(3 * n, 3, generator=generator) * torch.tensor([4.0, 4.0, 3.0]) + torch.tensor([-2, -2, 0.01])
    return vertices, torch.arange(3 * n).view(n, 3)


def camera() -> torch.Tensor:
    return torch.tensor([[40.0, 0, 24], [0, 44.0, 18], [0, 0, 1]])


def test_each_view_is_the_picture_of_its_own_mesh() -> None:
    generator = torch.Generator().manual_seed(3)
    meshes = [triangles(generator, n) for n in (40, 7, 25)]
    K = torch.stack([camera(), camera() * torch.tensor([[1.3], [1.3], [1.0]]), camera()])
    first_vertex, first_face = 0, 0
    all_vertices, all_faces, views_v, views_f = [], [], [], []
    for view, (vertices, faces) in enumerate(meshes):
        all_vertices.append(vertices)
        all_faces.append(faces + first_vertex)
        views_v.append(torch.full((len(vertices),), view))
        views_f.append(torch.full((len(faces),), view))
        first_vertex += len(vertices)
    together = see(
        torch.cat(all_vertices),
        torch.cat(all_faces),
        K,
        view_of_vertex=torch.cat(views_v),
        view_of_face=torch.cat(views_f),
        height=36,
        width=48,
    )
    for view, (vertices, faces) in enumerate(meshes):
        alone = rasterize(vertices[None], faces, K[view], height=36, width=48)
        expected = torch.where(alone.face_id >= 0, alone.face_id + first_face, -1)
        assert torch.equal(together.face_id[view], expected[0])
        assert torch.equal(together.depth_m[view].nan_to_num(-1), alone.depth_m[0].nan_to_num(-1))
        pixel = (expected[0] >= 0).view(-1).nonzero().squeeze(1)
        weights = together.barycentrics(pixel + view * 36 * 48)
        assert torch.equal(weights, alone.barycentrics.view(-1, 3)[pixel])
        assert (alone.face_id >= 0).any()
        first_face += len(faces)


def square(z: float) -> torch.Tensor:
    return torch.tensor([[-9.0, -9, z], [9, -9, z], [9, 9, z], [-9, 9, z]])


QUAD = torch.tensor([[0, 2, 1], [0, 3, 2]])
"""Counter-clockwise seen from the camera, in a frame whose y points down."""


def draw(faces: torch.Tensor, **options: object) -> torch.Tensor:
    vertices = torch.cat([square(1.0), square(2.0)])
    return see(
        vertices,
        torch.cat([faces, QUAD + 4]),
        camera()[None],
        view_of_vertex=torch.zeros(8, dtype=torch.long),
        view_of_face=torch.zeros(4, dtype=torch.long),
        height=36,
        width=48,
        **options,  # pyright: ignore[reportArgumentType]
    ).depth_m[0]


def test_backs_of_single_sided_faces_are_not_seen() -> None:
    single_sided = torch.tensor([True, True, False, False])
    assert (draw(QUAD, single_sided=single_sided) == 1).all()
    assert (draw(QUAD.flip(1), single_sided=single_sided) == 2).all()
    assert (draw(QUAD.flip(1)) == 1).all()


def test_holes_show_what_is_behind() -> None:
    cutout = torch.tensor([True, True, False, False])

    def left_half(face: torch.Tensor, barycentrics: torch.Tensor) -> torch.Tensor:
        x = (square(1.0)[QUAD[face], 0] * barycentrics).sum(-1)
        return x < 0

    depth = draw(QUAD, cutout=cutout, accept=left_half)
    assert (depth[:, :24] == 1).all()
    assert (depth[:, 24:] == 2).all()
