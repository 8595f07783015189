"""Front, side and top view of the people on a metre grid, in the camera frame, with what is around them as dots.

Parallel projections, drawn with a pinhole camera that stands so far away that the difference is less than a pixel.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, ImageDraw

from metrichmsr.export.overlay_meshes import blend_meshes, join_people
from metrichmsr.export.overlay_text import Box, draw_line, font, overlap, text_size
from metrichmsr.export.palette import clay_color, person_color
from metrichmsr.geometry import intrinsics
from metrichmsr.scene.surface import ScenePoints
from metrichmsr.structures import Camera, Person

BACKGROUND = (250, 250, 248)
_INK = "#46484c"
_LINE, _METRE_LINE, _AXIS = (234, 234, 231), (206, 206, 202), (140, 140, 136)
_SIGHT, _SIGHT_FILL = (196, 150, 60), (255, 236, 196, 90)

_TEXT_PX = 12
_LEFT, _TOP, _RIGHT, _BOTTOM = 44, 26, 12, 26  # around the plot, for tick labels and title: pixels at _TEXT_PX
_MARGIN_M = 0.25
_STEPS_M = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
_SMALLEST_STEP_PX = 38

# How far off the pinhole stands, in sizes of what is seen. More would cost depth resolution (float32) among the people.
_FAR_AWAY = 2000.0

# The side view shows the camera where nobody is farther away; else the people would be drawn too small.
_SIDE_WITH_CAMERA_M = 8.0

# The side view shows what is so near the people sideways, the top view what is no higher above their heads: walls and
# ceiling would hide all else. ScenePoints are that much paler than the photo.
_ASIDE_M, _ABOVE_M = 0.6, 0.1
_PALE = 0.45


class View(NamedTuple):
    """A direction to look in."""

    title: str
    names: str
    """What the axes show."""
    axes: tuple[tuple[float, float, float], tuple[float, float, float], tuple[float, float, float]]
    """Camera-frame directions that point right, down and away in the view."""
    up: tuple[float, float, float]
    """What is up in the camera frame, in the view's own frame: where light comes from."""


FRONT = View("front", "x right, y down (m)", ((1, 0, 0), (0, 1, 0), (0, 0, 1)), (0, -1, 0))
SIDE = View("side", "z forward, y down (m)", ((0, 0, 1), (0, 1, 0), (-1, 0, 0)), (0, -1, 0))
TOP = View("top", "x right, z forward (m)", ((1, 0, 0), (0, 0, -1), (0, 1, 0)), (0, 0, -1))


class _Plot(NamedTuple):
    """Where view coordinates (right, down; metres) lie in the plot (pixels)."""

    width: int
    height: int
    center_m: tuple[float, float]
    pixels_per_m: float
    zoom: float
    """How much larger text and lines are than usual."""

    def to_pixels(self, points_m: Sequence[Sequence[float]] | Float[np.ndarray, "N 2"]) -> list[tuple[float, float]]:
        offset = (np.asarray(points_m, dtype=np.float64) - self.center_m) * self.pixels_per_m
        return [(x + self.width / 2, y + self.height / 2) for x, y in offset.tolist()]


def draw_view(
    view: View,
    people: Sequence[Person],
    camera: Camera,
    width: int,
    height: int,
    *,
    dots: ScenePoints | None = None,
    zoom: float = 1.0,
) -> Image.Image:
    """One view as a picture of the given size: title, grid with ticks, camera, surroundings, people with their ids.

    People whose vertices are not all finite are left out. ``dots`` are drawn in the side and the top view. ``zoom``
    enlarges text, lines and dots, for pictures that will be shown smaller than they are.
    """
    axes = np.array(view.axes, dtype=np.float64)
    people = [person for person in people if np.isfinite(person.vertices_m).all()]
    ranges = [(points.min(0), points.max(0)) for points in (p.vertices_m @ axes[:2].T for p in people)]
    left, top = round(zoom * _LEFT), round(zoom * _TOP)
    inside = max(32, width - left - round(zoom * _RIGHT)), max(32, height - top - round(zoom * _BOTTOM))
    plot = _fit(view, ranges, *inside, zoom)
    inner = Image.new("RGB", (plot.width, plot.height), BACKGROUND)
    draw = ImageDraw.Draw(inner, "RGBA")
    if view is not FRONT:
        _draw_sight(draw, plot, view, camera)
    ticks = _draw_grid(draw, plot)
    if people:
        canvas = np.array(inner)
        if dots is not None and view is not FRONT:
            _draw_dots(canvas, dots, people, axes, plot, view)
        _blend_people(canvas, people, axes, plot, view)
        inner = Image.fromarray(canvas)
        _draw_ids(ImageDraw.Draw(inner), plot, people, ranges)
    panel = Image.new("RGB", (width, height), BACKGROUND)
    panel.paste(inner, (left, top))
    _draw_frame(ImageDraw.Draw(panel), plot, view, ticks, (left, top))
    return panel


