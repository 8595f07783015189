"""Small pictures of single cases, and contact sheets of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from metrichmsr.structures import Camera, Person

_BODY, _TRUTH, _FOUND = (255, 140, 60), (60, 220, 60), (70, 160, 255)
_CAPTION_PX = 34


def case_picture(
    image: UInt8[np.ndarray, "H W 3"],
    caption: Sequence[str],
    *,
    camera: Camera | None = None,
    person: Person | None = None,
    truth_box: Float[np.ndarray, "4"] | None = None,
    truth_px: Float[np.ndarray, "J 2"] | None = None,
    size: int = 420,
) -> UInt8[np.ndarray, "size size 3"]:
    """A square picture of one case: the body's vertices (orange), detected keypoints (blue), the truth (green).

    It shows the neighbourhood of the true box, or the whole picture where there is none. The caption has up to two
    lines.
    """
    canvas = image.copy()
    if person is not None and camera is not None:
        _splat(canvas, person, camera.K)
    low, high = _window(truth_box, image.shape[1], image.shape[0])
    scale = (size - _CAPTION_PX) / max(1.0, float((high - low).max()))
    low_int, high_int = np.floor(low).astype(int), np.ceil(high).astype(int)
    crop = canvas[low_int[1] : high_int[1], low_int[0] : high_int[0]]
    width, height = (max(1, round(scale * side)) for side in (crop.shape[1], crop.shape[0]))
    crop = cv2.resize(crop, (width, height), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    tile = np.full((size, size, 3), 24, dtype=np.uint8)
    tile[_CAPTION_PX : _CAPTION_PX + crop.shape[0], : crop.shape[1]] = crop[: size - _CAPTION_PX, :size]

    def at(point: np.ndarray) -> tuple[int, int]:
        u, v = (point - low_int) * scale
        return round(float(u)), round(float(v)) + _CAPTION_PX

    if truth_box is not None:
        cv2.rectangle(tile, at(truth_box[:2]), at(truth_box[2:]), _TRUTH, 1)
    detected = person.keypoints_2d_px[person.keypoints_2d_px[:, 2] > 0, :2] if person is not None else np.zeros((0, 2))
    for points, color in ((detected, _FOUND), (truth_px if truth_px is not None else np.zeros((0, 2)), _TRUTH)):
        inside = (points >= low_int) & (points < high_int)  # false where not a number
        for point in points[inside.all(axis=1)]:
            cv2.circle(tile, at(point), 3, color, -1, cv2.LINE_AA)
    tile[:_CAPTION_PX] = 24
    for line, text in enumerate(caption[:2]):
        cv2.putText(
            tile, _ascii(text), (4, 13 + 15 * line), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (240, 240, 240), 1, cv2.LINE_AA
        )
    return tile


def _ascii(text: str) -> str:
    # OpenCV's font knows no other letters.
    return text.encode("ascii", "replace").decode()


def _splat(canvas: UInt8[np.ndarray, "H W 3"], person: Person, K: Float[np.ndarray, "3 3"]) -> None:
    """Blend the projected vertices into the picture: no renderer is needed to see where a body lies."""
    points = person.vertices_m[person.vertices_m[:, 2] > 0.05] @ K.T
    pixels = np.floor(points[:, :2] / points[:, 2:]).astype(int)
    inside = ((pixels >= 0) & (pixels < (canvas.shape[1], canvas.shape[0]))).all(axis=1)
    u, v = pixels[inside].T
    canvas[v, u] = (0.35 * canvas[v, u] + 0.65 * np.array(_BODY)).astype(np.uint8)


def _window(box: Float[np.ndarray, "4"] | None, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    full = np.zeros(2), np.array([width, height], dtype=np.float64)
    if box is None:
        return full
    margin = 0.35 * float((box[2:] - box[:2]).max())
    low, high = np.clip(box[:2] - margin, 0, full[1] - 1), np.clip(box[2:] + margin, 1, full[1])
    return low, np.maximum(high, low + 1)


def write_contact_sheet(pictures: Sequence[UInt8[np.ndarray, "h w 3"]], path: Path, *, columns: int = 4) -> None:
    """Write equally large pictures as one PNG, row by row."""
    if not pictures:
        raise ValueError("no pictures for a contact sheet")
    blank = np.zeros_like(pictures[0])
    tiles = [*pictures, *[blank] * (-len(pictures) % min(columns, len(pictures)))]
    columns = min(columns, len(pictures))
    rows = [np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles), columns)]
    Image.fromarray(np.vstack(rows)).save(path)
