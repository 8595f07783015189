"""Pictures of what the network saw in a crop and who of its experts worked on what; each without its frame.

All are drawn over the crop as the network sees it, which may be turned against the photo. Pixels are the panel's.
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from PIL import Image, ImageDraw

from metrichmsr.export.overlay_text import Font, draw_line, font, text_size
from metrichmsr.export.palette import person_color
from metrichmsr.hmr.routing_maps import TokenLayout

Picture = UInt8[np.ndarray, "S S 3"]

_OUTSIDE = (118, 118, 118)
_HEAT_OPACITY = (0.35, 0.8)
"""Of the darkest and of the brightest colour: the person stays in sight where little is going on."""
_ASSIGNED_OPACITY = 0.5
_STEPS_DEG = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 45)
_MOST_LINES = 8

BONES33 = (
    *((0, 1), (1, 2), (2, 3), (3, 7), (0, 4), (4, 5), (5, 6), (6, 8), (9, 10)),
    *((11, 12), (11, 23), (12, 24), (23, 24)),
    *((11, 13), (13, 15), (15, 17), (15, 19), (15, 21), (17, 19)),
    *((12, 14), (14, 16), (16, 18), (16, 20), (16, 22), (18, 20)),
    *((23, 25), (25, 27), (27, 29), (29, 31), (27, 31)),
    *((24, 26), (26, 28), (28, 30), (30, 32), (28, 32)),
)
"""Pairs of BlazePose's landmarks that are joined by lines."""

LEFT_COLOR, RIGHT_COLOR, MIDDLE_COLOR = (86, 180, 233), (230, 159, 0), (240, 240, 240)


def expert_color(index: int, count: int) -> tuple[int, int, int]:
    """Colour of a routed expert, sRGB in 0…255; the same in every picture."""
    if count <= 6:
        return person_color(index)
    red, green, blue = colorsys.hsv_to_rgb(index / count, 0.75 if index % 2 else 1.0, 0.95 if index % 2 else 0.75)
    return round(255 * red), round(255 * green), round(255 * blue)


def cut_crop(
    image: UInt8[np.ndarray, "H W 3"], crop_from_image: Float[np.ndarray, "3 3"], crop_size: int, size: int
) -> Picture:
    """The crop at ``size`` pixels a side; grey where it leaves the photo."""
    scale = size / crop_size
    half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1.0]])  # OpenCV's pixel centres are integers
    matrix = np.linalg.inv(half) @ np.diag([scale, scale, 1.0]) @ crop_from_image @ half
    shrink = abs(np.linalg.det(matrix[:2, :2])) ** 0.5
    if shrink < 0.5:  # one sample a pixel would miss most of the photo's
        image = cv2.GaussianBlur(image, (0, 0), 0.4 / shrink)
    return cv2.warpAffine(image, matrix[:2], (size, size), flags=cv2.INTER_LINEAR, borderValue=_OUTSIDE)


def heat_colors(values: Float[np.ndarray, "*N"], low: float, high: float) -> UInt8[np.ndarray, "*N 3"]:
    """Colours of values on the scale from ``low`` (dark) to ``high`` (bright), RGB."""
    level = np.clip((np.asarray(values, dtype=np.float64) - low) / max(high - low, 1e-12), 0, 1)
    coded = cv2.applyColorMap(np.rint(255 * level).astype(np.uint8).reshape(-1, 1), cv2.COLORMAP_INFERNO)
    return coded[:, 0, ::-1].reshape(*level.shape, 3)


def draw_heat(
    crop: Picture,
    values: Float[np.ndarray, "N"],
    layout: TokenLayout,
    landmarks: Float[np.ndarray, "33 2"],
    *,
    low: float,
    high: float,
) -> Picture:
    """Values of image tokens over the crop: cells as a heat map, landmarks as dots.

    Args:
        crop: the background, which becomes grey and dim.
        values: one a token.
        layout: what the tokens are.
        landmarks: where the landmarks lie, pixels of ``crop``.
        low: value of the darkest colour.
        high: value of the brightest colour.
    """
    at_landmarks, cells = _split(layout, values)
    picture = _dim(crop)
    if cells is not None:
        _blend_cells(picture, heat_colors(cells, low, high), layout, _heat_opacity(cells, low, high))
    return _dots(picture, landmarks[: layout.landmarks], heat_colors(at_landmarks, low, high), sizes=at_landmarks)


