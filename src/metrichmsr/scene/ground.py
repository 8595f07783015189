"""The ground under the people, and with it which way is up.

Depth, standing bodies, feet, what the picture tells of up and the habit of holding cameras level each propose planes;
one cost (:mod:`metrichmsr.scene.ground_cost`) weighs all that is known against each proposal, and the cheapest few are
polished.

Convention: camera frame (x right, y down, z forward), metres. The plane is n·X + d = 0 with the unit normal n pointing
up; d is the camera's height above it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

from metrichmsr.calibration.estimators import UpEstimate
from metrichmsr.scene.ground_cost import LEVEL, Level, Tilt, minimum_near, plane_scores, roll_and_pitch
from metrichmsr.scene.ground_evidence import NO_CELLS, BodyEvidence, DepthCells, body_evidence, depth_cells
from metrichmsr.structures import Camera, Person

_SEED = 5
_LOCAL_PLANES, _TRIPLES, _HEIGHTS_PER_UP = 160, 60, 3
_POLISHED = 5

# Planes steeper in the camera than this are walls, whatever speaks for them.
_MOST_ROLL, _MOST_PITCH = math.radians(40.0), math.radians(68.0)
_NEAREST_M, _FARTHEST_M = 0.05, 200.0

# So much of the known picture must lie on the ground where depth shall have found it, and so many cells.
_LEAST_SHARE, _LEAST_CELLS = 0.03, 40
_LEAST_SHARE_ALONE, _STEEP = 0.05, math.radians(30.0)
# People alone tell the ground where they tell which way is up.
_MOST_UP_STD_DEG = 15.0


@dataclass(frozen=True)
class Ground:
    """The plane that people stand on."""

    normal: Float[np.ndarray, "3"]
    """Unit vector upwards, camera frame."""
    offset_m: float
    """Height of the camera above the plane, metres: n·X + d = 0."""
    offset_std_m: float
    """One sigma of ``offset_m``."""
    up_std_deg: float
    """One sigma of the normal about either horizontal axis, degrees."""
    inlier_share: float
    """Share of the known depth (people left out, weighted by confidence) that lies on the plane; 0 without depth."""
    source: Literal["ground", "people"]
    """What told: ``ground`` where it is seen in the depth; ``people`` where only bodies and feet speak for it."""


def find_ground(
    depth_m: Float[np.ndarray, "H W"] | None,
    camera: Camera,
    people: Sequence[Person],
    *,
    confidence: Float[np.ndarray, "H W"] | None = None,
    person_mask: Bool[np.ndarray, "H W"] | None = None,
    up: UpEstimate | None = None,
    scale_std: float = 0.02,
    seed: int = _SEED,
) -> Ground | None:
    """The ground plane from depth, feet and bodies; None where neither shows it.

    Args:
        depth_m: z-depth at the camera's resolution, metres, NaN where unknown; None where there is none.
        camera: the picture's pinhole camera.
        people: recovered bodies, camera frame.
        confidence: of the depth, in [0, 1].
        person_mask: pixels that show people; the people's own masks if left out.
        up: which way is up, as the picture tells; without it a level camera is the likeliest.
        scale_std: relative sigma of the depth's scale: it moves the whole ground, which the spread of depth around it
            does not show. Goes into ``offset_std_m`` and nowhere else.
        seed: of the random proposals: the same input and seed give the same ground.

    Raises:
        ValueError: a map has another size than the camera's picture.
    """
    size = (camera.height, camera.width)
    for name, array in (("depth_m", depth_m), ("confidence", confidence), ("person_mask", person_mask)):
        if array is not None and array.shape != size:
            raise ValueError(f"{name} is {array.shape}, the camera's picture {size} (height, width)")
    bodies = body_evidence(people)
    if person_mask is None:
        masks = [person.mask for person in people if person.mask is not None and person.mask.shape == size]
        person_mask = np.logical_or.reduce(masks) if masks else None
    cells = NO_CELLS
    if depth_m is not None:
        cells = depth_cells(depth_m, camera, confidence=confidence, person_mask=person_mask)
    if len(cells) < _LEAST_CELLS:
        cells = NO_CELLS
    tilt = LEVEL if up is None else Tilt.of(up)
    told = np.zeros((0, 3)) if up is None else up.direction[None]
    proposals = _possible(_proposals(cells, bodies, told, np.random.default_rng(seed)))
    if not len(proposals):
        return None
    order = plane_scores(proposals, cells, bodies, tilt).cost.argsort(kind="stable")
    grounds = []
    for plane in _different(proposals[order], _POLISHED):
        seen = _polished(plane, cells, bodies, tilt)
        # Where depth does not carry the plane, the few cells that happen to lie on it are no evidence.
        grounds.append(seen if seen is not None or not len(bodies) else _polished(plane, NO_CELLS, bodies, tilt))
    possible = [ground for ground in grounds if ground is not None]
    if not possible:
        return None
    planes = np.array([[*ground.normal, ground.offset_m] for ground in possible])
    costs = plane_scores(planes, cells, bodies, tilt).cost
    best = possible[int(costs.argmin())]
    return replace(best, offset_std_m=math.hypot(best.offset_std_m, scale_std * best.offset_m))


def foot_clearance(people: Sequence[Person], ground: Ground) -> dict[int, float]:
    """Height of each person's lowest vertex above the ground by id, metres: positive floating, negative sunk.

    NaN for a person whose vertices are not all finite.
    """
    return {
        person.id: float((np.asarray(person.vertices_m, dtype=np.float64) @ ground.normal).min() + ground.offset_m)
        if len(person.vertices_m)
        else math.nan
        for person in people
    }


def _polished(plane: Float[np.ndarray, "4"], cells: DepthCells, bodies: BodyEvidence, tilt: Level) -> Ground | None:
    """The ground near a proposal, where enough speaks for it."""
    normal, offset, covariance = minimum_near(plane, cells, bodies, tilt)
    found = np.array([[*normal, offset]])
    if not len(_possible(found)):
        return None
    up_std_deg = math.degrees(math.sqrt(0.5 * float(np.trace(covariance[:2, :2]))))
    offset_std = math.sqrt(float(covariance[2, 2]))
    if not len(cells):
        sure = up_std_deg <= _MOST_UP_STD_DEG
        return Ground(normal, offset, offset_std, up_std_deg, 0.0, "people") if sure else None
    share = float(plane_scores(found, cells, bodies).share[0])
    # A wall before a camera that looks up is the floor before one that looks down, but for the rest of the picture.
    alone = _LEAST_SHARE_ALONE * (1 + (float(roll_and_pitch(normal)[1]) / _STEEP) ** 2)
    if share < (_LEAST_SHARE if len(bodies) else alone):
        return None
    return Ground(normal, offset, offset_std, up_std_deg, share, "ground")


def _possible(planes: Float[np.ndarray, "H 4"]) -> Float[np.ndarray, "H 4"]:
    """Planes that a camera can have under it."""
    roll, pitch = roll_and_pitch(planes[:, :3])
    fine = (np.abs(roll) <= _MOST_ROLL) & (np.abs(pitch) <= _MOST_PITCH)
    return planes[fine & (planes[:, 3] >= _NEAREST_M) & (planes[:, 3] <= _FARTHEST_M)]


def _different(planes: Float[np.ndarray, "H 4"], count: int) -> list[np.ndarray]:
    """The first few that are no near copies of one before."""
    kept: list[np.ndarray] = []
    for plane in planes:
        if all(plane[:3] @ other[:3] < 0.997 or abs(math.log(plane[3] / other[3])) > 0.08 for other in kept):
            kept.append(plane)
            if len(kept) == count:
                break
    return kept


def _proposals(
    cells: DepthCells, bodies: BodyEvidence, told: Float[np.ndarray, "T 3"], generator: np.random.Generator
) -> Float[np.ndarray, "H 4"]:
    parts = [np.zeros((0, 4))]
    level = np.array([[0.0, -math.cos(p), -math.sin(p)] for p in np.radians([0.0, 15.0, 30.0, 45.0])])
    upright = bodies.axes[np.isfinite(bodies.axis_std)]
    mean = upright.sum(0, keepdims=True)
    ups = np.concatenate([upright, mean / max(float(np.linalg.norm(mean)), 1e-9), told, level])
    ups = np.concatenate([ups, _along_feet(ups, bodies)])
    parts.append(_through_feet(ups, bodies))
    if len(cells):
        near = _possible(cells.planes)
        parts.append(near[generator.permutation(len(near))[:_LOCAL_PLANES]])
        parts.append(_through_triples(cells, generator))
        parts.append(_at_heights(ups, cells))
    return np.concatenate(parts)


def _along_feet(ups: Float[np.ndarray, "U 3"], bodies: BodyEvidence) -> Float[np.ndarray, "U 3"]:
    """The directions turned so that the line through the feet of two people lies flat, and the normal of three."""
    if len(bodies) < 2:
        return ups[:0]
    feet = _lowest(ups.mean(0), bodies)
    flat = feet - feet.mean(0)
    _, sizes, axes = np.linalg.svd(flat, full_matrices=True)
    turned = ups - np.outer(ups @ axes[0], axes[0])
    turned = turned / np.maximum(np.linalg.norm(turned, axis=1, keepdims=True), 1e-9)
    if len(bodies) > 2 and sizes[1] > 0.3:
        normal = axes[2] if axes[2] @ ups.mean(0) > 0 else -axes[2]
        turned = np.concatenate([turned, normal[None]])
    return turned


def _through_feet(ups: Float[np.ndarray, "U 3"], bodies: BodyEvidence) -> Float[np.ndarray, "UP 4"]:
    """For every direction a plane through everybody's lowest point."""
    planes = []
    for up in ups:
        for hull in bodies.hull_m:
            planes.append([*up, -float((hull @ up).min())])
    return np.array(planes).reshape(-1, 4)


