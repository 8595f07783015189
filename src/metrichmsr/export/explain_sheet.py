"""Frames around the pictures of :mod:`~metrichmsr.export.explain_panels`: titles, scales, tables, the sheet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw

from metrichmsr.export.explain_panels import heat_colors
from metrichmsr.export.overlay_text import Font, draw_line, font, text_size, wrap

BACKGROUND = (250, 250, 248)
_INK, _TITLE = "#46484c", "#141518"
_GAP = 18
_MARGIN = 12
_HEAD, _FOOT = 44, 46  # pixels over and under a panel's picture


@dataclass(frozen=True)
class Scale:
    """A colour scale under a panel."""

    low: float
    high: float
    colors: Callable[[np.ndarray, float, float], UInt8[np.ndarray, "N 3"]]
    write: Callable[[float], str]
    """A value as text with its unit."""
    mark: float | None = None
    """A value with a tick of its own, …"""
    mark_text: str = ""
    """… and what it is called."""


@dataclass(frozen=True)
class Panel:
    """A picture with its title above, and a scale or a legend below."""

    picture: UInt8[np.ndarray, "S S 3"]
    title: str
    subtitle: str = ""
    scale: Scale | None = None
    legend: tuple[tuple[tuple[int, int, int] | None, str], ...] = ()
    """Colours and what they mean; None: text alone."""
    color: tuple[int, int, int] | None = None
    """A square of this colour goes before the title."""


def frame(panel: Panel) -> Image.Image:
    """The panel with its title, and its scale or legend."""
    height, width = panel.picture.shape[:2]
    sheet = Image.new("RGB", (width, height + _HEAD + _FOOT), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    indent = 0
    if panel.color is not None:
        draw.rectangle((0, 5, 13, 18), fill=panel.color, outline=_INK)
        indent = 20
    draw_line(draw, (indent, 2), panel.title, _fitting(panel.title, 17, width - indent), _TITLE)
    if panel.subtitle:
        draw_line(draw, (0, 24), panel.subtitle, _fitting(panel.subtitle, 13, width), _INK)
    sheet.paste(Image.fromarray(panel.picture), (0, _HEAD))
    top = _HEAD + height + 6
    if panel.scale is not None:
        _draw_scale(sheet, draw, panel.scale, top, width)
    elif panel.legend:
        _draw_legend(draw, panel.legend, top, width)
    return sheet


def alone(panel: Panel) -> Image.Image:
    """The panel as a picture of its own, with a margin."""
    framed = frame(panel)
    sheet = Image.new("RGB", (framed.width + 2 * _MARGIN, framed.height + _MARGIN), BACKGROUND)
    sheet.paste(framed, (_MARGIN, _MARGIN))
    return sheet


def table(
    values: Float[np.ndarray, "R C"],
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    width: int,
    height: int,
    title: str,
    write: Callable[[float], str],
    low: float,
    high: float,
) -> Image.Image:
    """Numbers with their colours; NaN stays empty."""
    sheet = Image.new("RGB", (width, height), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    draw_line(draw, (0, 2), title, _fitting(title, 14, width), _TITLE)
    face = font(12)
    left = max([text_size(row, face)[0] for row in rows] + [40]) + 8
    top = 42
    row_height = min(22, (height - top) // max(len(rows), 1))
    column_width = (width - left) / max(len(columns), 1)
    for j, name in enumerate(columns):
        fitting = _fitting(name, 12, int(column_width) - 2)
        w, _ = text_size(name, fitting)
        draw_line(draw, (left + (j + 0.5) * column_width - w / 2, 24), name, fitting, _INK)
    for i, name in enumerate(rows):
        y = top + i * row_height
        draw_line(draw, (0, y + (row_height - text_size("", face)[1]) / 2), name, face, _INK)
        for j in range(len(columns)):
            value = float(values[i, j])
            if not np.isfinite(value):
                continue
            color = tuple(int(c) for c in heat_colors(np.array([value]), low, high)[0])
            x = left + j * column_width
            draw.rectangle((x + 1, y + 1, x + column_width - 1, y + row_height - 1), fill=color)
            text = write(value)
            w, h = text_size(text, face)
            ink = "black" if 0.3 * color[0] + 0.6 * color[1] + 0.1 * color[2] > 120 else "white"
            draw_line(draw, (x + (column_width - w) / 2, y + (row_height - h) / 2), text, face, ink)
    return sheet


def stack(pictures: Sequence[Image.Image]) -> Image.Image:
    """Pictures below each other."""
    sheet = Image.new("RGB", (max(p.width for p in pictures), sum(p.height for p in pictures)), BACKGROUND)
    top = 0
    for picture in pictures:
        sheet.paste(picture, (0, top))
        top += picture.height
    return sheet


def join_rows(rows: Sequence[tuple[str, Sequence[Image.Image]]], *, title: str, lines: Sequence[str]) -> Image.Image:
    """The sheet: a title with lines of text, then rows of pictures, each under its heading."""
    width = max(sum(p.width for p in row) + _GAP * (len(row) + 1) for _, row in rows)
    small = font(14)
    wrapped = [part for line in lines for part in wrap(line, small, width - 2 * _GAP)]
    line_height = text_size("", small)[1] + 5
    head = _GAP + 36 + line_height * len(wrapped) + 6
    heading = 34
    height = head + sum(heading + max(p.height for p in row) for _, row in rows) + _GAP
    sheet = Image.new("RGB", (width, height), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    draw_line(draw, (_GAP, _GAP), title, _fitting(title, 24, width - 2 * _GAP), _TITLE)
    for i, line in enumerate(wrapped):
        draw_line(draw, (_GAP, _GAP + 36 + i * line_height), line, small, _INK)
    top = head
    for name, row in rows:
        draw.line((_GAP, top + 2, width - _GAP, top + 2), fill="#c8c8c4")
        draw_line(draw, (_GAP, top + 10), name, font(16), "#7a4a00")
        left = _GAP
        for picture in row:
            sheet.paste(picture, (left, top + heading))
            left += picture.width + _GAP
        top += heading + max(p.height for p in row)
    return sheet


def _draw_scale(sheet: Image.Image, draw: ImageDraw.ImageDraw, scale: Scale, top: int, width: int) -> None:
    bar = scale.colors(np.linspace(scale.low, scale.high, width), scale.low, scale.high)
    sheet.paste(Image.fromarray(np.repeat(bar[None], 12, axis=0)), (0, top))
    face = font(12)
    low, high = scale.write(scale.low), scale.write(scale.high)
    below = top + 17
    draw_line(draw, (0, below), low, face, _INK)
    right = width - text_size(high, face)[0]
    draw_line(draw, (right, below), high, face, _INK)
    if scale.mark is None or not scale.low < scale.mark < scale.high:
        return
    at = (scale.mark - scale.low) / (scale.high - scale.low) * width
    draw.line((at, top - 2, at, top + 14), fill="white", width=3)
    draw.line((at, top - 2, at, top + 15), fill="black", width=1)
    w = text_size(scale.mark_text, face)[0]
    first, last = text_size(low, face)[0] + 8, right - w - 8
    if first <= last:
        draw_line(draw, (min(max(at - w / 2, first), last), below), scale.mark_text, face, _INK)


def _draw_legend(
    draw: ImageDraw.ImageDraw, legend: Sequence[tuple[tuple[int, int, int] | None, str]], top: int, width: int
) -> None:
    columns = 2 if len(legend) <= 4 else 4
    face = font(12 if columns == 2 else 10)
    row_height = max(12, min(20, 40 // -(-len(legend) // columns)))
    for i, (color, text) in enumerate(legend):
        if (i // columns + 1) * row_height > _FOOT - 4:
            break  # many experts: the file explain.json has them all
        x, y = (i % columns) * width / columns, top + (i // columns) * row_height
        if color is not None:
            draw.rectangle((x, y + 2, x + 12, y + 12), fill=color, outline=_INK)
        draw_line(draw, (x + (17 if color is not None else 0), y + 1), text, face, _INK)


def _fitting(text: str, size_px: int, width: int) -> Font:
    """The font at this size, or so much smaller that the text fits."""
    size = int(size_px)
    while size > 8 and text_size(text, font(size))[0] > width:
        size -= 1
    return font(size)
