"""A contact sheet of shots with their truth drawn in, to be looked at.

Three panels a shot: the picture; the same with masks, boxes and joints; depth. Joints that are seen are filled, hidden
ones are rings, those outside the picture are left out. Near is warm, far is cold, what is not modelled is grey.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont

from metrichmsr.structures import COCO17
from metrichmsr.synthetic.shots import OCCLUDED, OUTSIDE, VISIBLE, Shot

# Okabe and Ito's colours that stand out from photos and are told apart by everyone.
_COLORS = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (204, 121, 167), (240, 228, 66), (213, 94, 0))
_UNKNOWN = (70, 70, 74)
_CAPTION_PX, _GAP_PX, _PANEL_GAP_PX = 30, 6, 2
_LIMBS = tuple(
    (COCO17.index(a), COCO17.index(b))
    for a, b in (
        *(
            (f"{side}_{a}", f"{side}_{b}")
            for side in ("left", "right")
            for a, b in pairwise(("ankle", "knee", "hip", "shoulder", "elbow", "wrist"))
        ),
        *(pair for side in ("left", "right") for pair in pairwise(("nose", f"{side}_eye", f"{side}_ear"))),
        ("left_shoulder", "right_shoulder"),
        ("left_hip", "right_hip"),
    )
)


def draw_truth(shot: Shot, *, height: int = 256) -> UInt8[np.ndarray, "h w 3"]:
    """The picture with masks, boxes and joints, at this height in pixels."""
    scale = height / shot.image.shape[0]
    canvas = _resized(shot.image, height).astype(np.float32)
    ids = cv2.resize(shot.person_id, (canvas.shape[1], height), interpolation=cv2.INTER_NEAREST)
    for person in range(len(shot.people)):
        canvas[ids == person] = 0.6 * canvas[ids == person] + 0.4 * np.array(_color(person))
    canvas = np.ascontiguousarray(canvas.round().clip(0, 255).astype(np.uint8))
    people = shot.people
    for person in reversed(range(len(people))):
        if not people.visible_share[person] > 0:
            continue
        _draw_box(canvas, scale * people.box_xyxy[person], _color(person))
        _draw_joints(canvas, scale * people.coco17_px[person], people.visibility[person], _color(person))
    return canvas


def depth_colors(depth_m: Float[np.ndarray, "H W"]) -> UInt8[np.ndarray, "H W 3"]:
    """Depth as colours over its own range, in equal ratios; grey where there is none."""
    known = np.isfinite(depth_m) & (depth_m > 0)
    colors = np.empty((*depth_m.shape, 3), np.uint8)
    colors[:] = _UNKNOWN
    if known.any():
        logs = np.log(depth_m[known])
        low, high = np.percentile(logs, (1, 99))
        share = ((logs - low) / max(1e-3, float(high - low))).clip(0, 1)
        turbo = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_TURBO)[:, 0, ::-1]
        colors[known] = turbo[(235 - 215 * share).astype(np.uint8)]
    return colors


def contact_sheet(
    shots: Sequence[Shot], *, columns: int = 2, height: int = 256, panels: int = 3
) -> UInt8[np.ndarray, "H W 3"]:
    """Shots row by row, each as up to three panels with a line of figures above.

    Args:
        shots: at least one.
        columns: shots a row.
        height: of a panel, pixels.
        panels: 3 shows picture, truth and depth; 2 leaves depth out; 1 shows the truth only.
    """
    if not shots:
        raise ValueError("no shots for a contact sheet")
    tiles = [_tile(shot, height, panels) for shot in shots]
    width = max(tile.shape[1] for tile in tiles)
    columns = min(columns, len(tiles))
    rows = -(-len(tiles) // columns)
    sheet = np.full((rows * (height + _CAPTION_PX), columns * width, 3), 24, np.uint8)
    for number, tile in enumerate(tiles):
        y, x = number // columns * (height + _CAPTION_PX), number % columns * width
        sheet[y : y + tile.shape[0], x : x + tile.shape[1]] = tile
    return sheet


def write_preview(shots: Sequence[Shot], path: Path, *, columns: int = 2, height: int = 256, panels: int = 3) -> None:
    """Write a contact sheet as PNG (or what the suffix says)."""
    Image.fromarray(contact_sheet(shots, columns=columns, height=height, panels=panels)).save(path)


def _tile(shot: Shot, height: int, panels: int) -> UInt8[np.ndarray, "h w 3"]:
    pictures = [draw_truth(shot, height=height)]
    if panels > 1:
        pictures.insert(0, _resized(shot.image, height))
    if panels > 2:
        depth = cv2.resize(shot.depth_m, pictures[0].shape[1::-1], interpolation=cv2.INTER_NEAREST)
        pictures.append(depth_colors(depth))
    width = sum(picture.shape[1] + _PANEL_GAP_PX for picture in pictures) + _GAP_PX
    tile = np.full((height + _CAPTION_PX, width, 3), 24, np.uint8)
    x = 0
    for picture in pictures:
        tile[_CAPTION_PX:, x : x + picture.shape[1]] = picture
        x += picture.shape[1] + _PANEL_GAP_PX
    image = Image.fromarray(tile)
    draw, face = ImageDraw.Draw(image), ImageFont.load_default(12)
    for line, text in enumerate(_caption(shot)):
        draw.text((3, 1 + 14 * line), text, font=face, fill=(225, 225, 225))
    return np.asarray(image)


def _caption(shot: Shot) -> tuple[str, str]:
    people = shot.people
    pitch = np.degrees(np.arcsin(np.clip(shot.camera_from_world[2, 1], -1, 1)))
    first = f"{shot.key}  fov {shot.fov_x_deg:.0f}°  pitch {pitch:+.0f}°  camera {shot.ground_plane[1]:.1f} m up"
    if not len(people):
        return first, f"nobody; {shot.environment}"
    distance = float(np.linalg.norm(people.translation_m[0]))
    second = (
        f"{people.height_m[0]:.2f} m tall at {distance:.1f} m, {people.support[0]}, "
        f"{people.visible_share[0]:.0%} seen; of {len(people)}; {shot.environment}"
    )
    return first, second


def _color(person: int) -> tuple[int, int, int]:
    return _COLORS[person % len(_COLORS)]


def _resized(image: UInt8[np.ndarray, "H W 3"], height: int) -> UInt8[np.ndarray, "h w 3"]:
    width = max(1, round(image.shape[1] * height / image.shape[0]))
    if image.shape[:2] == (height, width):
        return image
    shrinks = height < image.shape[0]
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def _draw_box(canvas: UInt8[np.ndarray, "h w 3"], box: Float[np.ndarray, "4"], color: tuple[int, int, int]) -> None:
    low, high = np.floor(box[:2]).astype(int).tolist(), (np.ceil(box[2:]).astype(int) - 1).tolist()
    cv2.rectangle(canvas, low, high, color, 1)


def _draw_joints(
    canvas: UInt8[np.ndarray, "h w 3"],
    points: Float[np.ndarray, "17 2"],
    visibility: UInt8[np.ndarray, "17"],
    color: tuple[int, int, int],
) -> None:
    # Subpixel drawing in OpenCV counts sixteenths and centres of pixels; far outside it overflows.
    fixed = np.nan_to_num((points.clip(-1e4, 1e4) - 0.5) * 16).round().astype(int).tolist()
    drawn = (visibility != OUTSIDE) & np.isfinite(points).all(axis=1)
    for a, b in _LIMBS:
        if drawn[a] and drawn[b]:
            shade = color if VISIBLE == visibility[a] == visibility[b] else tuple(round(0.55 * c) for c in color)
            cv2.line(canvas, fixed[a], fixed[b], shade, 1, cv2.LINE_AA, 4)
    for joint in np.flatnonzero(drawn):
        if visibility[joint] == OCCLUDED:
            cv2.circle(canvas, fixed[joint], 3 * 16, (255, 60, 60), 1, cv2.LINE_AA, 4)
        else:
            cv2.circle(canvas, fixed[joint], 3 * 16, (0, 0, 0), -1, cv2.LINE_AA, 4)
            cv2.circle(canvas, fixed[joint], 2 * 16, (90, 255, 90), -1, cv2.LINE_AA, 4)
