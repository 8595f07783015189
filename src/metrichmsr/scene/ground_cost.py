"""What speaks for and against a plane being the ground: one cost, and its minimum near a start.

The cost is a negative log-likelihood in nats, of rough but robust parts, each with a cap so that none decides alone:

| part | says | at most |
| --- | --- | --- |
| depth | much of the picture lies on the plane, with fitting local normals | gains 18 |
| below | hardly anything lies below it (a table has a floor below) | costs 12 |
| feet | everybody's lowest point is on it; a little above happens (jumping, on a bed) | 2.5 a person |
|  | far above is rare, below it hardly possible | 5 and 12 a person |
| bodies | standing bodies are upright, trunks roughly | 3.5 a person |
| camera | cameras are held level: roll little, pitch loosely; or as the picture tells (:class:`Tilt`) | – |
| height | cameras are held by people | 3 |
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from metrichmsr.calibration.estimators import UpEstimate
from metrichmsr.scene.ground_evidence import BodyEvidence, DepthCells

_DEPTH_GAIN, _DEPTH_SHARE, _DEPTH_GAIN_OF_ALL = 10.0, 0.08, 8.0
_BELOW_COST, _BELOW_SHARE = 12.0, 0.04
_FEET_BELOW_CAP, _FEET_ABOVE_CAP, _FEET_FAR_ABOVE = 12.0, 2.5, 2.5
_FAR_ABOVE_M = (0.5, 1.5)
_BODY_CAP = 3.5
_ROLL_STD, _PITCH_STD = np.radians(6.0), np.radians(30.0)
_HEIGHT_M, _LOG_HEIGHT_STD, _HEIGHT_CAP = 1.4, 0.9, 3.0

# How far a point of the ground may seem off it: an error of depth of x % moves it by x % of the camera's height.
_TOLERANCE_M, _TOLERANCE_SHARE = 0.04, 0.2
_CLOSE = 5.0
_TOLERANCE_SIGMAS, _LEAST_TOLERANCE_SHARE = 3.5, 0.04
_FEET_STD_M = 0.05
_NORMALS_AGREE, _NORMALS_DIFFER = np.cos(np.radians(10.0)), np.cos(np.radians(32.0))

# Errors of depth are smooth: a floor full of pixels is worth so many independent readings.
_READINGS = 15.0
_LEAST_RELATIVE_ERROR, _UNSEEN = 0.03, 1.5
_STEPS, _LONGEST_TILT, _LONGEST_SHIFT = 8, 0.3, 0.6


class Pull(NamedTuple):
    """A residual, radians, and its weight: the derivative of its cost divided by it."""

    residual: float
    weight: float


class Level:
    """How cameras are held where nothing is told: rolled little, pitched loosely."""

    def cost(self, roll: np.ndarray, pitch: np.ndarray) -> np.ndarray:
        """Nats: log(1 + (r/σ)²) and |p|/σ."""
        return np.log1p((roll / _ROLL_STD) ** 2) + np.abs(pitch) / _PITCH_STD

    def pulls(self, roll: float, pitch: float) -> tuple[Pull, Pull]:
        """Of roll and pitch; that of |p| is rounded at 0."""
        return (
            Pull(roll, 2 / (1 + (roll / _ROLL_STD) ** 2) / _ROLL_STD**2),
            Pull(pitch, 1 / max(abs(pitch), _PITCH_STD) / _PITCH_STD),
        )


@dataclass(frozen=True)
class Tilt(Level):
    """How one camera is held, as its picture tells; radians."""

    roll: float
    pitch: float
    roll_std: float
    pitch_std: float

    @classmethod
    def of(cls, up: UpEstimate) -> Tilt:
        """As an estimate from the picture has it."""
        roll, pitch = roll_and_pitch(up.direction)
        return cls(float(roll), float(pitch), np.radians(up.roll_std_deg), np.radians(up.pitch_std_deg))

    def cost(self, roll: np.ndarray, pitch: np.ndarray) -> np.ndarray:
        """Nats: those of Student's t with three degrees of freedom, 2·log(1 + (r/σ)²/3)."""
        z = ((roll - self.roll) / self.roll_std) ** 2, ((pitch - self.pitch) / self.pitch_std) ** 2
        return 2 * np.log1p(z[0] / 3) + 2 * np.log1p(z[1] / 3)

    def pulls(self, roll: float, pitch: float) -> tuple[Pull, Pull]:
        """Towards what is told."""
        r, p = roll - self.roll, pitch - self.pitch
        return Pull(r, 4 / (3 * self.roll_std**2 + r**2)), Pull(p, 4 / (3 * self.pitch_std**2 + p**2))


LEVEL = Level()


class Scores(NamedTuple):
    """The cost of H planes and what it is made of."""

    cost: Float[np.ndarray, "H"]
    """Nats, the lower the likelier."""
    share: Float[np.ndarray, "H"]
    """Weighted share of the cells that lie on each plane."""


