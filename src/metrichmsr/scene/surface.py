"""The scene as something to look at: a textured triangle mesh or a coloured point cloud of a depth map.

Convention: camera frame (OpenCV), metres. A vertex stands at the middle of its pixel, at that pixel's depth. ``uv`` is
glTF's: (0, 0) is the outer corner of the top-left pixel, (1, 1) that of the bottom-right one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from metrichmsr.structures import Camera, Person

MAX_TRIANGLES = 300_000
MAX_POINTS = 400_000

# Farther "depth" is sky in the words of a network.
_FARTHEST_M = 150.0
_LEAST_CONFIDENCE = 0.15

# Between neighbours of the grid depth may jump by this share; by more where the surface goes on that way: inverse
# depth of a plane changes evenly over the picture, however slanted it is seen.
_JUMP = 0.05
_UNEVEN = 3.0
_HALF_WINDOW = 4
# Nearly along the line of sight nothing is seen of a surface: this many metres deeper on one aside.
_STEEPEST = 25.0

# Connected parts with fewer vertices than this share of the grid are flying specks.
_ISLAND, _LEAST_ISLAND = 4e-4, 12

# People's outlines are blurred in photo and depth by about this share of the picture's long side.
_OUTLINE = 0.004
# Where the rendered body and the depth differ by more, the pixel shows something else, in front or far behind.
_SAME_SURFACE = 0.15


@dataclass(frozen=True)
class SceneSurface:
    """A textured mesh; the photo is its texture."""

    vertices_m: Float[np.ndarray, "V 3"]
    """Camera frame, metres, float32."""
    faces: Int[np.ndarray, "F 3"]
    """Counter-clockwise seen from the camera."""
    uv: Float[np.ndarray, "V 2"]
    """Place in the photo, from 0 to 1, v downwards."""


@dataclass(frozen=True)
class ScenePoints:
    """A coloured point cloud."""

    points_m: Float[np.ndarray, "N 3"]
    """Camera frame, metres, float32."""
    colors: UInt8[np.ndarray, "N 3"]
    """sRGB."""


class _Grid(NamedTuple):
    """Every stride-th pixel of the depth map."""

    rows: Int[np.ndarray, "h"]
    columns: Int[np.ndarray, "w"]
    depth_m: Float[np.ndarray, "h w"]
    used: Bool[np.ndarray, "h w"]


def segmented(people: Sequence[Person], shape: tuple[int, ...]) -> Bool[np.ndarray, "H W"]:
    """Pixels of anybody's own mask; masks of another size are passed over."""
    shown = np.zeros(shape, dtype=bool)
    for person in people:
        if person.mask is not None and person.mask.shape == shown.shape:
            shown |= person.mask
    return shown


def people_pixels(
    people: Sequence[Person],
    depth_m: Float[np.ndarray, "H W"],
    anchor_m: Float[np.ndarray, "H W"] | None = None,
) -> Bool[np.ndarray, "H W"]:
    """Pixels of the depth map that show the recovered people, with their blurred outlines.

    A scene that kept them would show everybody twice: as a body, and as a flat ghost with a torn edge around it.

    Args:
        people: their masks tell where they are seen.
        depth_m: of the scene, metres.
        anchor_m: rendered depth of the bodies, NaN elsewhere. It adds pixels whose depth is near the body's; what
            stands in front of somebody stays.
    """
    shown = segmented(people, depth_m.shape)
    if anchor_m is not None:
        with np.errstate(invalid="ignore", divide="ignore"):
            shown |= np.abs(np.log(depth_m / anchor_m)) < _SAME_SURFACE
    if not shown.any():
        return shown
    reach = max(1, round(_OUTLINE * max(shown.shape)))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    return cv2.dilate(shown.astype(np.uint8), kernel) > 0


