"""What depth and people say about the ground, brought to a few numbers.

Convention: camera frame, metres. A plane is n·X + d = 0 with n a unit vector on the camera's side (d > 0). On it,
inverse depth is linear in the ray r = K⁻¹[u, v, 1]: 1/z = m·r with m = −n/d. So planes are fitted to inverse depth by
linear least squares, and the mean of inverse depth over a cell of pixels is that at the middle of the cell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float

from metrichmsr.structures import COCO17, Camera, Person

# Cells of the picture that the ground is looked for in: fine enough for a strip of floor, and a few milliseconds.
_CELLS = 3200
_SAMPLES_PER_CELL = 4
# Half the side of the windows in which local planes are fitted, cells.
_HALF_WINDOWS = (2, 5)
# A cell whose inverse depth varies by more than this share has an edge in it.
_EDGE_SHARE = 0.25
_LEAST_CONFIDENCE = 0.05

# One sigma of the angle between gravity and the long axis of a standing body, and the trunk of anybody else.
_STANDING_STD = np.radians(7.0)
_TRUNK_STD = np.radians(18.0)
_STRAIGHT_HIP, _STRAIGHT_KNEE = np.radians(35.0), np.radians(40.0)

# A body's distance is never surer than this for our purpose; where nobody says, 10 %.
_RELATIVE_STD = (0.03, 0.3)
_UNKNOWN_RELATIVE_STD = 0.1
_DIRECTIONS = 150


@dataclass(frozen=True)
class DepthCells:
    """The depth map on a coarse grid: N cells with depth and nobody in them."""

    points_m: Float[np.ndarray, "N 3"]
    """Middle of each cell, float32."""
    weight: Float[np.ndarray, "N"]
    """Confidence of each; they sum to 1 unless there are none."""
    normals: Float[np.ndarray, "N 3"]
    """Unit normals of the local planes, towards the camera; NaN where the surroundings are no plane."""
    planes: Float[np.ndarray, "M 4"]
    """Local planes (n, d) of all windows."""

    def __len__(self) -> int:
        return len(self.weight)


NO_CELLS = DepthCells(
    np.zeros((0, 3), np.float32), np.zeros(0, np.float32), np.zeros((0, 3), np.float32), np.zeros((0, 4))
)
"""No depth at all."""


@dataclass(frozen=True)
class BodyEvidence:
    """What P recovered bodies say."""

    axes: Float[np.ndarray, "P 3"]
    """Unit vector from the feet to the shoulders of who stands, from the hips to the shoulders of others."""
    axis_std: Float[np.ndarray, "P"]
    """One sigma of the angle between axis and gravity, radians."""
    hull_m: tuple[Float[np.ndarray, "V 3"], ...]
    """Outermost vertices of each body: its lowest point in any direction is among them."""
    relative_std: Float[np.ndarray, "P"]
    """One sigma of each body's distance, relative to it."""

    def __len__(self) -> int:
        return len(self.axis_std)