class Minimum(NamedTuple):
    """A plane that the evidence agrees on best in its neighbourhood."""

    normal: Float[np.ndarray, "3"]
    offset_m: float
    covariance: Float[np.ndarray, "3 3"]
    """Of the normal's two tilts (radians) and the offset (metres)."""


def roll_and_pitch(up: Float[np.ndarray, "*B 3"]) -> tuple[Float[np.ndarray, "*B"], Float[np.ndarray, "*B"]]:
    """Roll and pitch, radians, of a camera that sees this unit vector as up.

    Roll is positive clockwise, where the camera's right side is low; pitch is positive upwards.
    """
    x, y, z = up[..., 0], up[..., 1], up[..., 2]
    return np.arctan2(-x, -y), np.arctan2(z, np.hypot(x, y))


def plane_scores(
    planes: Float[np.ndarray, "H 4"], cells: DepthCells, bodies: BodyEvidence, tilt: Level = LEVEL
) -> Scores:
    """Cost of planes (n, d); ``tilt``: how the camera is held, where the picture tells."""
    normals, offsets = planes[:, :3], planes[:, 3]
    cost, share = np.zeros(len(planes)), np.zeros(len(planes))
    if len(cells):
        share, below = _depth_shares(planes, cells)
        # A strip of floor is nearly as good as a hall, but not quite.
        cost -= _DEPTH_GAIN * (1 - np.exp(-share / _DEPTH_SHARE)) + _DEPTH_GAIN_OF_ALL * share
        cost += _BELOW_COST * (1 - np.exp(-below / _BELOW_SHARE))
    for i, hull in enumerate(bodies.hull_m):
        clearance = (normals @ hull.T).min(1) + offsets
        z = clearance / np.hypot(_FEET_STD_M, bodies.relative_std[i] * offsets)
        cap = np.where(z < 0, _FEET_BELOW_CAP, _FEET_ABOVE_CAP)
        cost += cap * (1 - np.exp(-0.5 * z * z / cap))
        cost += _FEET_FAR_ABOVE * np.clip((clearance - _FAR_ABOVE_M[0]) / (_FAR_ABOVE_M[1] - _FAR_ABOVE_M[0]), 0, 1)
        if np.isfinite(bodies.axis_std[i]):
            lean = np.arccos(np.clip(normals @ bodies.axes[i], -1, 1)) / bodies.axis_std[i]
            cost += _BODY_CAP * (1 - np.exp(-0.5 * lean * lean / _BODY_CAP))
    roll, pitch = roll_and_pitch(normals)
    cost += tilt.cost(roll, pitch)
    height = np.log(np.maximum(offsets, 1e-6) / _HEIGHT_M) / _LOG_HEIGHT_STD
    return Scores(cost + np.minimum(0.5 * height**2, _HEIGHT_CAP), share)


def _depth_shares(planes: np.ndarray, cells: DepthCells) -> tuple[np.ndarray, np.ndarray]:
    """Weighted shares of the cells on each plane and below it."""
    normals, offsets = planes[:, :3].astype(np.float32), planes[:, 3].astype(np.float32)
    relative = (cells.points_m @ normals.T + offsets) / (_TOLERANCE_M + _TOLERANCE_SHARE * offsets)
    near = np.maximum(1 - relative * relative, 0)
    # Good depth shall tell a plane through the floor from one along it, bad depth shall find the floor at all.
    closer = np.maximum(1 - (relative * _CLOSE) ** 2, 0)
    on = (0.5 * near * near + 0.5 * closer) * agreement(cells.normals @ normals.T)
    below = np.clip(-relative - 1, 0, 1)
    weight = cells.weight.astype(np.float32)
    return (weight @ on).astype(np.float64), (weight @ below).astype(np.float64)


def agreement(cosine: np.ndarray) -> np.ndarray:
    """From 1 for parallel normals to 0 for different ones; ½ where a local normal is unknown."""
    share = np.clip((cosine - _NORMALS_DIFFER) / (_NORMALS_AGREE - _NORMALS_DIFFER), 0, 1)
    return np.where(np.isnan(share), 0.5, share)


def minimum_near(
    plane: Float[np.ndarray, "4"], cells: DepthCells, bodies: BodyEvidence, tilt: Level = LEVEL
) -> Minimum:
    """Iteratively reweighted least squares from a start: the kernels that cap the costs become weights."""
    normal, offset = plane[:3] / np.linalg.norm(plane[:3]), float(plane[3])
    hessian = np.eye(3)
    for step in range(_STEPS + 1):
        tangents = _tangents(normal)
        hessian, gradient = _camera_terms(normal, offset, tangents, tilt)
        for part in (_depth_terms, _body_terms):
            more_hessian, more_gradient = part(normal, offset, tangents, cells, bodies, step)
            hessian += more_hessian
            gradient += more_gradient
        if step == _STEPS:
            break
        move = -np.linalg.solve(hessian, gradient)
        # Tilt and offset belong together (people stand metres away): a step that is too long is shortened as a whole.
        move /= max(1.0, np.abs(move[:2]).max() / _LONGEST_TILT, abs(move[2]) / (_LONGEST_SHIFT * offset))
        normal = normal + move[:2] @ tangents
        normal = normal / np.linalg.norm(normal)
        offset += float(move[2])
    return Minimum(normal, offset, np.linalg.inv(hessian))