def scene_mesh(
    depth_m: Float[np.ndarray, "H W"],
    camera: Camera,
    *,
    confidence: Float[np.ndarray, "H W"] | None = None,
    exclude: Bool[np.ndarray, "H W"] | None = None,
    max_triangles: int = MAX_TRIANGLES,
) -> SceneSurface:
    """Triangles between neighbouring pixels of the depth map, cut where depth jumps.

    Unknown, far and doubtful pixels and specks are left out; what the photo does not show, behind people and things,
    stays open. Nothing usable gives an empty mesh.

    Args:
        depth_m: z-depth at the camera's resolution, metres; NaN where unknown.
        camera: the picture's camera.
        confidence: of the depth, in [0, 1].
        exclude: pixels to leave out, see :func:`people_pixels`.
        max_triangles: decides how many pixels are stepped over.

    Raises:
        ValueError: a map has another size than the camera's picture, or the limit is below 2.
    """
    if max_triangles < 2:
        raise ValueError(f"max_triangles must be at least 2, not {max_triangles}")
    grid = _grid(depth_m, camera, confidence, exclude, max_triangles / 2)
    across, down, falling, rising = _kept_edges(grid, camera)
    used = _without_islands(grid.used, across, down)
    faces = _triangles(grid, used, across, down, falling, rising)
    number = np.zeros(used.size, dtype=np.int64)
    kept = np.zeros(used.size, dtype=bool)
    kept[faces.ravel()] = True
    number[kept] = np.arange(int(kept.sum()))
    row, column = (index.ravel()[kept] for index in np.meshgrid(grid.rows, grid.columns, indexing="ij"))
    uv = np.stack([(column + 0.5) / camera.width, (row + 0.5) / camera.height], axis=1)
    vertices = _unprojected(column + 0.5, row + 0.5, grid.depth_m.ravel()[kept], camera)
    return SceneSurface(vertices, number[faces].astype(np.int32), uv.astype(np.float32))


def scene_points(
    image: UInt8[np.ndarray, "H W 3"],
    depth_m: Float[np.ndarray, "H W"],
    camera: Camera,
    *,
    confidence: Float[np.ndarray, "H W"] | None = None,
    exclude: Bool[np.ndarray, "H W"] | None = None,
    max_points: int = MAX_POINTS,
) -> ScenePoints:
    """Coloured points of the depth map: the same pixels as :func:`scene_mesh` keeps, without those between surfaces.

    Args:
        image: the photo, RGB.
        depth_m: z-depth at the image's resolution, metres; NaN where unknown.
        camera: the picture's camera.
        confidence: of the depth, in [0, 1].
        exclude: pixels to leave out.
        max_points: decides how many pixels are stepped over.

    Raises:
        ValueError: image or a map has another size than the camera's picture, or the limit is below 1.
    """
    if max_points < 1:
        raise ValueError(f"max_points must be at least 1, not {max_points}")
    if image.shape[:2] != (camera.height, camera.width):
        raise ValueError(f"image is {image.shape[:2]}, the camera's picture {(camera.height, camera.width)}")
    grid = _grid(depth_m, camera, confidence, exclude, max_points)
    across, down, _, _ = _kept_edges(grid, camera)
    used = _without_islands(grid.used, across, down)
    row, column = (index[used] for index in np.meshgrid(grid.rows, grid.columns, indexing="ij"))
    points = _unprojected(column + 0.5, row + 0.5, grid.depth_m[used], camera)
    return ScenePoints(points, image[row, column])


