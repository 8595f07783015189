"""Shadows of the sun, and the dimmer light under and between things, from depth seen by lights.

Two pictures of a shot's casters are taken: one from the sun, one from straight above. A point that lies behind what
the sun sees is in its shadow. How much of a small disc around a point is covered by something higher, as the zenith
sees it, tells how much of the sky is hidden from it, which grounds feet on the floor; covered share and mean height of
the covering are kept as blurred maps, so that one look answers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from metrichmsr.rendering import see
from metrichmsr.synthetic.environments import Lights
from metrichmsr.synthetic.surfaces import Surfaces

_FARNESS = 12.0
"""Distance of a light's camera in radii of what it sees: nearly parallel rays."""
_SKY_DISC_M = 0.25
_SKY_HIDDEN = 0.8
"""Share of the sky's light lost where the whole disc is covered from just above."""
_PENUMBRA_REACH_M = 0.6
"""Typical distance from a shadow to its caster, for the width of its edge."""
_MAX_RADIUS_M = 6.0
_SUN_TAPS = 5
_POINTS_AT_ONCE = 1 << 14


Shot = Int64[Tensor, "P"] | Int64[Tensor, "1"]
"""The shot of each of P points, or of all of them."""


@dataclass(frozen=True)
class _LightView:
    """Cameras at lights, one a shot."""

    light_from_world: Float[Tensor, "S 3 4"]
    focal_px: float
    size: int
    radius_m: Float[Tensor, "S"]
    """Of the ball that is seen."""

    @property
    def texel_m(self) -> Float[Tensor, "S"]:
        return 2.1 * self.radius_m / self.size

    def place(self, points: Float[Tensor, "P 3"], shot: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Column, row and depth of world points."""
        x, y, z = transform(points, self.light_from_world, shot).unbind(-1)
        scale = self.focal_px / z
        return x * scale + self.size / 2, y * scale + self.size / 2, z

    def index(self, shot: Tensor, u: Tensor, v: Tensor) -> Int64[Tensor, "P"]:
        """Pixel of these places, counted over all shots; the nearest one where they are outside."""
        column, line = u.clamp(0, self.size - 1).long(), v.clamp(0, self.size - 1).long()
        return (shot * self.size + line) * self.size + column


@dataclass(frozen=True)
class ShadowMaps:
    """What the suns and the zeniths of S shots see of the casters near the people."""

    sun: _LightView
    sun_depth_m: Float[Tensor, "N"]
    bias_texels: float
    """How much nearer than a point the sun's map must be to shade it."""
    shines: Bool[Tensor, "S"]
    """Whether there is a sun at all."""
    softness_m: Float[Tensor, "S"]
    """Half width of the sun's penumbra."""
    zenith: _LightView
    covered: Float[Tensor, "N"]
    """Share of the disc around a place that something covers, from 0 to 1."""
    cover_depth_m: Float[Tensor, "N"]
    """Mean depth of that, as the zenith sees it."""

    @staticmethod
    def render(surfaces: Surfaces, lights: Lights, *, size: int, fine: bool = True) -> ShadowMaps:
        """Look at the casters near the people from sun and zenith.

        Args:
            surfaces: everything modelled.
            lights: of the shots.
            size: of the sun's picture; the zenith's is a third of it.
            fine: draw people's triangles for the sun; else their vertices, in a picture half as large.
        """
        shines = lights.sun_irradiance.amax(-1) > 0
        ball = _caster_ball(surfaces, len(lights.sun_direction))
        size_of_sun = size if fine else size // 2
        sun = _light_view(torch.nn.functional.normalize(lights.sun_direction.float(), dim=-1), *ball, size_of_sun)
        # A zenith exactly above would leave the camera's own upright undefined.
        above = lights.sun_direction.new_tensor([0.002, 1.0, 0.001]).float().expand_as(lights.sun_direction)
        zenith = _light_view(above, *ball, size // 3)
        everywhere = torch.ones_like(shines)
        depth = _points_seen(surfaces, zenith, everywhere).nan_to_num(nan=0.0)
        covered = (depth > 0).float()
        share, total = _blur(torch.stack([covered, depth], 1), _SKY_DISC_M / zenith.texel_m).unbind(1)
        return ShadowMaps(
            sun=sun,
            sun_depth_m=(_faces_seen if fine else _points_seen)(surfaces, sun, shines).reshape(-1),
            bias_texels=2.5 if fine else 3.0,
            shines=shines,
            softness_m=lights.sun_radius.clamp(0, 0.5).tan() * _PENUMBRA_REACH_M,
            zenith=zenith,
            covered=share.reshape(-1),
            cover_depth_m=(total / share.clamp_min(1e-4)).reshape(-1),
        )

    def reaches(self, points: Float[Tensor, "P 3"], shot: Shot) -> Bool[Tensor, "P"]:
        """Where there may be a shadow at all: points that sun or zenith look at."""
        result = torch.zeros(len(points), dtype=torch.bool, device=points.device)
        for view in (self.sun, self.zenith):
            u, v, _ = view.place(points, shot)
            result |= (u >= 0) & (u < view.size) & (v >= 0) & (v < view.size)
        return result

    def sunlit(self, points: Float[Tensor, "P 3"], shot: Shot) -> Float[Tensor, "P"]:
        """Share of the sun seen from world points, 0 to 1."""
        if len(shot) == 1 and not bool(self.shines[shot]):
            return points.new_zeros(len(points))
        texel = self.sun.texel_m
        u, v, depth = self.sun.place(points, shot)
        spread = (1.0 + self.softness_m / texel).index_select(0, shot)
        limit = depth - (self.bias_texels * texel + 0.008).index_select(0, shot)
        lit = torch.zeros_like(depth)
        for du, dv in _disc(_SUN_TAPS):
            seen = self.sun_depth_m.index_select(0, self.sun.index(shot, u + du * spread, v + dv * spread))
            lit += ~(seen < limit)
        return lit / _SUN_TAPS

    def sky_seen(self, points: Float[Tensor, "P 3"], shot: Shot) -> Float[Tensor, "P"]:
        """Share of the surroundings' light that reaches world points, 0 to 1."""
        u, v, depth = self.zenith.place(points, shot)
        index = self.zenith.index(shot, u, v)
        above = depth - self.cover_depth_m.index_select(0, index) - 0.02
        # What is just above weighs fully, what is a body's length above hardly.
        weight = (above / 0.05).clamp(0, 1) / (1 + above.clamp_min(0))
        return 1 - _SKY_HIDDEN * self.covered.index_select(0, index) * weight


def transform(
    points: Float[Tensor, "P 3"], to_from: Float[Tensor, "S 3 4"], row: Int64[Tensor, "P"] | Int64[Tensor, "1"]
) -> Float[Tensor, "P 3"]:
    """Move every point by the rigid motion of its row; one row alone moves all."""
    if len(row) == 1:
        one = to_from.index_select(0, row)[0]
        return torch.addmm(one[:, 3], points, one[:, :3].T)
    # In parts that stay in a CPU's cache.
    size = len(points) if points.is_cuda else _POINTS_AT_ONCE
    moved = torch.empty_like(points)
    table = to_from.reshape(-1, 12)
    for start in range(0, len(points), max(1, size)):
        part = slice(start, start + size)
        motion = table.index_select(0, row[part]).view(-1, 3, 4)
        moved[part] = torch.baddbmm(motion[:, :, 3:], motion[:, :, :3], points[part][:, :, None]).squeeze(-1)
    return moved


def _caster_ball(surfaces: Surfaces, n_shots: int) -> tuple[Float[Tensor, "S 3"], Float[Tensor, "S"]]:
    """A ball around the people of each shot, cut to a size that keeps their shadows sharp."""
    of_people = surfaces.faces[(surfaces.owner >= 0) & surfaces.casts_shadow, 0]
    points = surfaces.vertices_m.index_select(0, of_people)
    shot = surfaces.shot_of_vertex.index_select(0, of_people)
    index = shot[:, None].expand(-1, 3)
    low = points.new_full((n_shots, 3), torch.inf).scatter_reduce_(0, index, points, "amin")
    high = points.new_full((n_shots, 3), -torch.inf).scatter_reduce_(0, index, points, "amax")
    empty = ~torch.isfinite(low)
    centre = torch.where(empty, 0.0, 0.5 * (low + high))
    radius = torch.where(empty, 1.0, 0.5 * (high - low)).norm(dim=-1)
    return centre, (radius + 0.15).clamp(max=_MAX_RADIUS_M)


def _light_view(
    direction: Float[Tensor, "S 3"], centre: Float[Tensor, "S 3"], radius: Float[Tensor, "S"], size: int
) -> _LightView:
    """Cameras far away in these directions that see the balls whole."""
    z = -direction
    x = torch.nn.functional.normalize(torch.linalg.cross(z.new_tensor([0.0, 1.0, 0.0]).expand_as(z), z), dim=-1)
    rotation = torch.stack([x, torch.linalg.cross(z, x), z], dim=1)
    eye = centre + direction * (radius * _FARNESS)[:, None]
    motion = torch.cat([rotation, -(rotation @ eye[..., None])], dim=-1)
    return _LightView(motion, 0.5 * size * _FARNESS / 1.05, size, radius)


def _look(surfaces: Surfaces, view: _LightView, faces: Int64[Tensor, "F"]) -> Float[Tensor, "S n n"]:
    """Depth of these faces of the surfaces as lights see them; NaN where there is none."""
    shot = surfaces.shot_of_vertex
    corners = surfaces.faces.index_select(0, faces)
    K = torch.zeros(len(view.radius_m), 3, 3, device=shot.device)
    K[:, 0, 0] = K[:, 1, 1] = view.focal_px
    K[:, :2, 2] = view.size / 2
    K[:, 2, 2] = 1
    seen = see(
        transform(surfaces.vertices_m, view.light_from_world, shot),
        corners,
        K,
        view_of_vertex=shot,
        view_of_face=shot.index_select(0, corners[:, 0]),
        height=view.size,
        width=view.size,
        single_sided=~surfaces.two_sided.index_select(0, faces),
    )
    return seen.depth_m


def _faces_seen(surfaces: Surfaces, view: _LightView, wanted: Bool[Tensor, "S"]) -> Float[Tensor, "S n n"]:
    """Depth of all casters, drawn, in the shots where it is wanted."""
    shot = surfaces.shot_of_vertex.index_select(0, surfaces.faces[:, 0])
    return _look(surfaces, view, (surfaces.casts_shadow & wanted[shot]).nonzero().squeeze(1))


def _points_seen(surfaces: Surfaces, view: _LightView, wanted: Bool[Tensor, "S"]) -> Float[Tensor, "S n n"]:
    """The same, with people as points: their vertices lie about as close as the map's texels."""
    shot = surfaces.shot_of_vertex.index_select(0, surfaces.faces[:, 0])
    casts = surfaces.casts_shadow & wanted[shot]
    things = (casts & (surfaces.owner < 0)).nonzero().squeeze(1)
    size, shots = view.size, len(wanted)
    if len(things):
        depth = _look(surfaces, view, things).reshape(-1).nan_to_num(nan=torch.inf)
    else:
        depth = torch.full((shots * size * size,), torch.inf, device=shot.device)
    people = (casts & (surfaces.owner >= 0)).nonzero().squeeze(1)
    corner = surfaces.faces[:, 0].index_select(0, people)
    of_corner = shot.index_select(0, people)
    u, v, z = view.place(surfaces.vertices_m.index_select(0, corner), of_corner)
    inside = ((u >= 0) & (u < size) & (v >= 0) & (v < size)).nonzero().squeeze(1)
    index = view.index(of_corner, u, v).index_select(0, inside)
    depth.scatter_reduce_(0, index, z.index_select(0, inside), "amin")
    depth = depth.view(shots, size, size)
    # Gaps between points close where there is something on both sides.
    for axis in (1, 2):
        before, after = depth.roll(1, axis), depth.roll(-1, axis)
        between = torch.isinf(depth) & torch.isfinite(before) & torch.isfinite(after)
        depth = torch.where(between, torch.maximum(before, after), depth)
    return torch.where(torch.isfinite(depth), depth, torch.nan)


def _blur(maps: Float[Tensor, "S C n n"], radius_px: Float[Tensor, "S"]) -> Float[Tensor, "S C n n"]:
    """Gaussian blur with a width of its own for every shot: a sigma of half the radius."""
    size = maps.shape[-1]
    place = torch.arange(size, device=maps.device, dtype=maps.dtype)
    sigma = (0.5 * radius_px).clamp_min(0.3)[:, None, None]
    kernel = (-0.5 * ((place[:, None] - place) / sigma).square()).exp()
    kernel = kernel / kernel.sum(-1, keepdim=True)
    return kernel[:, None] @ maps @ kernel[:, None].transpose(-1, -2)


def _disc(n: int) -> list[tuple[float, float]]:
    """Points spread evenly over the unit disc (Vogel's spiral)."""
    golden = math.pi * (3 - math.sqrt(5))
    places = [(math.sqrt((k + 0.5) / n), k * golden) for k in range(n)]
    return [(r * math.cos(angle), r * math.sin(angle)) for r, angle in places]
