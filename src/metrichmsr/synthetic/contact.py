"""Bodies as a hundred balls: where people touch, and how far apart they must be moved not to.

Each ball sits in a slice of a limb, or of the left, middle or right of the trunk: its centre is the mean of some of the
slice's vertices and its radius their mean distance from it. So balls follow pose and shape with no fitting. What two
bodies leave between them, or how deep they lie in each other, is known to about a centimetre.
"""

from __future__ import annotations

import itertools
import math

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from metrichmsr.bodies.anny import AnnyBody

PARTS = ("trunk", "head", "arm.L", "arm.R", "hand.L", "hand.R", "leg.L", "leg.R", "foot.L", "foot.R")
"""Coarse parts that balls and points belong to."""

# Bones of each slab of the body, how many slices along its length, and the part it belongs to.
_SLABS: tuple[tuple[tuple[str, ...], int, str], ...] = (
    (("neck",), 1, "head"),
    (("head", "eye"), 3, "head"),
    (("upperleg",), 6, "leg"),
    (("lowerleg",), 7, "leg"),
    (("foot", "toe"), 4, "foot"),
    (("upperarm",), 5, "arm"),
    (("lowerarm",), 6, "arm"),
    (("wrist", "metacarpal"), 2, "hand"),
    (("finger1",), 1, "hand"),
    (("finger2",), 1, "hand"),
    (("finger3",), 1, "hand"),
    (("finger4",), 1, "hand"),
    (("finger5",), 1, "hand"),
)
_TRUNK = ("root", "pelvis", "spine", "clavicle", "shoulder")
_TRUNK_SLICES, _TRUNK_COLUMNS = 9, 3


class BodyBalls:
    """Which vertices stand for the body, and the balls they make.

    Args:
        body: Anny, unrestricted.

    Attributes:
        vertex_ids: about two thousand vertices that lie furthest out in their slices: whatever a body rests on, one of
            them is within a few millimetres of it.
        part: row of ``PARTS`` of each of these vertices.
        ball_part: row of ``PARTS`` of each ball.
    """

    vertex_ids: Int64[Tensor, "N"]
    part: Int64[Tensor, "N"]
    ball_part: Int64[Tensor, "M"]

    def __init__(self, body: AnnyBody) -> None:
        device = body.template.device
        out = body(body.identity_pose(), body.default_shape()[None])
        vertices = out.vertices_m[0].cpu()
        bone = body.skin[:, : body.num_vertices].argmax(0).cpu()
        names = body.bone_names
        clusters: list[tuple[Tensor, str]] = []
        for starts, slices, part in _SLABS:
            for side in ("",) if part == "head" else (".L", ".R"):
                bones = [i for i, n in enumerate(names) if n.startswith(starts) and n.endswith(side)]
                ids = torch.isin(bone, torch.tensor(bones)).nonzero().squeeze(1)
                along = vertices[ids]
                middle = along - along.mean(0)
                axis = torch.linalg.eigh(middle.T @ middle)[1][:, -1]
                clusters += [(ids[inside], part + side) for inside in _slices(middle @ axis, slices)]
        ids = torch.isin(bone, torch.tensor([i for i, n in enumerate(names) if n.startswith(_TRUNK)]))
        ids = ids.nonzero().squeeze(1)
        for level in _slices(vertices[ids, 2], _TRUNK_SLICES):
            row = ids[level]
            clusters += [(row[inside], "trunk") for inside in _slices(vertices[row, 0], _TRUNK_COLUMNS)]
        clusters = [(ids, part) for ids, part in clusters if len(ids) >= 4]
        # The back is flat: which of its vertices is the lowest of a lying body depends on little.
        fine, coarse = _directions((-1.0, -0.67, -0.33, 0.0, 0.33, 0.67, 1.0)), _directions((-1.0, 0.0, 1.0))
        hip = out.joints_m[0, names.index("upperleg01.L")].cpu()
        # Between the buttocks nothing is outermost until one sits down.
        between = (vertices[:, 0].abs() < 0.03) & (vertices[:, 2] < hip[2] + 0.02)
        outer = [
            ids[(vertices[ids] @ (fine if part == "head" else coarse)).argmax(0).unique()]
            if part != "trunk"
            else torch.cat([ids[(vertices[ids] @ fine).argmax(0)], ids[between[ids]]]).unique()
            for ids, part in clusters
        ]
        self.vertex_ids = torch.cat(outer).to(device)
        self.part = torch.tensor(
            [PARTS.index(part) for ids, (_, part) in zip(outer, clusters, strict=True) for _ in ids], device=device
        )
        self.ball_part = torch.tensor([PARTS.index(part) for _, part in clusters], device=device)
        self._ball = torch.cat([torch.full((len(ids),), i) for i, ids in enumerate(outer)]).to(device)
        mean = torch.zeros(len(clusters), len(self._ball), device=device)
        mean[self._ball, torch.arange(len(self._ball), device=device)] = 1.0
        self._mean = mean / mean.sum(1, keepdim=True)
        self.bottom = _bottom(body, self.vertex_ids.cpu()).to(device)

    def __call__(self, points: Float[Tensor, "P N 3"]) -> tuple[Float[Tensor, "P M 3"], Float[Tensor, "P M"]]:
        """Centres and radii from the body's ``vertex_ids``."""
        centers = self._mean @ points
        # A norm over three numbers is slow in torch; planes are not.
        x, y, z = (points - centers[:, self._ball]).unbind(-1)
        return centers, (x * x + y * y + z * z).sqrt() @ self._mean.T