def _grid(
    depth_m: np.ndarray, camera: Camera, confidence: np.ndarray | None, exclude: np.ndarray | None, most: float
) -> _Grid:
    size = (camera.height, camera.width)
    for name, array in (("depth_m", depth_m), ("confidence", confidence), ("exclude", exclude)):
        if array is not None and array.shape != size:
            raise ValueError(f"{name} is {array.shape}, the camera's picture {size} (height, width)")
    stride = max(1, math.ceil(math.sqrt(size[0] * size[1] / most)))
    while math.prod(max(1, len(range(stride // 2, length, stride))) for length in size) > most:
        stride += 1
    rows, columns = (np.arange(min(stride // 2, length - 1), length, stride) for length in size)
    take = np.ix_(rows, columns)
    depth = np.asarray(depth_m[take], dtype=np.float32)
    with np.errstate(invalid="ignore"):
        used = (depth > 0) & (depth < _FARTHEST_M)
        if confidence is not None:
            used &= confidence[take] >= _LEAST_CONFIDENCE
    if exclude is not None:
        used &= ~exclude[take]
    return _Grid(rows, columns, np.where(used, depth, 1).astype(np.float32), used)


def _kept_edges(grid: _Grid, camera: Camera) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Which neighbours belong to one surface: across, down, and both diagonals (falling and rising to the right)."""
    z, used = grid.depth_m, grid.used
    stride = int(grid.rows[1] - grid.rows[0]) if len(grid.rows) > 1 else 1
    aside = stride / camera.focal_px

    def kept(a: tuple[slice, slice], b: tuple[slice, slice], axis: int, length: float) -> np.ndarray:
        nearer, farther = np.minimum(z[a], z[b]), np.maximum(z[a], z[b])
        step = np.abs(1 / z[b] - 1 / z[a])
        both = used[a] & used[b]
        usual = _usual_step(np.where(both, step, np.inf), axis)
        even = step <= _UNEVEN * usual
        # |Δz| against the way aside at the nearer end, which is what a viewer would see of the surface.
        seen = (farther - nearer) <= _STEEPEST * length * aside * nearer
        return both & ((farther <= nearer * (1 + _JUMP)) | (even & seen))

    first, second, every = slice(None, -1), slice(1, None), slice(None)
    across = kept((every, first), (every, second), 1, 1.0)
    down = kept((first, every), (second, every), 0, 1.0)
    falling = kept((first, first), (second, second), 1, math.sqrt(2))
    rising = kept((second, first), (first, second), 1, math.sqrt(2))
    return across, down, falling, rising


def _usual_step(step: Float[np.ndarray, "h w"], axis: int) -> Float[np.ndarray, "h w"]:
    """The lower quartile of the steps around each along an axis: that of the surface, not of a jump a few pixels wide.

    Where less than half of the surroundings are known, 0.
    """
    if not step.size:
        return step
    count = 2 * _HALF_WINDOW + 1
    padding = [(0, 0), (0, 0)]
    padding[axis] = (_HALF_WINDOW, _HALF_WINDOW)
    padded = np.pad(step, padding, constant_values=np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(padded, count, axis=axis)
    quartile = np.partition(windows, (count // 4, count // 2), axis=-1)
    return np.where(np.isfinite(quartile[..., count // 2]), quartile[..., count // 4], 0)


def _without_islands(used: np.ndarray, across: np.ndarray, down: np.ndarray) -> np.ndarray:
    """Vertices that hang together with many others."""
    height, width = used.shape
    # A picture of twice the size holds the edges between the vertices.
    nodes = np.zeros((2 * height - 1, 2 * width - 1), dtype=np.uint8)
    nodes[::2, ::2] = used
    nodes[::2, 1::2] = across
    nodes[1::2, ::2] = down
    _, labels = cv2.connectedComponents(nodes, connectivity=4)
    part = np.where(used, labels[::2, ::2], 0)
    size = np.bincount(part.ravel())
    size[0] = 0
    return size[part] >= max(_LEAST_ISLAND, _ISLAND * used.size)


def _triangles(
    grid: _Grid, used: np.ndarray, across: np.ndarray, down: np.ndarray, falling: np.ndarray, rising: np.ndarray
) -> Int[np.ndarray, "F 3"]:
    """Up to two triangles a square of the grid, split along the flatter diagonal; vertices counted over the grid."""
    if min(used.shape) < 2:
        return np.zeros((0, 3), dtype=np.int64)
    index = np.arange(used.size).reshape(used.shape)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
    top, bottom, left, right = across[:-1], across[1:], down[:, :-1], down[:, 1:]
    w = 1 / grid.depth_m
    by_falling = np.abs(w[:-1, :-1] - w[1:, 1:]) <= np.abs(w[:-1, 1:] - w[1:, :-1])
    # A square with one corner beyond an edge keeps the triangle of the other three, whichever diagonal that takes.
    lower_left, upper_right = left & bottom & falling, top & right & falling
    upper_left, lower_right = top & left & rising, bottom & right & rising
    both_falling, both_rising = lower_left & upper_right, upper_left & lower_right
    use_falling = (both_falling & (by_falling | ~both_rising)) | (
        ~both_falling & ~both_rising & (lower_left | upper_right)
    )
    parts = []
    for mask, corners in (
        (lower_left & use_falling, (a, c, d)),
        (upper_right & use_falling, (a, d, b)),
        (upper_left & ~use_falling, (a, c, b)),
        (lower_right & ~use_falling, (b, c, d)),
    ):
        parts.append(np.stack([corner[mask] for corner in corners], axis=1))
    faces = np.concatenate(parts)
    return faces[used.ravel()[faces].all(1)]


def _unprojected(u: np.ndarray, v: np.ndarray, depth_m: np.ndarray, camera: Camera) -> Float[np.ndarray, "N 3"]:
    rays = np.stack([u, v, np.ones(len(u))], axis=1) @ np.linalg.inv(camera.K).T
    return (rays * depth_m[:, None]).astype(np.float32)
