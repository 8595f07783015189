"""Where a line of sight meets the people, the scene or the ground."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

Kind = Literal["person", "scene", "ground"]


@dataclass(frozen=True, eq=False)
class Ray:
    """A half line."""

    origin: Float[np.ndarray, "3"]
    direction: Float[np.ndarray, "3"]
    """Unit length."""

    @classmethod
    def of(cls, origin: object, direction: object) -> Ray:
        """From any direction that is not zero."""
        direction = np.asarray(direction, np.float64)
        return cls(np.asarray(origin, np.float64), direction / np.linalg.norm(direction))


class Hit(NamedTuple):
    """What a ray met first."""

    point: Float[np.ndarray, "3"]
    distance_m: float
    """Along the ray."""
    kind: Kind
    owner: str
    """Which result it belongs to."""
    person_id: int | None = None


@dataclass(frozen=True, eq=False)
class MeshTarget:
    """Triangles that can be hit from either side."""

    vertices: Float[np.ndarray, "V 3"]
    faces: Int[np.ndarray, "F 3"]
    kind: Kind = "scene"
    owner: str = ""
    person_id: int | None = None

    @cached_property
    def _bounds(self) -> tuple[np.ndarray, np.ndarray]:
        return self.vertices.min(axis=0), self.vertices.max(axis=0)

    @cached_property
    def _corners(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        a, b, c = (np.asarray(self.vertices, np.float64)[self.faces[:, k]] for k in range(3))
        return a, b - a, c - a

    def first_hit(self, ray: Ray) -> Hit | None:
        """The nearest triangle along the ray.

        Source: Möller and Trumbore, "Fast, minimum storage ray/triangle intersection", 1997; all triangles at once.
        """
        if not len(self.faces) or not _meets_box(ray, *self._bounds):
            return None
        a, ab, ac = self._corners
        p = np.cross(ray.direction, ac)
        determinant = np.einsum("ij,ij->i", ab, p)
        # Seen edge-on a triangle has no inside.
        flat = np.abs(determinant) < 1e-14
        inverse = 1 / np.where(flat, 1.0, determinant)
        to_origin = ray.origin - a
        u = np.einsum("ij,ij->i", to_origin, p) * inverse
        q = np.cross(to_origin, ab)
        v = (q @ ray.direction) * inverse
        t = np.einsum("ij,ij->i", ac, q) * inverse
        edge = -1e-9
        hit = ~flat & (u >= edge) & (v >= edge) & (u + v <= 1 - edge) & (t > 1e-6)
        if not hit.any():
            return None
        distance = float(t[hit].min())
        return Hit(ray.origin + distance * ray.direction, distance, self.kind, self.owner, self.person_id)


@dataclass(frozen=True, eq=False)
class PointsTarget:
    """Points, each as large as it is drawn."""

    points: Float[np.ndarray, "N 3"]
    radius_m: float
    owner: str = ""
    angle: float = 0.004
    """And at least so large in the eye, radians: a finger is wider than a far point."""

    def first_hit(self, ray: Ray) -> Hit | None:
        """The nearest of the points that the ray passes closely."""
        if not len(self.points):
            return None
        offset = self.points - ray.origin
        along = offset @ ray.direction
        aside = np.linalg.norm(offset - along[:, None] * ray.direction, axis=1)
        close: Bool[np.ndarray, "N"] = (along > 1e-6) & (aside <= np.maximum(self.radius_m, self.angle * along))
        if not close.any():
            return None
        # Of those in reach at about the nearest depth, the one that was aimed at best.
        nearest = along[close].min()
        front = close & (along <= nearest + max(2 * self.radius_m, 0.01 * nearest))
        best = int(np.flatnonzero(front)[np.argmin(aside[front] / along[front])])
        return Hit(np.array(self.points[best], np.float64), float(along[best]), "scene", self.owner)


@dataclass(frozen=True, eq=False)
class GroundTarget:
    """The horizontal plane at a height; behind everything else."""

    y: float
    owner: str = ""
    reach_m: float = 100.0

    def first_hit(self, ray: Ray) -> Hit | None:
        """Where the ray goes through the plane, from above or below."""
        if abs(ray.direction[1]) < 1e-6:
            return None
        distance = float((self.y - ray.origin[1]) / ray.direction[1])
        if not 1e-6 < distance < self.reach_m:
            return None
        return Hit(ray.origin + distance * ray.direction, distance, "ground", self.owner)


Target = MeshTarget | PointsTarget | GroundTarget


def pick(ray: Ray, targets: list[Target]) -> Hit | None:
    """What the ray meets first; the bare ground only where it meets nothing else."""
    hits = [hit for target in targets if (hit := target.first_hit(ray)) is not None]
    things = [hit for hit in hits if hit.kind != "ground"]
    return min(things or hits, key=lambda hit: hit.distance_m, default=None)


def _meets_box(ray: Ray, low: np.ndarray, high: np.ndarray) -> bool:
    with np.errstate(divide="ignore", invalid="ignore"):
        first, second = (low - 1e-6 - ray.origin) / ray.direction, (high + 1e-6 - ray.origin) / ray.direction
    entry = np.nanmax(np.fmin(first, second))
    leave = np.nanmin(np.fmax(first, second))
    return bool(leave >= max(entry, 0.0))
