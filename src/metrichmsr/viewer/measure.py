"""The length between two picked points, with the sigma that the result's own doubts give it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from metrichmsr.structures import Camera, Person
from metrichmsr.viewer.picking import Hit

# Median of |x| over the sigma of a normal x.
_MEDIAN_OF_ABS = 0.6745


@dataclass(frozen=True)
class Doubts:
    """What a result says of how far it may be off; all of them one sigma of a logarithm, so shares."""

    focal: float
    """Of the focal length: depth goes with it, what lies across the line of sight does not."""
    body: dict[int, float]
    """Of each person's size and so of their distance, by id."""
    height: dict[int, float]
    """Of each person's stature alone, by id."""
    weight: dict[int, float]
    """How much each person has said in the size of the scene; they sum to 1. Empty where people did not scale it."""
    depth: float
    """Of a pixel's depth against the bodies' (scene.residuals); 0 where nothing is known."""

    @classmethod
    def of(
        cls, people: Sequence[Person], camera: Camera, *, residual: float | None = None, scaled_by_people: bool = True
    ) -> Doubts:
        """Read them off people and camera.

        Args:
            people: of one result.
            camera: its camera.
            residual: median of |depth - body| / body of the scene's depth.
            scaled_by_people: whether the scene has the people's metres.
        """
        focal = 0.0 if camera.focal_std_px is None else camera.focal_std_px / camera.focal_px
        height = {p.id: p.height_std_m / p.height_m for p in people}
        body = {}
        for p in people:
            whole = p.distance_std_m / p.distance_m
            # distance_std_m holds the focal length's part, which everybody shares.
            own = math.sqrt(max(0.0, whole * whole - focal * focal))
            body[p.id] = max(own, height[p.id])
        precision = {id_: 1 / max(share, 1e-6) ** 2 for id_, share in body.items() if math.isfinite(share)}
        total = sum(precision.values())
        weight = {id_: value / total for id_, value in precision.items()} if scaled_by_people else {}
        depth = 0.0 if residual is None or not math.isfinite(residual) else residual / _MEDIAN_OF_ABS
        return cls(focal, body, height, weight, depth)


@dataclass(frozen=True)
class Measured:
    """A distance between two points."""

    length_m: float
    std_m: float
    """One sigma; NaN where the result does not tell."""
    because: str
    """What the sigma holds, in words."""

    def __str__(self) -> str:
        decimals = 3 if self.length_m < 0.1 else 2
        around = f" ± {max(self.std_m, 10**-decimals):.{decimals}f}" if math.isfinite(self.std_m) else ""
        return f"{self.length_m:.{decimals}f}{around} m"


def measure(
    first: Hit,
    second: Hit,
    doubts: Doubts | None,
    camera_from_world: Float[np.ndarray, "4 4"],
) -> Measured:
    """The distance between two points and its sigma to first order.

    Convention: the points are in the world frame of the result. A point seen by the camera slides along its line of
    sight with the size of what it belongs to; all points slide in depth together with the focal length.

    - Both on one person: the sigma of the stature, as a share.
    - On two people: each may be larger and farther, or smaller and nearer, by itself; the focal length is common.
    - On the scene or the ground: they have the people's size, the mean of all by their weights, and each point's depth
      the error by which depth and bodies disagree (none for the ground plane).

    Args:
        first: where the first click met something.
        second: and the second.
        doubts: of the result that both belong to; None where they belong to different results.
        camera_from_world: takes the points to the camera frame.
    """
    length = float(np.linalg.norm(second.point - first.point))
    if doubts is None:
        return Measured(length, math.nan, "of two results: no common scale")
    if length < 1e-9:
        return Measured(length, 0.0, "one point")
    R, t = camera_from_world[:3, :3], camera_from_world[:3, 3]
    p, q = R @ first.point + t, R @ second.point + t
    u = (q - p) / length
    if first.person_id is not None and first.person_id == second.person_id:
        # The parts of one body grow together.
        share = doubts.height.get(first.person_id, math.nan)
        return Measured(length, length * share, "stature")
    # Everything in depth goes with the focal length.
    variance = (u[2] * (q[2] - p[2]) * doubts.focal) ** 2
    slope = dict.fromkeys(doubts.body, 0.0)  # ∂length/∂log(size), by person
    for point, hit, sign in ((p, first, -1.0), (q, second, 1.0)):
        along = sign * float(u @ point)
        if hit.person_id is not None:
            slope[hit.person_id] = slope.get(hit.person_id, 0.0) + along
            continue
        if not doubts.weight:
            return Measured(length, math.nan, "nobody tells the scale of the scene")
        for id_, weight in doubts.weight.items():
            slope[id_] += along * weight
        if hit.kind == "scene":
            variance += (along * doubts.depth) ** 2
    variance += sum((by * doubts.body.get(id_, math.nan)) ** 2 for id_, by in slope.items() if by)
    parts = ["size of people"]
    parts += ["focal length"] if doubts.focal else []
    parts += ["depth against bodies"] if doubts.depth and "scene" in (first.kind, second.kind) else []
    return Measured(length, math.sqrt(variance) if math.isfinite(variance) else math.nan, ", ".join(parts))