def depth_cells(
    depth_m: Float[np.ndarray, "H W"],
    camera: Camera,
    *,
    confidence: Float[np.ndarray, "H W"] | None = None,
    person_mask: Bool[np.ndarray, "H W"] | None = None,
) -> DepthCells:
    """Depth on a grid of about 3,200 cells, with local planes.

    Args:
        depth_m: z-depth, metres; NaN (or anything not positive) where unknown.
        camera: pinhole camera of the depth map.
        confidence: of the depth, in [0, 1].
        person_mask: pixels to leave out.
    """
    height, width = depth_m.shape
    scale = min(1.0, (_CELLS / (height * width)) ** 0.5)
    columns, rows = max(2, round(width * scale)), max(2, round(height * scale))
    # Of large maps the middle pixel of every block will do.
    step = (int(1 / (scale * _SAMPLES_PER_CELL)) + 1) // 2 * 2 - 1
    step = step if step > 1 and min(height, width) > 8 * step else 1
    height, width = height // step, width // step

    def samples_of(pixels: np.ndarray) -> np.ndarray:
        return pixels[step // 2 :: step, step // 2 :: step][:height, :width]

    def cells_of(samples: np.ndarray) -> np.ndarray:
        return cv2.resize(
            np.ascontiguousarray(samples, dtype=np.float32), (columns, rows), interpolation=cv2.INTER_AREA
        )

    depth = samples_of(depth_m)
    with np.errstate(invalid="ignore", divide="ignore"):
        known = np.isfinite(depth) & (depth > 0)
        if person_mask is not None:
            known &= ~samples_of(person_mask)
        inverse = np.where(known, np.float32(1) / depth.astype(np.float32, copy=False), np.float32(0))
    share = cells_of(known)
    used = share > 0.5
    share = np.where(used, share, 1)
    mean = cells_of(inverse) / share
    spread = np.maximum(cells_of(inverse * inverse) / share - mean**2, 0)
    used &= (mean > 0) & (spread < (_EDGE_SHARE * mean) ** 2)
    weight = used.astype(np.float32)
    if confidence is not None:
        sure = cells_of(np.nan_to_num(np.where(known, samples_of(confidence), 0))) / share
        weight *= np.clip(sure, 0, 1)
        used &= weight > _LEAST_CONFIDENCE
        weight *= used
    rays = _cell_rays(camera, rows, columns, width * step, height * step)
    planes = [_local_planes(mean * used, used, rays, half) for half in _HALF_WINDOWS]
    fine, fine_planes = planes[0]
    total = float(weight.sum())
    every = np.concatenate(
        [fine_planes[np.isfinite(fine_planes).all(-1)], *(p[np.isfinite(p).all(-1)] for _, p in planes[1:])]
    )
    return DepthCells(
        points_m=rays[used] / mean[used][:, None],
        weight=weight[used] / total if total else weight[used],
        normals=fine[used],
        planes=every,
    )


def _cell_rays(camera: Camera, rows: int, columns: int, width: int, height: int) -> Float[np.ndarray, "h w 3"]:
    u = (np.arange(columns) + 0.5) * (width / columns)
    v = (np.arange(rows) + 0.5) * (height / rows)
    (fx, skew, cx), (_, fy, cy) = camera.K[0], camera.K[1, :]
    y = np.broadcast_to(((v - cy) / fy)[:, None], (rows, columns))
    x = (u[None] - cx - skew * y) / fx
    return np.stack([x, y, np.ones_like(x)], axis=-1).astype(np.float32)


def _local_planes(
    inverse: Float[np.ndarray, "h w"], used: Bool[np.ndarray, "h w"], rays: Float[np.ndarray, "h w 3"], half: int
) -> tuple[Float[np.ndarray, "h w 3"], Float[np.ndarray, "h w 4"]]:
    """Normals and planes (n, d) fitted to the window around each cell; NaN where it holds no plane."""
    size = (2 * half + 1, 2 * half + 1)

    def window(values: np.ndarray) -> np.ndarray:
        return cv2.boxFilter(
            np.ascontiguousarray(values, dtype=np.float64), -1, size, normalize=False, borderType=cv2.BORDER_CONSTANT
        )

    ones = used.astype(np.float64)
    # Relative to the middle cell the sums stay well conditioned in narrow fields of view.
    x, y = rays[..., 0].astype(np.float64), rays[..., 1].astype(np.float64)
    n = window(ones)
    count = np.maximum(n, 1)
    mx, my, mw = window(ones * x) / count, window(ones * y) / count, window(inverse) / count
    xx, xy, yy = (window(ones * a * b) / count - c for a, b, c in ((x, x, mx * mx), (x, y, mx * my), (y, y, my * my)))
    xw, yw = window(inverse * x) / count - mx * mw, window(inverse * y) / count - my * mw
    ww = window(inverse.astype(np.float64) ** 2) / count - mw * mw
    determinant = xx * yy - xy * xy
    enough = used & (n >= 0.5 * size[0] * size[1]) & (determinant > 1e-3 * (xx + yy) ** 2) & (mw > 0)
    determinant = np.where(enough, determinant, 1)
    a, b = (yy * xw - xy * yw) / determinant, (xx * yw - xy * xw) / determinant
    m = np.stack([a, b, mw - a * mx - b * my], axis=-1)
    left = np.maximum(ww - a * xw - b * yw, 0)
    enough &= left < (0.1 * mw) ** 2
    length = np.linalg.norm(m, axis=-1)
    enough &= length > 1e-6
    length = np.where(enough, length, 1)
    normals = np.where(enough[..., None], -m / length[..., None], np.nan)
    planes = np.concatenate([normals, 1 / length[..., None]], axis=-1)
    return normals.astype(np.float32), planes


def body_evidence(people: Sequence[Person]) -> BodyEvidence:
    """Axes and outermost vertices of bodies; people whose vertices are not all finite are left out."""
    people = [person for person in people if len(person.vertices_m) and np.isfinite(person.vertices_m).all()]
    axes, stds = zip(*(_axis(person.keypoints_3d_m) for person in people), strict=True) if people else ((), ())
    directions = _sphere(_DIRECTIONS)
    hulls = []
    for person in people:
        vertices = np.asarray(person.vertices_m, dtype=np.float32)
        hulls.append(person.vertices_m[np.unique((directions @ vertices.T).argmax(1))].astype(np.float64))
    relative = np.array([person.distance_std_m / max(person.distance_m, 1e-6) for person in people], dtype=np.float64)
    relative = np.where(np.isfinite(relative) & (relative > 0), relative, _UNKNOWN_RELATIVE_STD)
    return BodyEvidence(
        axes=np.array(axes, dtype=np.float64).reshape(-1, 3),
        axis_std=np.array(stds, dtype=np.float64),
        hull_m=tuple(hulls),
        relative_std=np.clip(relative, *_RELATIVE_STD),
    )


def _axis(keypoints_m: Float[np.ndarray, "17 3"]) -> tuple[Float[np.ndarray, "3"], float]:
    """Axis of a body and its sigma; sigma is infinite where the keypoints tell none."""

    def middle(part: str) -> np.ndarray:
        rows = [COCO17.index(f"{side}_{part}") for side in ("left", "right")]
        return np.asarray(keypoints_m, dtype=np.float64)[rows].mean(0)

    shoulders, hips, knees, ankles = (middle(part) for part in ("shoulder", "hip", "knee", "ankle"))
    trunk, thighs, shins = shoulders - hips, hips - knees, knees - ankles
    if not np.isfinite(trunk).all() or not np.linalg.norm(trunk) > 1e-3:
        return np.array([0.0, -1.0, 0.0]), np.inf
    hip, knee = _angle(trunk, thighs), _angle(thighs, shins)
    if hip < _STRAIGHT_HIP and knee < _STRAIGHT_KNEE:
        axis = shoulders - ankles
        return axis / np.linalg.norm(axis), float(np.hypot(_STANDING_STD, 0.25 * max(hip, knee / 2)))
    return trunk / np.linalg.norm(trunk), float(_TRUNK_STD)


def _angle(a: np.ndarray, b: np.ndarray) -> float:
    size = np.linalg.norm(a) * np.linalg.norm(b)
    return float(np.arccos(np.clip(a @ b / size, -1, 1))) if np.isfinite(size) and size > 0 else np.inf


def _sphere(count: int) -> Float[np.ndarray, "N 3"]:
    """Directions spread evenly over the sphere (Fibonacci lattice)."""
    k = np.arange(count) + 0.5
    z = 1 - 2 * k / count
    turn = np.pi * (1 + 5**0.5) * k
    around = np.sqrt(1 - z * z)
    return np.stack([around * np.cos(turn), around * np.sin(turn), z], axis=1).astype(np.float32)