def _fit(view: View, ranges: Sequence[tuple[np.ndarray, np.ndarray]], width: int, height: int, zoom: float) -> _Plot:
    """The plot that shows all people, and the camera where it belongs."""
    shown = [point for low_high in ranges for point in low_high]
    farthest = max((high[0] for _, high in ranges), default=0.0)
    if view is TOP or (view is SIDE and farthest <= _SIDE_WITH_CAMERA_M) or not shown:
        shown.append(np.zeros(2))
    low, high = np.min(shown, axis=0), np.max(shown, axis=0)
    margin = np.maximum(_MARGIN_M, 0.08 * (high - low))
    span = high - low + 2 * margin
    center = (low + high) / 2
    scale = float(min(width / span[0], height / span[1]))
    return _Plot(width, height, (float(center[0]), float(center[1])), scale, zoom)


def _blend_people(canvas: np.ndarray, people: Sequence[Person], axes: np.ndarray, plot: _Plot, view: View) -> None:
    mesh = join_people(people)
    vertices = mesh.vertices @ torch.from_numpy(axes.T)
    low, high = vertices.amin(0), vertices.amax(0)
    distance = _FAR_AWAY * max(1.0, float((high - low).max()))
    stand = torch.tensor([*plot.center_m, float(low[2] + high[2]) / 2 - distance], dtype=torch.float64)
    focal = plot.pixels_per_m * distance
    K = intrinsics(focal, focal, plot.width / 2, plot.height / 2)
    colors = np.stack([clay_color(person.id) for person in people])
    blend_meshes(canvas, dataclasses.replace(mesh, vertices=vertices - stand), colors, K, up=view.up)


def _draw_dots(
    canvas: np.ndarray, dots: ScenePoints, people: Sequence[Person], axes: np.ndarray, plot: _Plot, view: View
) -> None:
    """Points of the surroundings, the nearest to the viewer on top."""
    vertices = np.concatenate([person.vertices_m for person in people])
    low, high = vertices.min(0), vertices.max(0)
    x, y = dots.points_m[:, 0], dots.points_m[:, 1]
    shown = y > low[1] - _ABOVE_M if view is TOP else (x > low[0] - _ASIDE_M) & (x < high[0] + _ASIDE_M)
    seen = dots.points_m[shown] @ axes.T
    at = (seen[:, :2] - plot.center_m) * plot.pixels_per_m + (plot.width / 2, plot.height / 2)
    order = np.argsort(-seen[:, 2], kind="stable")
    pale = (_PALE * np.array(BACKGROUND) + (1 - _PALE) * dots.colors[shown][order]).astype(np.uint8)
    size = max(1, round(plot.zoom))
    for shift in np.ndindex(size, size):
        column, row = (np.floor(at[order]).astype(int) + shift).T
        inside = (column >= 0) & (column < plot.width) & (row >= 0) & (row < plot.height)
        canvas[row[inside], column[inside]] = pale[inside]


def _draw_grid(draw: ImageDraw.ImageDraw, plot: _Plot) -> tuple[list[tuple[float, float]], ...]:
    """Lines at round distances; returns for both axes the lines as (value in metres, pixel)."""
    smallest = plot.zoom * _SMALLEST_STEP_PX
    step = next((step for step in _STEPS_M if step * plot.pixels_per_m >= smallest), _STEPS_M[-1])
    ticks: list[list[tuple[float, float]]] = []
    for size, middle in zip((plot.width, plot.height), plot.center_m, strict=True):
        half = size / 2 / plot.pixels_per_m
        numbers = range(math.ceil((middle - half) / step), math.floor((middle + half) / step) + 1)
        ticks.append([(n * step, (n * step - middle) * plot.pixels_per_m + size / 2) for n in numbers])
    for axis in (0, 1):
        # Lines at whole metres stand out, and the one through the camera most.
        for value, at in sorted(ticks[axis], key=lambda tick: (tick[0] == 0, abs(tick[0] - round(tick[0])) < 1e-6)):
            color = _AXIS if value == 0 else _METRE_LINE if abs(value - round(value)) < 1e-6 else _LINE
            ends = (at, 0, at, plot.height) if axis == 0 else (0, at, plot.width, at)
            draw.line(ends, fill=color, width=round(plot.zoom))
    return tuple(ticks)