def way_out(
    moving: Float[Tensor, "B M 3"],
    moving_radius: Float[Tensor, "B M"],
    standing: Float[Tensor, "B L 3"],
    standing_radius: Float[Tensor, "B L"],
    direction: Float[Tensor, "B 3"],
    *,
    overlap_m: float = 0.01,
) -> Float[Tensor, "B"]:
    """How far to move balls along a unit vector so that from there on they meet no standing ball.

    Exactly there the two bodies touch, lying ``overlap_m`` in each other. −inf where the way meets nothing. Balls of
    radius 0 or less do not count.
    """
    ahead, behind = ((moved * direction[:, None]).sum(-1) for moved in (moving, standing))
    beside = torch.cdist(
        moving - ahead[..., None] * direction[:, None],
        standing - behind[..., None] * direction[:, None],
        compute_mode="donot_use_mm_for_euclid_dist",
    )
    reach = (moving_radius[:, :, None] + standing_radius[:, None] - overlap_m).clamp_min(0)
    meets = (beside < reach) & (moving_radius > 0)[:, :, None] & (standing_radius > 0)[:, None]
    out = (reach.square() - beside.square()).clamp_min(0).sqrt() + behind[:, None] - ahead[:, :, None]
    return torch.where(meets, out, -math.inf).flatten(1).amax(1)


def depth_into_each_other(
    a: Float[Tensor, "B M 3"],
    a_radius: Float[Tensor, "B M"],
    b: Float[Tensor, "B L 3"],
    b_radius: Float[Tensor, "B L"],
) -> Float[Tensor, "B M L"]:
    """How far each ball of one body reaches into each of another, metres; negative where there is room between."""
    return a_radius[:, :, None] + b_radius[:, None] - torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")


def _slices(place: Float[Tensor, "N"], count: int) -> list[Bool[Tensor, "N"]]:
    """Which of the points lie in each of some equal slices."""
    low, high = float(place.min()), float(place.max())
    index = ((place - low) / max(high - low, 1e-9) * count).long().clamp(0, count - 1)
    return [index == i for i in range(count)]


def _directions(steps: tuple[float, ...]) -> Float[Tensor, "3 K"]:
    """Unit vectors all around."""
    grid = [d for d in itertools.product(steps, repeat=3) if any(d)]
    return torch.nn.functional.normalize(torch.tensor(grid), dim=-1).T


def _bottom(body: AnnyBody, vertex_ids: Int64[Tensor, "N"]) -> Bool[Tensor, "N"]:
    """Which of these vertices one sits on: buttocks and the back of the upper thighs."""
    names = body.bone_names
    hips = torch.tensor([i for i, n in enumerate(names) if n.startswith(("root", "pelvis", "upperleg01"))])
    out = body(body.identity_pose(), body.default_shape()[None])
    vertices, joints = out.vertices_m[0].cpu()[vertex_ids], out.joints_m[0].cpu()
    hip = joints[names.index("upperleg01.L")]
    bone = body.skin[:, : body.num_vertices].argmax(0).cpu()[vertex_ids]
    return torch.isin(bone, hips) & (vertices[:, 1] > hip[1]) & (vertices[:, 2] < hip[2] + 0.05)
