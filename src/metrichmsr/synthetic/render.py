"""Surfaces, light and background to pictures and their exact geometry, all shots of a batch at once.

What is seen at the pixels' centres is the truth (depth, normals, owners). Colours are anti-aliased where pixels border
on another surface, in one of two ways. *Fine*: visibility is computed on a grid of half pixels laid such that every
other sample is a pixel's centre; the colour is the tent-weighted mean of the 3×3 samples around, of which only those
that see something else than the centre are shaded anew. *Coarse*, in a third of the time: pixels at edges take a little
of their neighbours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int32, Int64, Shaped
from torch import Tensor

from metrichmsr.rendering import see
from metrichmsr.synthetic.environments import Environments
from metrichmsr.synthetic.shading import Samples, Shader
from metrichmsr.synthetic.shadows import ShadowMaps, transform
from metrichmsr.synthetic.surfaces import PROP, ROOM, Surfaces
from metrichmsr.synthetic.textures import TexturePool

NOTHING = -9
"""Owner of pixels that see the background."""

_TENT = ((0.25, 0.5, 0.25), (0.5, 1.0, 0.5), (0.25, 0.5, 0.25))
_SOFT = (1 / 8, 6 / 8, 1 / 8)
"""What pixels at edges take of their neighbours in coarse pictures, in each direction."""
_SAMPLES_ON_CPU = 1 << 14
"""So few that what is computed of them stays in the cache."""
_SAMPLES_ON_GPU = 1 << 22
_DEPTH_STEP = 0.04
"""Relative step in depth that counts as an edge within one surface, an arm before the trunk."""


@dataclass(frozen=True)
class Rendered:
    """S pictures of one size and what is seen in them."""

    linear_rgb: Float[Tensor, "S H W 3"]
    depth_m: Float[Tensor, "S H W"]
    """z-depth, metres; NaN where the background is seen."""
    owner: Int64[Tensor, "S H W"]
    """Owner of the surface seen (row of the crowd, GROUND, ROOM, PROP), or NOTHING."""
    normals: Float[Tensor, "S H W 3"]
    """Unit normals towards the camera, camera frame; zero where the background is seen."""


@torch.no_grad()
def render(
    surfaces: Surfaces,
    environments: Environments,
    pool: TexturePool,
    *,
    K: Float[Tensor, "S 3 3"],
    camera_from_world: Float[Tensor, "S 4 4"],
    height: int,
    width: int,
    shadow_size: int = 192,
    fine: bool = True,
) -> Rendered:
    """Take S pictures of height × width, each of its own shot.

    Args:
        surfaces: everything modelled in the shots, the environments' own surfaces included.
        environments: light and background.
        pool: the textures that materials name.
        K: intrinsics of these pictures (the crop's for a crop).
        camera_from_world: poses of the cameras.
        height: rows.
        width: columns.
        shadow_size: resolution of shadows.
        fine: anti-aliased by samples between the pixels' centres, or coarsely.
    """
    shot = surfaces.shot_of_vertex
    motion = camera_from_world[:, :3].float()
    in_camera = transform(surfaces.vertices_m, motion, shot)
    shader = Shader(surfaces, pool, environments.lights, motion, K, fine=fine)
    shadows = ShadowMaps.render(surfaces, environments.lights, size=shadow_size, fine=fine)
    samples = _Samples(height, width, fine)
    seen = see(
        in_camera,
        surfaces.faces,
        samples.from_pixels.to(K.device) @ K.double(),
        view_of_vertex=shot,
        view_of_face=shot.index_select(0, surfaces.faces[:, 0]),
        height=samples.rows,
        width=samples.columns,
        single_sided=~surfaces.two_sided,
        cutout=surfaces.materials.cutout.index_select(0, surfaces.material),
        accept=shader.is_there,
    )
    face, depth = samples.centres(seen.face_id), samples.centres(seen.depth_m)
    background = environments.background.render(K, camera_from_world, height=height, width=width)
    behind = background.reshape(-1, 3)
    picture = behind.clone()
    normals = torch.zeros_like(picture)

    def shade(sample: Tensor, pixel: Tensor) -> tuple[Tensor, Tensor]:
        """Colours and normals at samples, which are counted over all shots; their pixels tell what is behind."""
        points = Samples(
            face=seen.face_id.view(-1).index_select(0, sample),
            barycentrics=seen.barycentrics(sample),
            depth_m=seen.depth_m.view(-1).index_select(0, sample),
            shot=torch.div(sample if K.is_cuda else sample[:1], samples.per_shot, rounding_mode="floor"),
            behind=behind.index_select(0, pixel),
        )
        return shader.shade(points, shadows)

    # Where the background shows through, little has to be known of the surface.
    catches = torch.cat([shader.catches, shader.catches.new_zeros(1)])[face.view(-1)]
    for pixel in _parts(((face.view(-1) >= 0) & ~catches).nonzero().squeeze(1), height * width, len(K)):
        picture[pixel], normals[pixel] = shade(samples.of_pixels(pixel), pixel)
    for pixel in _parts(catches.nonzero().squeeze(1), height * width, len(K)):
        places = _unproject(pixel, depth, K, motion)
        view = torch.div(pixel if K.is_cuda else pixel[:1], height * width, rounding_mode="floor")
        picture[pixel], normals[pixel] = shader.catch(
            places, face.view(-1).index_select(0, pixel), view, behind.index_select(0, pixel), shadows
        )
    groups = _groups(surfaces, seen.face_id)
    if fine:
        _blend_samples(picture, behind, _find_edges(groups, seen.depth_m), seen.face_id, shade, samples, len(K))
    else:
        picture = _soften(picture.view_as(background), groups, depth)
    return Rendered(
        linear_rgb=picture.view_as(background),
        depth_m=depth,
        owner=torch.where(face >= 0, surfaces.owner[face.clamp_min(0)], NOTHING),
        normals=normals.view_as(background),
    )


@dataclass(frozen=True)
class _Samples:
    """Where visibility is computed."""

    height: int
    width: int
    fine: bool

    @property
    def rows(self) -> int:
        return 2 * self.height + 1 if self.fine else self.height

    @property
    def columns(self) -> int:
        return 2 * self.width + 1 if self.fine else self.width

    @property
    def per_shot(self) -> int:
        return self.rows * self.columns

    @property
    def from_pixels(self) -> Float[Tensor, "3 3"]:
        """Sample m of a fine row is at u = m/2: m = 2i + 1 is the centre of pixel i."""
        fine = [[2.0, 0, 0.5], [0, 2.0, 0.5], [0, 0, 1]]
        return torch.tensor(fine, dtype=torch.float64) if self.fine else torch.eye(3, dtype=torch.float64)

    def centres(self, samples: Shaped[Tensor, "S h w"]) -> Shaped[Tensor, "S H W"]:
        """The samples at the pixels' centres."""
        return samples[:, 1::2, 1::2].contiguous() if self.fine else samples

    def of_pixels(self, pixel: Int64[Tensor, "P"]) -> Int64[Tensor, "P"]:
        """The sample at the centre of each pixel, both counted over all shots."""
        return _centre_sample(pixel, self.height, self.width) if self.fine else pixel


def _unproject(
    pixel: Int64[Tensor, "P"],
    depth: Float[Tensor, "S H W"],
    K: Float[Tensor, "S 3 3"],
    motion: Float[Tensor, "S 3 4"],
) -> Float[Tensor, "P 3"]:
    """World points that pixels see."""
    height, width = depth.shape[1:]
    line = torch.div(pixel, width, rounding_mode="floor")
    shot = torch.div(line, height, rounding_mode="floor")
    u, v, z = (pixel - line * width) + 0.5, (line - shot * height) + 0.5, depth.view(-1).index_select(0, pixel)
    # World point = eye + z·Rᵀ·K⁻¹·(u, v, 1).
    rotation = motion[:, :, :3].transpose(1, 2)
    to_world = rotation @ torch.linalg.inv(K.double()).float()
    eye = -(rotation @ motion[:, :, 3:])
    table = torch.cat([to_world, eye], dim=-1)
    return transform(torch.stack([u * z, v * z, z], dim=-1), table, shot if pixel.is_cuda else shot[:1])


def _blend_samples(
    picture: Float[Tensor, "N 3"],
    behind: Float[Tensor, "N 3"],
    edges: _Edges,
    face: Int64[Tensor, "S h w"],
    shade: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
    samples: _Samples,
    shots: int,
) -> None:
    """Mix what samples beside the centres see into the picture."""
    # Samples that see no surface show the background, as it is at their pixel.
    change = torch.zeros(len(edges.pixel), 3, device=picture.device)
    covered = (face.view(-1).index_select(0, edges.sample) >= 0).nonzero().squeeze(1)
    sample, which = edges.sample[covered].unique(return_inverse=True)
    beside = torch.empty_like(sample).scatter_(0, which, edges.pixel[covered])
    parts = _parts(sample, samples.per_shot, shots)
    if parts:
        near = beside.split([len(part) for part in parts])
        parts = [shade(part, pixel)[0] for part, pixel in zip(parts, near, strict=True)]
        change[covered] = torch.cat(parts).index_select(0, which)
    bare = torch.ones(len(change), dtype=torch.bool, device=picture.device).index_fill_(0, covered, False)
    change[bare] = behind.index_select(0, edges.pixel[bare])
    change = (change - picture.index_select(0, edges.pixel)) * edges.weight[:, None]
    picture.index_add_(0, edges.pixel, change)


def _soften(
    picture: Float[Tensor, "S H W 3"], group: Int32[Tensor, "S H W"], depth: Float[Tensor, "S H W"]
) -> Float[Tensor, "S H W 3"]:
    """Blur where a pixel or one beside it sees another surface than its right or lower neighbour."""
    mixed = torch.zeros_like(group, dtype=torch.bool)
    for axis in (1, 2):
        length = group.shape[axis] - 1
        first, second = (t.narrow(axis, k, length) for k in (0, 1) for t in (group,))
        near, far = depth.narrow(axis, 0, length), depth.narrow(axis, 1, length)
        edge = (first != second) | ((near - far).abs() > _DEPTH_STEP * near)
        mixed.narrow(axis, 0, length).logical_or_(edge)
        mixed.narrow(axis, 1, length).logical_or_(edge)
    height, width = group.shape[1:]
    pixel = mixed.view(-1).nonzero().squeeze(1)
    line = torch.div(pixel, width, rounding_mode="floor")
    row, column = line % height, pixel - line * width
    flat, result = picture.reshape(-1, 3), picture.reshape(-1, 3).clone()
    total = torch.zeros(len(pixel), 3, device=picture.device)
    for dy in (-1, 0, 1):
        down = ((row + dy).clamp(0, height - 1) - row) * width
        for dx in (-1, 0, 1):
            right = (column + dx).clamp(0, width - 1) - column
            total.add_(flat.index_select(0, pixel + down + right), alpha=_SOFT[dy + 1] * _SOFT[dx + 1])
    result[pixel] = total
    return result.view_as(picture)


def _parts(ascending: Int64[Tensor, "P"], per_shot: int, shots: int) -> list[Int64[Tensor, "P"]]:
    """Cut a list of pixels to what is shaded at once: on a CPU, parts of one shot each that fit its cache."""
    if ascending.is_cuda:
        return list(ascending.split(_SAMPLES_ON_GPU))
    ends = torch.searchsorted(ascending, torch.arange(1, shots + 1) * per_shot)
    counts = torch.diff(ends, prepend=ends.new_zeros(1)).tolist()
    return [part for of_shot in ascending.split(counts) for part in of_shot.split(_SAMPLES_ON_CPU) if len(part)]


def _centre_sample(pixel: Int64[Tensor, "P"], height: int, width: int) -> Int64[Tensor, "P"]:
    """The sample at the centre of each pixel, both counted over all shots."""
    line = torch.div(pixel, width, rounding_mode="floor")
    shot = torch.div(line, height, rounding_mode="floor")
    row, column = line - shot * height, pixel - line * width
    return (shot * (2 * height + 1) + 2 * row + 1) * (2 * width + 1) + 2 * column + 1


def _groups(surfaces: Surfaces, face: Int64[Tensor, "S h w"]) -> Int32[Tensor, "S h w"]:
    """A number for what is seen: samples with the same one may share a colour."""
    count = len(surfaces.materials) + 1
    alike = (surfaces.owner + 4) * count + surfaces.material + 1
    # Faces of furniture have colours of their own and sharp edges.
    own = (surfaces.owner == PROP) | (surfaces.owner == ROOM)
    alike = torch.where(own, -1 - torch.arange(len(alike), device=alike.device), alike).int()
    table = torch.cat([alike.new_zeros(1), alike])
    parts = face.view(-1).split(_SAMPLES_ON_GPU if face.is_cuda else _SAMPLES_ON_CPU)
    return torch.cat([table.index_select(0, part + 1) for part in parts]).view_as(face)


@dataclass(frozen=True)
class _Edges:
    """E pairs of a pixel and a sample around its centre that sees something else than the centre does."""

    pixel: Int64[Tensor, "E"]
    sample: Int64[Tensor, "E"]
    weight: Float[Tensor, "E"]
    """The sample's share of the pixel."""


def _find_edges(group: Int32[Tensor, "S h w"], depth: Float[Tensor, "S h w"]) -> _Edges:
    height, width = (size // 2 for size in group.shape[1:])
    # Comparing with NaN, where nothing is seen, is false; there the groups differ.
    # Shot by shot, a CPU finds what it compares in its cache.
    parts = zip(
        group.split(len(group) if group.is_cuda else 1), depth.split(len(depth) if depth.is_cuda else 1), strict=True
    )
    mixed = torch.cat([_mixed(*part) for part in parts])
    pixel = mixed.view(-1).nonzero().squeeze(1)
    centre = _centre_sample(pixel, height, width)
    group, depth = group.view(-1), depth.view(-1)
    here, z = group.index_select(0, centre), depth.index_select(0, centre)
    pixels, samples, weights = [], [], []
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            if dx or dy:
                sample = centre + (dy * (2 * width + 1) + dx)
                other = group.index_select(0, sample) != here
                other |= (depth.index_select(0, sample) - z).abs() > _DEPTH_STEP * z
                kept = other.nonzero().squeeze(1)
                pixels.append(pixel.index_select(0, kept))
                samples.append(sample.index_select(0, kept))
                weights.append(depth.new_full((len(kept),), _TENT[dy + 1][dx + 1] / 4))
    return _Edges(torch.cat(pixels), torch.cat(samples), torch.cat(weights))


def _mixed(group: Int32[Tensor, "S h w"], depth: Float[Tensor, "S h w"]) -> Bool[Tensor, "S H W"]:
    """Pixels whose nine samples do not all see one surface."""
    (low, high), (near, far) = _extremes(group), _extremes(depth)
    return (low != high) | (far - near > _DEPTH_STEP * far)


def _extremes(samples: Shaped[Tensor, "S h w"]) -> tuple[Shaped[Tensor, "S H W"], Shaped[Tensor, "S H W"]]:
    """Smallest and largest of the 3×3 samples around every pixel's centre."""
    low = high = samples
    for axis in (2, 1):
        length = samples.shape[axis]
        a, b, c = ((slice(None),) * axis + (slice(k, length - 2 + k, 2),) for k in range(3))
        low = torch.minimum(torch.minimum(low[a], low[b]), low[c])
        high = torch.maximum(torch.maximum(high[a], high[b]), high[c])
    return low, high