def _draw_sight(draw: ImageDraw.ImageDraw, plot: _Plot, view: View, camera: Camera) -> None:
    """The camera, at the origin, and the borders of what it sees."""
    axis, size = (0, camera.width) if view is TOP else (1, camera.height)
    slopes = [(border - camera.K[axis, 2]) / camera.K[axis, axis] for border in (0, size)]
    reach = 2 * (plot.width + plot.height) / plot.pixels_per_m + abs(plot.center_m[0]) + abs(plot.center_m[1])

    def at(slope: float, forward: float) -> tuple[float, float]:
        return (slope * forward, -forward) if view is TOP else (forward, slope * forward)

    apex, *ends = plot.to_pixels([(0.0, 0.0), *(at(slope, reach) for slope in slopes)])
    draw.polygon([apex, *ends], fill=_SIGHT_FILL)
    for end in ends:
        draw.line([apex, end], fill=_SIGHT, width=round(plot.zoom))
    length = 10 * plot.zoom / plot.pixels_per_m
    draw.polygon(plot.to_pixels([(0.0, 0.0), at(-0.6, length), at(0.6, length)]), fill=_INK)


def _draw_ids(
    draw: ImageDraw.ImageDraw, plot: _Plot, people: Sequence[Person], ranges: Sequence[tuple[np.ndarray, np.ndarray]]
) -> None:
    """Everybody's id in a disc over the head, where another disc is, one row higher."""
    face = font(round(plot.zoom * _TEXT_PX))
    taken: list[Box] = []
    for person, (low, high) in zip(people, ranges, strict=True):
        ((x, top),) = plot.to_pixels([((low[0] + high[0]) / 2, low[1])])
        w, h = text_size(str(person.id), face)
        radius = max(w, h) / 2 + 2
        x = min(max(x, radius + 1), plot.width - radius - 2)
        rows = [max(top - radius - 2 - row * (2 * radius + 1), radius + 1) for row in range(5)]
        boxes = [(x - radius, y - radius, x + radius, y + radius) for y in rows]
        box = next((box for box in boxes if not any(overlap(box, other) for other in taken)), boxes[0])
        taken.append(box)
        draw.ellipse(box, fill="white", outline=person_color(person.id), width=round(2 * plot.zoom))
        draw_line(draw, (x - w / 2 + 0.5, box[1] + radius - h / 2 + 0.5), str(person.id), face, "black")


def _draw_frame(
    draw: ImageDraw.ImageDraw,
    plot: _Plot,
    view: View,
    ticks: tuple[list[tuple[float, float]], ...],
    corner: tuple[int, int],
) -> None:
    """Title, names of the axes and tick labels around the plot, whose upper left corner is given."""
    zoom, (left, top) = plot.zoom, corner
    face = font(round(zoom * _TEXT_PX))
    right, bottom = left + plot.width, top + plot.height
    decimals = 1 if any(value != round(value) for values in ticks for value, _ in values) else 0
    for value, at in ticks[0]:
        text = f"{value:.{decimals}f}" if value else "0"
        w, _ = text_size(text, face)
        draw_line(draw, (left + at - w / 2, bottom + 4 * zoom), text, face, _INK)
    for value, at in ticks[1]:
        # The top view's down is backwards; its ticks count forwards.
        text = f"{-value if view is TOP else value:.{decimals}f}" if value else "0"
        w, h = text_size(text, face)
        draw_line(draw, (left - w - 5 * zoom, top + at - h / 2), text, face, _INK)
    draw.rectangle((left, top, right, bottom), outline=_AXIS, width=round(zoom))
    draw_line(draw, (left, 5 * zoom), view.title, font(round(15 * zoom)), "black")
    w, _ = text_size(view.names, face)
    draw_line(draw, (right - w, 8 * zoom), view.names, face, _INK)