def _lowest(up: Float[np.ndarray, "3"], bodies: BodyEvidence) -> Float[np.ndarray, "P 3"]:
    return np.array([hull[(hull @ up).argmin()] for hull in bodies.hull_m])


def _through_triples(cells: DepthCells, generator: np.random.Generator) -> Float[np.ndarray, "H 4"]:
    a, b, c = cells.points_m[generator.integers(len(cells), size=(3, 4 * _TRIPLES))].astype(np.float64)
    normals = np.cross(b - a, c - a)
    length = np.linalg.norm(normals, axis=1)
    fine = length > 1e-9
    normals = normals[fine] / length[fine, None]
    offsets = -(normals * a[fine]).sum(1)
    sign = np.where(offsets < 0, -1.0, 1.0)
    return _possible(np.column_stack([normals * sign[:, None], offsets * sign]))[:_TRIPLES]


def _at_heights(ups: Float[np.ndarray, "U 3"], cells: DepthCells) -> Float[np.ndarray, "H 4"]:
    """For every direction the heights at which most points lie."""
    planes = []
    edges = np.exp(np.arange(math.log(_NEAREST_M), math.log(_FARTHEST_M), 0.08))
    for up in ups:
        count, _ = np.histogram(-(cells.points_m @ up), bins=edges, weights=cells.weight)
        for peak in np.argsort(-count, kind="stable")[:_HEIGHTS_PER_UP]:
            if count[peak] > 0:
                planes.append([*up, math.sqrt(edges[peak] * edges[peak + 1])])
    return np.array(planes).reshape(-1, 4)
