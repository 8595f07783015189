"""Depth maps of the scene: ``depth.npz`` for programs, ``depth.png`` for tools, ``depth_preview.png`` to look at.

The first two have the size of the picture that K speaks of. z-depth along the camera's axis, metres; NaN is unknown in
the arrays, 0 in the 16-bit picture (millimetres, up to 65.5 m).
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, UInt8, UInt16
from PIL import Image, ImageDraw

from metrichmsr.export.atomic import atomic_file
from metrichmsr.export.overlay_text import draw_line, font, text_size
from metrichmsr.structures import Scene

NPZ, PNG, PREVIEW = "depth.npz", "depth.png", "depth_preview.png"
_LARGEST_MM = 65535
_UNKNOWN = (225, 225, 222)
_BAR_PX, _LONGEST_PX = 62, 1280


def write_depth(scene: Scene, folder: Path) -> None:
    """Write the three files.

    ``depth.npz`` holds float32 arrays H×W: ``depth_m``, ``initial_depth_m`` (as the source gave it), ``anchor_m``
    (rendered depth of the people) and ``confidence`` (0 to 1).
    """
    with atomic_file(folder / NPZ) as temporary:
        _write_npz(temporary, depth_arrays(scene))
    with atomic_file(folder / PNG) as temporary:
        Image.fromarray(depth_millimetres(scene.depth_m)).save(temporary, format="PNG", compress_level=3)
    with atomic_file(folder / PREVIEW) as temporary:
        Image.fromarray(draw_depth(scene.depth_m)).save(temporary, format="PNG", compress_level=3)


def depth_arrays(scene: Scene) -> dict[str, Float[np.ndarray, "H W"]]:
    """What ``depth.npz`` holds.

    A map that there is none of is NaN everywhere; without confidence it is 1 where depth is known.
    """
    nothing = np.full(scene.depth_m.shape, np.nan, np.float32)
    known = np.isfinite(scene.depth_m).astype(np.float32)
    arrays = {
        "depth_m": scene.depth_m,
        "initial_depth_m": nothing if scene.initial_depth_m is None else scene.initial_depth_m,
        "anchor_m": nothing if scene.anchor_m is None else scene.anchor_m,
        "confidence": known if scene.confidence is None else scene.confidence,
    }
    return {name: np.ascontiguousarray(values, dtype=np.float32) for name, values in arrays.items()}


def depth_millimetres(depth_m: Float[np.ndarray, "H W"]) -> UInt16[np.ndarray, "H W"]:
    """Rounded to millimetres; 0 where it is unknown or farther than 16 bits reach."""
    millimetres = np.round(1000 * np.nan_to_num(depth_m, nan=0.0, posinf=0.0, neginf=0.0))
    return np.where((millimetres > 0) & (millimetres <= _LARGEST_MM), millimetres, 0).astype(np.uint16)


def draw_depth(depth_m: Float[np.ndarray, "H W"]) -> UInt8[np.ndarray, "h w 3"]:
    """Depth in colours with a scale in metres, RGB: near is warm, far is cold, grey is unknown.

    Colours change evenly with the logarithm of depth, between its 1st and 99th percentile.
    """
    height, width = depth_m.shape
    scale = min(1.0, _LONGEST_PX / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(np.asarray(depth_m, np.float32), size, interpolation=cv2.INTER_NEAREST)
    known = np.isfinite(small) & (small > 0)
    low, high = np.percentile(np.log(small[known]), [1, 99]) if known.any() else (0.0, 1.0)
    high = max(high, low + 0.05)
    picture = np.full((*small.shape, 3), _UNKNOWN, np.uint8)
    if known.any():
        picture[known] = depth_colors((np.log(small[known]) - low) / (high - low))
    sheet = Image.new("RGB", (size[0] + _BAR_PX, max(size[1], 60)), "white")
    sheet.paste(Image.fromarray(picture), (0, 0))
    _draw_scale(sheet, size, (float(low), float(high)), any_known=bool(known.any()))
    return np.asarray(sheet)


def depth_colors(share: Float[np.ndarray, "N"]) -> UInt8[np.ndarray, "N 3"]:
    """0 is near: warm."""
    level = np.round(255 * (1 - np.clip(share, 0, 1))).astype(np.uint8)
    return cv2.cvtColor(cv2.applyColorMap(level[:, None], cv2.COLORMAP_TURBO), cv2.COLOR_BGR2RGB)[:, 0]


def _draw_scale(sheet: Image.Image, size: tuple[int, int], ends: tuple[float, float], *, any_known: bool) -> None:
    draw, face = ImageDraw.Draw(sheet), font(12)
    left, top, bottom = size[0] + 8, 8, max(size[1], 60) - 8
    if not any_known:
        draw_line(draw, (left, top), "unknown", face, "black")
        return
    length = bottom - top
    bar = depth_colors(np.linspace(0, 1, length))
    sheet.paste(Image.fromarray(np.repeat(bar[:, None], 12, axis=1)), (left, top))
    _, line = text_size("0", face)
    ticks = max(2, min(7, length // (3 * line)))
    for share in np.linspace(0, 1, ticks):
        metres = float(np.exp(ends[0] + share * (ends[1] - ends[0])))
        decimals = 2 if metres < 1 else 1 if metres < 20 else 0
        y = min(max(top + share * length - line / 2, 0), bottom + 8 - line)
        draw_line(draw, (left + 16, y), f"{metres:.{decimals}f} m", face, "black")


def _write_npz(path: Path, arrays: dict[str, np.ndarray]) -> None:
    # np.savez_compressed takes three times the time for files hardly smaller.
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, values in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, values, allow_pickle=False)