def draw_grid_heat(crop: Picture, values: Float[np.ndarray, "h w"], *, low: float, high: float) -> Picture:
    """A map of cells over the whole crop (patches of the ray map)."""
    picture = _dim(crop)
    layout = TokenLayout(0, *values.shape)
    _blend_cells(picture, heat_colors(values, low, high), layout, _heat_opacity(values, low, high))
    return picture


def draw_assignment(
    crop: Picture,
    assigned: Int[np.ndarray, "N"],
    layout: TokenLayout,
    landmarks: Float[np.ndarray, "33 2"],
    experts: int,
) -> Picture:
    """The expert each token reads most of, a colour an expert."""
    colors = np.array([expert_color(i, experts) for i in range(experts)], dtype=np.uint8)
    at_landmarks, cells = _split(layout, assigned)
    picture = _dim(crop)
    if cells is not None:
        _blend_cells(picture, colors[cells.astype(int)], layout, np.full(cells.shape, _ASSIGNED_OPACITY))
    return _dots(picture, landmarks[: layout.landmarks], colors[at_landmarks.astype(int)])


def draw_landmarks(crop: Picture, landmarks: Float[np.ndarray, "33 2"], confidence: Float[np.ndarray, "33"]) -> Picture:
    """The landmarks with their bones: the person's left, right and middle by colour, doubtful ones thin and hollow."""
    smooth = 3
    sheet = Image.fromarray(crop).resize((smooth * crop.shape[1], smooth * crop.shape[0]), Image.Resampling.BILINEAR)
    draw = ImageDraw.Draw(sheet)
    unit = smooth * crop.shape[0] / 340
    points = [(smooth * float(x), smooth * float(y)) for x, y in landmarks]
    sides = [_side_color(i) for i in range(33)]
    for a, b in BONES33:
        sure = min(confidence[a], confidence[b]) > 0.5
        color = sides[a] if sides[a] == sides[b] else MIDDLE_COLOR
        draw.line([points[a], points[b]], fill=color, width=max(1, round((2.4 if sure else 1) * unit)))
    for i, (x, y) in enumerate(points):
        radius = (2.2 if i <= 10 else 3.4) * unit
        box = (x - radius, y - radius, x + radius, y + radius)
        fill = sides[i] if confidence[i] > 0.5 else None
        draw.ellipse(box, fill=fill, outline=(20, 20, 20) if fill else sides[i], width=max(1, round(unit)))
    return np.asarray(sheet.resize((crop.shape[1], crop.shape[0]), Image.Resampling.LANCZOS))


def ray_angles_deg(
    K_crop: Float[np.ndarray, "3 3"], crop_size: int, size: int
) -> tuple[Float[np.ndarray, "S S"], Float[np.ndarray, "S S"]]:
    """Angles of the crop's rays to the optical axis: to the right (atan x/z) and down (atan y/z), degrees."""
    centers = (np.arange(size) + 0.5) * crop_size / size
    u, v = np.meshgrid(centers, centers)
    rays = np.einsum("ij,jhw->ihw", np.linalg.inv(K_crop), np.stack([u, v, np.ones_like(u)]))
    return np.degrees(np.arctan2(rays[0], rays[2])), np.degrees(np.arctan2(rays[1], rays[2]))


def draw_ray_angle(angles_deg: Float[np.ndarray, "S S"], mask: Bool[np.ndarray, "S S"] | None = None) -> Picture:
    """A map of angles: colours from the smallest to the largest, lines at round angles with their degrees.

    Args:
        angles_deg: of every pixel.
        mask: pixels that show the person, whose outline is drawn.
    """
    low, high = float(angles_deg.min()), float(angles_deg.max())
    picture = angle_colors(angles_deg, low, high)
    step = next((s for s in _STEPS_DEG if (high - low) / s <= _MOST_LINES), _STEPS_DEG[-1])
    if mask is not None:
        outline, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(picture, outline, -1, (255, 255, 255), 1, cv2.LINE_AA)
    level = np.floor(angles_deg / step)
    border = np.zeros(level.shape, dtype=bool)
    border[:, 1:] |= level[:, 1:] != level[:, :-1]
    border[1:] |= level[1:] != level[:-1]
    picture[border] = (0.35 * picture[border]).astype(np.uint8)
    sheet = Image.fromarray(picture)
    draw = ImageDraw.Draw(sheet)
    face = font(max(11, round(angles_deg.shape[0] / 26)))
    decimals = 1 if step < 1 else 0
    for number in range(math.ceil(low / step), math.floor(high / step) + 1):
        _label_line(draw, angles_deg, number * step, f"{number * step:.{decimals}f}°", face)
    return np.asarray(sheet)


