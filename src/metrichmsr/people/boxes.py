"""Boxes that the user brings in a file, instead of a detector.

Read are:

- JSON, a list of ``[x0, y0, x1, y1]``: the boxes of the one image;
- JSON, a dict from image file name to such a list;
- JSON, a list of COCO detections, ``{"bbox": [x, y, width, height], "image_id" or "file_name": …, "score": …}``, or a
  dict with COCO's ``images`` and ``annotations``;
- CSV with a header that has ``x0, y0, x1, y1`` or ``x, y, width, height``, and ``file`` where there are more images.

All in continuous pixels of the upright image.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from metrichmsr.errors import InputError

ANY_IMAGE = ""
"""Key of boxes that name no image."""
SMALLEST_PX = 2.0
"""Least width and height of a box."""


def read_boxes(path: str | Path) -> dict[str, Float[np.ndarray, "N 4"]]:
    """All boxes of a file, by the name of the image as the file writes it; :data:`ANY_IMAGE` where it names none.

    Raises:
        InputError: the file cannot be read, or an entry is not a box.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise InputError(f"{path}: boxes cannot be read ({reason})") from error
    if path.suffix.lower() == ".csv":
        entries = _csv_entries(path, text)
    else:
        try:
            entries = _json_entries(path, json.loads(text))
        except json.JSONDecodeError as error:
            raise InputError(f"{path}: neither JSON nor a .csv file ({error})") from error
    boxes: dict[str, list[list[float]]] = {}
    for where, name, box in entries:
        boxes.setdefault(name, []).append(_checked(path, where, box))
    return {name: np.array(rows, np.float64).reshape(-1, 4) for name, rows in boxes.items()}


def boxes_for_image(
    boxes: Mapping[str, Float[np.ndarray, "N 4"]],
    image_path: str | Path,
    *,
    width: int,
    height: int,
    source: str | Path,
) -> Float[np.ndarray, "N 4"]:
    """The boxes of one image: by full path as written, by file name, by stem, or those that name no image.

    Args:
        boxes: what :func:`read_boxes` gave.
        image_path: the image.
        width: of the upright image, pixels.
        height: of the upright image, pixels.
        source: the file the boxes came from, for messages.

    Raises:
        InputError: a box lies outside the picture, or has less than two pixels of it. One that reaches out of it is
            kept as it is.
    """
    image_path = Path(image_path)
    for key in (str(image_path), image_path.as_posix(), image_path.name, image_path.stem, ANY_IMAGE):
        if key in boxes:
            break
    else:
        named = [key for key in boxes if Path(key).name == image_path.name]
        if not named:
            return np.zeros((0, 4))
        key = named[0]
    for i, (x0, y0, x1, y1) in enumerate(boxes[key]):
        box = f"[{x0:g}, {y0:g}, {x1:g}, {y1:g}]"
        if x1 <= 0 or y1 <= 0 or x0 >= width or y0 >= height:
            raise InputError(f"{source}: box {i} {box} lies outside {image_path.name} ({width}×{height} pixels)")
        if min(x1 - x0, y1 - y0) < SMALLEST_PX:
            hint = "; boxes are in pixels, not shares of the picture" if max(x1, y1) <= 1 else ""
            raise InputError(f"{source}: box {i} {box} is less than two pixels wide{hint}")
    return boxes[key]


Entry = tuple[str, str, Any]
"""Where it stands in the file, the image it is of, and what should be a box."""


def _json_entries(path: Path, data: object) -> list[Entry]:
    if isinstance(data, list):
        return [_json_entry(f"box {i}", ANY_IMAGE, item, {}) for i, item in enumerate(data)]
    if isinstance(data, dict) and isinstance(data.get("annotations"), list):
        names: dict[object, str | None] = {
            image.get("id"): image.get("file_name") for image in data.get("images", []) if isinstance(image, dict)
        }
        return [_json_entry(f"annotation {i}", ANY_IMAGE, item, names) for i, item in enumerate(data["annotations"])]
    if isinstance(data, dict):
        entries = []
        for name, items in data.items():
            if not isinstance(items, list):
                raise InputError(f"{path}: {name!r} must map to a list of boxes")
            entries += [_json_entry(f"{name!r} box {i}", name, item, {}) for i, item in enumerate(items)]
        return entries
    raise InputError(f"{path}: must hold a list of boxes, or a dict from file name to one")


def _json_entry(where: str, name: str, item: object, names: Mapping[object, str | None]) -> Entry:
    if not isinstance(item, dict):
        return where, name, item
    box = item.get("bbox")
    if isinstance(box, list) and len(box) == 4 and all(isinstance(v, int | float) for v in box):
        box = [box[0], box[1], box[0] + box[2], box[1] + box[3]]
    name = str(item.get("file_name") or names.get(item.get("image_id")) or item.get("image_id") or name)
    return where, name, box


def _csv_entries(path: Path, text: str) -> list[Entry]:
    rows = csv.DictReader(text.splitlines())
    columns = set(rows.fieldnames or ())
    corners = {"x0", "y0", "x1", "y1"} <= columns
    if not corners and not {"x", "y", "width", "height"} <= columns:
        raise InputError(f"{path}: the header needs x0,y0,x1,y1 or x,y,width,height, not {','.join(sorted(columns))}")
    entries = []
    for row in rows:
        where = f"line {rows.line_num}"
        name = row.get("file") or row.get("file_name") or ANY_IMAGE
        try:
            if corners:
                box = [float(row[c]) for c in ("x0", "y0", "x1", "y1")]
            else:
                x, y, width, height = (float(row[c]) for c in ("x", "y", "width", "height"))
                box = [x, y, x + width, y + height]
        except (TypeError, ValueError):
            box = list(row.values())
        entries.append((where, name, box))
    return entries


def _checked(path: Path, where: str, box: object) -> list[float]:
    """Four finite numbers of a box that is not empty."""
    numbers = isinstance(box, list) and len(box) == 4 and all(type(v) in (int, float) for v in box)
    if not numbers:
        raise InputError(f"{path}: {where} is not [x0, y0, x1, y1] (or a bbox [x, y, width, height]): {box}")
    x0, y0, x1, y1 = (float(v) for v in box)  # pyright: ignore[reportGeneralTypeIssues]
    if not all(math.isfinite(v) for v in (x0, y0, x1, y1)):
        raise InputError(f"{path}: {where} has a number that is not finite: {box}")
    if x1 <= x0 or y1 <= y0:
        raise InputError(f"{path}: {where} is empty, x1 must be right of x0 and y1 below y0: {box}")
    return [x0, y0, x1, y1]
