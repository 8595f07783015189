"""The rasteriser against exact rational arithmetic, against ray casting, and against its own laws."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from metrichmsr.bodies.anny import AnnyBody
from metrichmsr.geometry import intrinsics, pixel_centers, unproject
from metrichmsr.rendering import Fragments, coverage, interpolate, rasterize

WIDTH, HEIGHT = 14, 11
# Off-centre and skewed, with round numbers: products with the dyadic vertices below are exact in float64.
K_ROUND = torch.tensor([[8.0, 0.5, 9.5], [0.0, 10.0, 3.25], [0.0, 0.0, 1.0]], dtype=torch.float64)
NEAR = 0.25


def render(vertices: Tensor, faces: Tensor, K: Tensor = K_ROUND, **options) -> Fragments:
    options = {"height": HEIGHT, "width": WIDTH, "near_m": NEAR, **options}
    return rasterize(vertices, faces, K, **options)


def exact_picture(
    vertices: np.ndarray, faces: np.ndarray, K: np.ndarray, near: float, cull: bool = False
) -> list[list[list[tuple[Fraction, int, tuple[Fraction, ...]]]]]:
    """For every pixel all surfaces in it as (depth, face, barycentrics), nearest first. Rational arithmetic."""
    k = [[Fraction(float(value)) for value in row] for row in K]
    points = []
    for vertex in vertices:
        v = [Fraction(float(value)) for value in vertex]
        points.append([sum(k[r][c] * v[c] for c in range(3)) for r in range(3)])

    def cross(p, q):
        return (p[1] * q[2] - p[2] * q[1], p[2] * q[0] - p[0] * q[2], p[0] * q[1] - p[1] * q[0])

    picture = [[[] for _ in range(WIDTH)] for _ in range(HEIGHT)]
    for index, face in enumerate(faces):
        p0, p1, p2 = (points[i] for i in face)
        edges = [cross(p1, p2), cross(p2, p0), cross(p0, p1)]
        det = sum(e * p for e, p in zip(edges[0], p0, strict=True))
        if det == 0 or (cull and det > 0):
            continue
        sign = 1 if det > 0 else -1
        edges = [tuple(sign * e for e in edge) for edge in edges]
        # z = |det| / Σe is at least near in the half-plane |det| - near·Σe, whose border ties like an edge.
        a, b, c = (-Fraction(near) * sum(components) for components in zip(*edges, strict=True))
        bounds = [*edges, (a, b, c + abs(det))]
        for row in range(HEIGHT):
            for column in range(WIDTH):
                u, v = column + Fraction(1, 2), row + Fraction(1, 2)
                # Top-left rule: a centre on an edge is in where inside lies to the right of it, or below if horizontal.
                inside = all(
                    (value := a * u + b * v + c) > 0 or (value == 0 and (a, b) > (0, 0)) or (a == b == 0 and value >= 0)
                    for a, b, c in bounds
                )
                if inside:
                    values = [a * u + b * v + c for a, b, c in edges]
                    weights = tuple(value / sum(values) for value in values)
                    picture[row][column].append((abs(det) / sum(values), index, weights))
    return [[sorted(cell) for cell in line] for line in picture]


def assert_exact(vertices: Tensor, faces: Tensor, K: Tensor, cull: bool = False) -> None:
    ours = render(vertices[None], faces, K, cull_backfaces=cull)
    exact = exact_picture(vertices.numpy(), faces.numpy(), K.numpy(), NEAR, cull)
    for row in range(HEIGHT):
        for column in range(WIDTH):
            surfaces = exact[row][column]
            face = int(ours.face_id[0, row, column])
            if not surfaces:
                assert face == -1
                assert torch.isnan(ours.depth_m[0, row, column])
                continue
            # Where float32 cannot tell two depths apart either face may win; the depth is the same.
            nearest = surfaces[0][0]
            rivals = {
                index: weights for depth, index, weights in surfaces if depth <= nearest * (1 + Fraction(1, 10**6))
            }
            assert face in rivals
            assert float(ours.depth_m[0, row, column]) == pytest.approx(float(nearest), rel=1e-6)
            expected = [float(weight) for weight in rivals[face]]
            assert ours.barycentrics[0, row, column].tolist() == pytest.approx(expected, abs=1e-6)


def random_soup(seed: int, n: int = 14, behind: bool = True) -> tuple[Tensor, Tensor]:
    """Triangles all over the view, some through the near plane or behind the camera, some sharing corners."""
    generator = torch.Generator().manual_seed(seed)
    vertices = torch.rand(n, 3, generator=generator, dtype=torch.float64)
    vertices = (vertices - 0.5) * torch.tensor([4.0, 3.0, 5.0]) + torch.tensor([0.0, 0.0, 2.0 if behind else 3.0])
    return vertices, torch.randint(0, n, (n, 3), generator=generator)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("behind", [False, True])
def test_random_triangles_equal_exact_arithmetic(seed: int, behind: bool) -> None:
    vertices, faces = random_soup(seed, behind=behind)
    assert_exact(vertices, faces, K_ROUND, cull=seed % 2 == 1)


eighths = st.integers(-16, 16).map(lambda n: n / 4)


@settings(max_examples=40, deadline=None)
@given(
    corners=st.lists(
        st.tuples(eighths, eighths, st.sampled_from([-1.0, 0.0, 0.25, 1.0, 1.0, 2.0, 4.0])), min_size=3, max_size=7
    ),
    picks=st.lists(st.tuples(*[st.integers(0, 6)] * 3), min_size=1, max_size=6),
)
def test_ties_equal_exact_arithmetic(corners, picks) -> None:
    """Round coordinates put pixel centres on edges and corners, corners on the near plane, triangles edge-on."""
    K = torch.tensor([[4.0, 0.0, 6.5], [0.0, 4.0, 5.5], [0.0, 0.0, 1.0]], dtype=torch.float64)
    faces = torch.tensor(picks) % len(corners)
    assert_exact(torch.tensor(corners, dtype=torch.float64), faces, K)


def jittered_sheet(seed: int, n: int = 7) -> tuple[Tensor, Tensor]:
    """A bumpy sheet of triangles wider than the view: every pixel looks at it once."""
    generator = torch.Generator().manual_seed(seed)
    grid = torch.stack(torch.meshgrid(torch.linspace(0, 1, n), torch.linspace(0, 1, n), indexing="xy"), -1)
    inner = ((grid > 0) & (grid < 1)).all(-1, keepdim=True)
    grid = grid + inner * (torch.rand(grid.shape, generator=generator) - 0.5) * 0.6 / n
    depth = 2 + torch.rand(n, n, 1, generator=generator) * 0.05
    pixels = grid * torch.tensor([WIDTH + 4.0, HEIGHT + 4.0]) - 2
    vertices = unproject(pixels.view(-1, 2).double(), depth.view(-1).double(), K_ROUND)
    corner = torch.arange(n * n).view(n, n)
    a, b, c, d = (t.reshape(-1) for t in (corner[:-1, :-1], corner[:-1, 1:], corner[1:, :-1], corner[1:, 1:]))
    return vertices, torch.cat([torch.stack([a, c, b], -1), torch.stack([b, c, d], -1)])


def cover_counts(vertices: Tensor, faces: Tensor, K: Tensor) -> Tensor:
    """How many triangles cover each pixel: every triangle rendered on its own."""
    return sum(render(vertices[None], face[None], K).mask[0].int() for face in faces)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("seed", range(3))
def test_sheet_covers_every_pixel_exactly_once(seed: int, dtype: torch.dtype) -> None:
    vertices, faces = jittered_sheet(seed)
    assert (cover_counts(vertices.to(dtype), faces, K_ROUND.to(dtype)) == 1).all()


def test_fan_around_a_pixel_centre_covers_every_pixel_exactly_once() -> None:
    """All edges run through pixel centres, and all meet in one."""
    hub = torch.tensor([[6.5, 5.5]])
    rim = torch.tensor(
        [[-9.5, -10.5], [6.5, -10.5], [22.5, -10.5], [22.5, 5.5], [22.5, 21.5], [6.5, 21.5], [-9.5, 21.5]]
    )
    rim = torch.cat([rim, torch.tensor([[-9.5, 5.5]])])
    vertices = torch.cat([torch.cat([hub, rim]), torch.ones(9, 1)], dim=1)
    faces = torch.tensor([[0, 1 + i, 1 + (i + 1) % 8] for i in range(8)])
    assert (cover_counts(vertices, faces, torch.eye(3)) == 1).all()


def test_depth_and_attributes_of_a_slanted_plane_are_analytic() -> None:
    """Perspective-correct: the depth of plane n·x = d along the ray r is d / (n·r); linear attributes follow."""
    K = intrinsics(300.0, 310.0, 70.0, 33.0)
    normal, offset = torch.tensor([0.3, -0.5, 1.0], dtype=torch.float64), 3.0
    pixels = torch.tensor([[-50.0, -60.0], [260.0, -20.0], [120.0, 300.0]], dtype=torch.float64)
    rays = unproject(pixels, torch.ones(3, dtype=torch.float64), K)
    vertices = (rays * (offset / (rays @ normal))[:, None])[None]
    fragments = rasterize(vertices, torch.tensor([[0, 1, 2]]), K, height=90, width=128)
    rays = unproject(pixel_centers(90, 128, dtype=torch.float64).view(-1, 2), torch.ones(90 * 128).double(), K)
    analytic = (offset / (rays @ normal)).view(90, 128)
    seen = fragments.mask[0]
    assert seen.sum() > 3000
    torch.testing.assert_close(fragments.depth_m[0][seen].double(), analytic[seen], rtol=2e-7, atol=0)
    positions = interpolate(fragments, torch.tensor([[0, 1, 2]]), vertices)[0]
    torch.testing.assert_close(
        positions[seen], (rays.view(90, 128, 3) * analytic[..., None])[seen], rtol=1e-6, atol=1e-6
    )
    assert (positions[~seen] == 0).all()


def test_floor_through_the_camera_plane_is_seen_from_the_near_plane_on() -> None:
    """A floor 1.5 m below, from far behind the camera to far ahead: its depth is 1.5 m / slope of the ray."""
    K = intrinsics(20.0, 20.0, 20.0, 15.0)
    corner = torch.tensor([[-900.0, 1.5, -900.0], [900.0, 1.5, -900.0], [900.0, 1.5, 900.0], [-900.0, 1.5, 900.0]])
    fragments = rasterize(corner[None], torch.tensor([[0, 1, 2], [0, 2, 3]]), K, height=400, width=40, near_m=0.1)
    slope = (torch.arange(400) + 0.5 - 15.0) / 20.0
    depth = torch.where(slope > 0, 1.5 / slope, torch.nan)
    visible = (depth >= 0.1) & (depth < 900)
    assert (fragments.mask[0] == visible[:, None]).all()
    assert 0 < visible.sum() < 400 - 15
    torch.testing.assert_close(fragments.depth_m[0][visible], depth[visible, None].expand(-1, 40), rtol=1e-6, atol=0)
    weights = fragments.barycentrics[0][visible]
    torch.testing.assert_close(weights.sum(-1), torch.ones_like(weights[..., 0]), rtol=0, atol=1e-6)


MESHES = {
    "icosphere": lambda: trimesh.creation.icosphere(subdivisions=3, radius=0.8),
    "torus": lambda: trimesh.creation.torus(major_radius=0.7, minor_radius=0.25),
}


def assert_equals_ray_casting(mesh: trimesh.Trimesh, K: Tensor, height: int, width: int) -> None:
    pytest.importorskip("embreex")
    vertices = torch.tensor(np.asarray(mesh.vertices), dtype=torch.float32)
    faces = torch.tensor(np.asarray(mesh.faces))
    fragments = rasterize(vertices[None], faces, K, height=height, width=width)
    rays = unproject(pixel_centers(height, width).view(-1, 2).double(), torch.ones(height * width).double(), K).numpy()
    mesh = trimesh.Trimesh(vertices.numpy(), faces.numpy(), process=False)
    hits, index, _ = mesh.ray.intersects_location(np.zeros_like(rays), rays, multiple_hits=False)
    depth = np.full(height * width, np.nan)
    depth[index] = hits[:, 2]
    ours = fragments.depth_m[0].view(-1).numpy()
    both = np.isfinite(ours) & np.isfinite(depth)
    # Embree works in float32: rays within its rounding of a silhouette may go either way.
    assert (np.isfinite(ours) != np.isfinite(depth)).sum() <= 2
    assert both.sum() > 1000
    assert np.quantile(np.abs(ours - depth)[both], 0.999) < 1e-4


@pytest.mark.parametrize("name", MESHES)
def test_closed_meshes_equal_ray_casting(name: str) -> None:
    mesh = MESHES[name]()
    mesh.apply_transform(trimesh.transformations.euler_matrix(0.7, -0.4, 0.2))
    mesh.apply_translation([0.5, -0.2, 2.5])
    assert_equals_ray_casting(mesh, intrinsics(150.0, 160.0, 40.0, 70.0), 120, 128)


def test_camera_inside_a_mesh_equals_ray_casting() -> None:
    """The mesh surrounds the camera: triangles cross the near plane on all sides."""
    mesh = trimesh.creation.icosphere(subdivisions=2, radius=2.0)
    mesh.apply_translation([0.3, 0.1, 0.4])
    assert_equals_ray_casting(mesh, intrinsics(30.0, 30.0, 40.0, 30.0), 64, 80)


def test_body_equals_ray_casting() -> None:
    model = AnnyBody.load()
    with torch.no_grad():
        x, y, z = model.rest(model.default_shape()[None]).vertices_m[0].unbind(-1)
    vertices = torch.stack([x, -z, y + 2.8], -1).numpy()  # from z up to the camera's y down
    mesh = trimesh.Trimesh(vertices, model.faces.numpy(), process=False)
    assert_equals_ray_casting(mesh, intrinsics(370.0, 370.0, 128.0, 200.0), 256, 256)


def test_a_batch_equals_its_images_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    vertices = torch.stack([random_soup(seed)[0] for seed in range(3)])
    _, faces = random_soup(3)
    K = K_ROUND.repeat(3, 1, 1)
    K[:, 0, 2] += torch.arange(3)
    together = render(vertices, faces, K)
    assert together.mask.any(dim=(1, 2)).all()
    for elements in (9, 30):  # at once: less than one face list; two images
        monkeypatch.setattr(coverage, "_CPU_BATCH", elements)
        apart = [render(vertices[i : i + 1], faces, K[i]) for i in range(3)]
        for field in ("depth_m", "face_id", "barycentrics"):
            expected = torch.cat([getattr(fragments, field) for fragments in apart])
            torch.testing.assert_close(getattr(together, field), expected, rtol=0, atol=0, equal_nan=True)
            torch.testing.assert_close(
                getattr(render(vertices, faces, K), field), expected, rtol=0, atol=0, equal_nan=True
            )


def test_culling_changes_nothing_outside_a_closed_mesh_and_opens_it_from_inside() -> None:
    mesh = MESHES["torus"]()
    vertices = torch.tensor(mesh.vertices, dtype=torch.float32)[None] + torch.tensor([0.2, 0.1, 2.5])
    faces = torch.tensor(mesh.faces)
    K = intrinsics(100.0, 100.0, 64.0, 64.0)
    everything = rasterize(vertices, faces, K, height=128, width=128)
    fronts = rasterize(vertices, faces, K, height=128, width=128, cull_backfaces=True)
    assert torch.equal(everything.face_id, fronts.face_id)
    flipped = rasterize(vertices, faces.flip(1), K, height=128, width=128, cull_backfaces=True)
    both = fronts.mask & flipped.mask
    assert torch.equal(fronts.mask, flipped.mask)
    assert (flipped.depth_m[both] > fronts.depth_m[both]).all()


def test_equal_depth_goes_to_the_first_face() -> None:
    vertices, faces = random_soup(1, behind=False)
    once, twice = render(vertices[None], faces), render(vertices[None], torch.cat([faces, faces.roll(1, 1)]))
    assert once.mask.any()
    assert torch.equal(once.face_id, twice.face_id)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf, 1e38])
def test_broken_vertices_take_only_their_own_triangles_away(bad: float) -> None:
    vertices, faces = random_soup(2, behind=False)
    vertices = vertices.float()
    broken = torch.cat([vertices, torch.tensor([[bad, 0.0, 2.0], [0.0, bad, 2.0], [0.1, 0.2, bad]])])
    n = len(vertices)
    extra = torch.tensor([[n, 0, 1], [2, n + 1, 3], [4, 5, n + 2], [n, n + 1, n + 2]])
    if bad == 1e38:
        extra = extra[:2, [0, 0, 1]]  # huge but finite: reaches across the picture, unless it has no area
    expected, ours = render(vertices[None], faces), render(broken[None], torch.cat([faces, extra]))
    assert torch.equal(expected.face_id, ours.face_id)
    torch.testing.assert_close(expected.depth_m, ours.depth_m, rtol=0, atol=0, equal_nan=True)


def test_huge_triangles_do_not_overflow() -> None:
    vertices = torch.tensor([[[-1e38, -1e38, 3.0], [1e38, -1e38, 3.0], [0.0, 3e38, 3.0]]])
    fragments = render(vertices, torch.tensor([[0, 1, 2]]))
    assert fragments.mask.all()
    torch.testing.assert_close(fragments.depth_m, torch.full_like(fragments.depth_m, 3.0))


def test_triangles_without_area_are_not_drawn() -> None:
    vertices = torch.tensor([[[0.0, 0.0, 1.0], [1.0, 1.0, 3.0], [2.0, 2.0, 5.0], [0.1, 0.1, 2.0]]])
    faces = torch.tensor([[0, 0, 0], [0, 1, 1], [0, 1, 2], [3, 3, 1]])
    assert not render(vertices, faces).mask.any()


@pytest.mark.parametrize(("images", "vertices", "faces"), [(1, 5, 0), (1, 0, 0), (0, 4, 2), (3, 4, 0)])
def test_nothing_to_draw_is_an_empty_picture(images: int, vertices: int, faces: int) -> None:
    fragments = render(torch.zeros(images, vertices, 3), torch.zeros(faces, 3, dtype=torch.long))
    assert fragments.depth_m.shape == (images, HEIGHT, WIDTH)
    assert fragments.depth_m.dtype == torch.float32
    assert torch.isnan(fragments.depth_m).all()
    assert (fragments.face_id == -1).all()
    assert (fragments.barycentrics == 0).all()
    assert not fragments.mask.any()


def test_cropping_the_camera_crops_the_picture() -> None:
    vertices, faces = random_soup(4)
    whole = render(vertices[None], faces)
    K = K_ROUND.clone()
    K[0, 2] -= 3
    K[1, 2] -= 2
    crop = render(vertices[None], faces, K, height=HEIGHT - 4, width=WIDTH - 5)
    assert whole.mask.any()
    assert torch.equal(crop.face_id, whole.face_id[:, 2:-2, 3:-2])


def test_interpolation_is_differentiable_in_the_attributes() -> None:
    vertices, faces = random_soup(5)
    vertices = torch.stack([vertices, vertices + 0.1])
    fragments = render(vertices, faces)
    assert fragments.mask.any(dim=(1, 2)).all()
    attributes = torch.rand(2, vertices.shape[1], 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda values: interpolate(fragments, faces, values), attributes)
    shared = attributes[0].detach().requires_grad_()
    assert torch.autograd.gradcheck(lambda values: interpolate(fragments, faces, values), shared)


def test_interpolated_depth_is_the_depth_map() -> None:
    vertices, faces = jittered_sheet(1)
    fragments = render(vertices[None], faces)
    depth = interpolate(fragments, faces, vertices[None, :, 2:])[..., 0]
    torch.testing.assert_close(depth.float(), fragments.depth_m, rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"vertices": torch.zeros(4, 3)}, "vertices must be B×V×3"),
        ({"faces": torch.zeros(2, 4, dtype=torch.long)}, "faces must be F×3"),
        ({"K": torch.zeros(2, 3, 3)}, "K must be 3×3 or 1×3×3"),
        ({"height": 0}, "picture size must be positive"),
        ({"near_m": 0.0}, "near_m must be positive"),
        ({"near_m": float("nan")}, "near_m must be positive"),
    ],
)
def test_wrong_arguments_are_named(change: dict, match: str) -> None:
    arguments = {
        "vertices": torch.zeros(1, 4, 3),
        "faces": torch.zeros(2, 3, dtype=torch.long),
        "K": torch.eye(3),
        "height": 4,
        "width": 4,
        **change,
    }
    with pytest.raises(ValueError, match=match):
        rasterize(**arguments)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_equals_cpu() -> None:
    mesh = MESHES["torus"]()
    vertices = torch.tensor(mesh.vertices, dtype=torch.float32)[None] + torch.tensor(
        [[[0.2, 0.1, 2.5]], [[0.0, 0.0, 0.4]]]
    )
    faces = torch.tensor(mesh.faces)
    K = intrinsics(100.0, 100.0, 64.0, 64.0)
    cpu = rasterize(vertices, faces, K, height=128, width=128)
    cuda = rasterize(vertices.cuda(), faces.cuda(), K.cuda(), height=128, width=128)
    assert cuda.depth_m.is_cuda
    # K times vertices may round differently in the last bit of float64.
    assert (cpu.face_id != cuda.face_id.cpu()).float().mean() < 1e-3
    same = cpu.face_id == cuda.face_id.cpu()
    torch.testing.assert_close(cpu.depth_m[same], cuda.depth_m.cpu()[same], rtol=1e-6, atol=0, equal_nan=True)