def _tangents(normal: np.ndarray) -> Float[np.ndarray, "2 3"]:
    first = np.cross(normal, [0.0, 0.0, 1.0] if abs(normal[2]) < 0.9 else [1.0, 0.0, 0.0])
    first /= np.linalg.norm(first)
    return np.stack([first, np.cross(normal, first)])


def _camera_terms(
    normal: np.ndarray, offset: float, tangents: np.ndarray, tilt: Level
) -> tuple[np.ndarray, np.ndarray]:
    roll, pitch = (float(angle) for angle in roll_and_pitch(normal))
    x, y, z = normal
    across = max(float(np.hypot(x, y)), 1e-3)
    to_roll = np.array([y, -x, 0.0]) / across**2
    to_pitch = np.array([-z * x / across, -z * y / across, across])
    hessian, gradient = np.zeros((3, 3)), np.zeros(3)
    for (value, weight), by_normal in zip(tilt.pulls(roll, pitch), (to_roll, to_pitch), strict=True):
        row = np.append(tangents @ by_normal, 0.0)
        hessian += weight * np.outer(row, row)
        gradient += weight * value * row
    by_offset = 1 / (_LOG_HEIGHT_STD * offset)
    hessian[2, 2] += by_offset**2
    gradient[2] += by_offset * np.log(offset / _HEIGHT_M) / _LOG_HEIGHT_STD
    return hessian, gradient


def _depth_terms(
    normal: np.ndarray, offset: float, tangents: np.ndarray, cells: DepthCells, bodies: BodyEvidence, step: int
) -> tuple[np.ndarray, np.ndarray]:
    if not len(cells):
        return np.zeros((3, 3)), np.zeros(3)
    points = cells.points_m.astype(np.float64)
    heights = points @ normal + offset
    widest = _TOLERANCE_M + _TOLERANCE_SHARE * offset
    agree = cells.weight * agreement(cells.normals @ normal)
    tolerance = min(
        widest,
        max(_TOLERANCE_SIGMAS * _spread(heights, agree, widest), _TOLERANCE_M + _LEAST_TOLERANCE_SHARE * offset),
    )
    near = np.flatnonzero(np.abs(heights) < tolerance)
    points, heights = points[near], heights[near]
    weight = agree[near] * (1 - (heights / tolerance) ** 2) ** 2
    share = float(weight.sum())
    if share <= 0:
        return np.zeros((3, 3)), np.zeros(3)
    readings = _READINGS * share
    error = np.sqrt(float(weight @ heights**2) / share)
    weight *= readings / share / ((_UNSEEN * error) ** 2 + (_LEAST_RELATIVE_ERROR * offset) ** 2)
    rows = np.ones((3, len(points)))
    rows[:2] = tangents @ points.T
    weighted = rows * weight
    return weighted @ rows.T, weighted @ heights


def _spread(heights: np.ndarray, weight: np.ndarray, widest: float) -> float:
    """Sigma of the heights around zero within ``widest``, by the median size of those with a weight to speak of."""
    size = np.abs(heights)
    size = size[(size < widest) & (weight > 0.2 * weight.max())]
    return 1.48 * float(np.median(size)) if len(size) else 0.0


def _body_terms(
    normal: np.ndarray, offset: float, tangents: np.ndarray, cells: DepthCells, bodies: BodyEvidence, step: int
) -> tuple[np.ndarray, np.ndarray]:
    hessian, gradient = np.zeros((3, 3)), np.zeros(3)
    for i, hull in enumerate(bodies.hull_m):
        heights = hull @ normal
        lowest = hull[heights.argmin()]
        clearance = float(heights.min()) + offset
        std = float(np.hypot(_FEET_STD_M, bodies.relative_std[i] * offset))
        cap = _FEET_BELOW_CAP if clearance < 0 else _FEET_ABOVE_CAP
        weight = np.exp(-0.5 * (clearance / std) ** 2 / cap) / std**2
        row = np.append(tangents @ lowest, 1.0)
        hessian += weight * np.outer(row, row)
        gradient += weight * clearance * row
        if not np.isfinite(bodies.axis_std[i]):
            continue
        std = bodies.axis_std[i]
        across = tangents @ bodies.axes[i]
        angle = np.arccos(np.clip(normal @ bodies.axes[i], -1, 1))
        weight = np.exp(-0.5 * (angle / std) ** 2 / _BODY_CAP) / std**2
        # The error is the turn from the axis to the normal, in the plane of both.
        toward = across / max(float(np.linalg.norm(across)), 1e-12) * angle
        hessian[:2, :2] += weight * np.eye(2)
        gradient[:2] -= weight * toward
    return hessian, gradient