def angle_colors(values: Float[np.ndarray, "*N"], low: float, high: float) -> UInt8[np.ndarray, "*N 3"]:
    """Colours of angles between two ends, RGB."""
    level = np.clip((np.asarray(values) - low) / max(high - low, 1e-12), 0, 1)
    coded = cv2.applyColorMap(np.rint(255 * level).astype(np.uint8).reshape(-1, 1), cv2.COLORMAP_VIRIDIS)
    return np.ascontiguousarray(coded[:, 0, ::-1].reshape(*level.shape, 3))


def _label_line(draw: ImageDraw.ImageDraw, angles: np.ndarray, value: float, text: str, face: Font) -> None:
    """The angle's number on its line, where the line is nearest to the map's middle line across all lines."""
    size = angles.shape[0]
    w, h = text_size(text, face)
    near = np.abs(angles - value) < 1.5 * np.abs(np.array(np.gradient(angles))).max()
    rows, columns = np.nonzero(near)
    if not len(rows):
        return
    down, right = (float(part.mean()) for part in np.gradient(angles))
    norm = math.hypot(down, right) or 1.0
    # All numbers in a row, beside the person in the middle: at the top where the lines run down, else at the right.
    across = (columns - size / 2) * (down / norm) - (rows - size / 2) * (right / norm)
    side = 1 if abs(down) > abs(right) else math.copysign(1, right)
    best = int(np.abs(side * across - 0.4 * size).argmin())
    x = min(max(columns[best] - w / 2, 2), size - w - 3)
    y = min(max(rows[best] - h / 2, 2), size - h - 3)
    draw.rectangle((x - 2, y - 1, x + w + 1, y + h), fill=(20, 20, 24))
    draw_line(draw, (x, y), text, face, "white")


def _split(layout: TokenLayout, values: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    import torch

    at_landmarks, cells = layout.split(torch.from_numpy(np.asarray(values, dtype=np.float64)))
    return at_landmarks.numpy(), None if cells is None else cells.numpy()


def _dim(crop: Picture) -> Picture:
    grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return np.repeat((20 + 0.62 * grey)[..., None], 3, axis=2).astype(np.uint8)


def _heat_opacity(values: np.ndarray, low: float, high: float) -> Float[np.ndarray, "h w"]:
    least, most = _HEAT_OPACITY
    return least + (most - least) * np.clip((values - low) / max(high - low, 1e-12), 0, 1)


def _blend_cells(
    picture: Picture, colors: UInt8[np.ndarray, "h w 3"], layout: TokenLayout, opacity: Float[np.ndarray, "h w"]
) -> None:
    size = picture.shape[0]
    left, top, right, bottom = (round(size * side) for side in layout.box)
    laid = cv2.resize(np.ascontiguousarray(colors), (right - left, bottom - top), interpolation=cv2.INTER_NEAREST)
    part = cv2.resize(opacity, (right - left, bottom - top), interpolation=cv2.INTER_NEAREST)[..., None]
    target = picture[top:bottom, left:right]
    target[:] = np.rint((1 - part) * target + part * laid).astype(np.uint8)


def _dots(
    picture: Picture,
    places: Float[np.ndarray, "L 2"],
    colors: UInt8[np.ndarray, "L 3"],
    *,
    sizes: Sequence[float] | np.ndarray | None = None,
) -> Picture:
    """Discs at the places; the larger values last, so that they lie on top. Those of the face are smaller."""
    smooth = 3
    sheet = Image.fromarray(picture).resize(
        (smooth * picture.shape[1], smooth * picture.shape[0]), Image.Resampling.BILINEAR
    )
    draw = ImageDraw.Draw(sheet)
    unit = smooth * picture.shape[0] / 340
    order = range(len(places)) if sizes is None else np.argsort(sizes).tolist()
    for i in order:
        x, y = smooth * places[i]
        radius = (3.4 if i <= 10 else 5.5) * unit
        for grow, color in ((1.4 * unit, (255, 255, 255)), (0, tuple(int(c) for c in colors[i]))):
            r = radius + grow
            draw.ellipse((x - r, y - r, x + r, y + r), fill=color)
    return np.asarray(sheet.resize((picture.shape[1], picture.shape[0]), Image.Resampling.LANCZOS))


def _side_color(landmark: int) -> tuple[int, int, int]:
    from metrichmsr.structures import BLAZEPOSE33

    name = BLAZEPOSE33[landmark]
    return LEFT_COLOR if "left" in name else RIGHT_COLOR if "right" in name else MIDDLE_COLOR
