"""``index.html`` of a batch: a thumbnail, people, statures and the way to the report of each image; what failed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

import cv2
import numpy as np
from PIL import Image

from metrichmsr.export import report_words as words
from metrichmsr.export.atomic import atomic_file
from metrichmsr.export.report import REPORT, date_words, templates
from metrichmsr.export.report_pictures import Picture, jpeg_picture, photo_name
from metrichmsr.export.schema import ResultDocument

INDEX = "index.html"

MOST_ROWS = 5000
"""A page with more images would be no overview, and slow: ``people.csv`` has them all."""
MOST_THUMBNAILS = 300
"""The first so many images have one: of some 10 kB each."""
_THUMBNAIL_PX = 240
_MOST_STATURES = 6


@dataclass(frozen=True)
class IndexRow:
    """An image in the index."""

    name: str
    people: str
    """How many, in words."""
    statures: str
    warnings: int
    link: str | None
    """Of its report, relative to the index; None where there is none."""
    thumbnail: Picture | None


def index_row(folder: Path, document: ResultDocument, *, thumbnail: bool) -> IndexRow:
    """The row of a result folder, which lies beside the index."""
    image, people = document["image"], document["people"]
    frame = image.get("frame")
    name = photo_name(image["path"]) + ("" if frame is None else f", frame {frame}")
    statures = [words.quantity(person["height_m"], person["height_std_m"], "m") for person in people]
    more = len(statures) - _MOST_STATURES
    count = words.count(len(people), "person", "people") if people else "nobody found"
    return IndexRow(
        name=name,
        people=count,
        statures=", ".join(statures[:_MOST_STATURES]) + (f" and {more} more" if more > 0 else ""),
        warnings=len(document["warnings"]),
        # "./": a name such as "a:b" would be read as an address.
        link=f"./{quote(folder.name)}/{REPORT}" if (folder / REPORT).is_file() else None,
        thumbnail=_thumbnail(folder, document, name, count) if thumbnail else None,
    )


def write_index(
    rows: Sequence[IndexRow], failures: Sequence[tuple[str, str]], out_dir: Path, made: datetime, *, images: int
) -> Path | None:
    """Write ``index.html``, atomically; returns its path.

    Args:
        rows: The images, at most :data:`MOST_ROWS`.
        failures: Input and cause of what failed.
        out_dir: Folder of the result folders.
        made: When the batch ended.
        images: How many results there are, those without a row included.

    Returns:
        None where a file of that name is there that is not ours: it is left alone.
    """
    path = out_dir / INDEX
    if path.exists() and not _is_ours(path):
        return None
    text = (
        templates()
        .get_template("index.html")
        .render(
            rows=rows,
            failures=failures[:MOST_ROWS],
            date=date_words(made),
            images=words.count(images, "image", "images"),
            failed=len(failures),
            left_out=images - len(rows),
            failures_left_out=max(0, len(failures) - MOST_ROWS),
            known_bias=words.KNOWN_BIAS,
        )
    )
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def _is_ours(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return b'<meta name="generator" content="metrichmsr">' in file.read(1000)
    except OSError:
        return False


def _thumbnail(folder: Path, document: ResultDocument, name: str, count: str) -> Picture | None:
    from metrichmsr.export.overlay import photo_size

    try:
        with Image.open(folder / "overlay.png") as picture:
            sheet = np.asarray(picture.convert("RGB"))
    except (OSError, ValueError):  # an overview is no reason to fail
        return None
    width, height = photo_size(document["image"]["width"], document["image"]["height"])
    photo = sheet[:height, :width]
    scale = min(1.0, _THUMBNAIL_PX / max(photo.shape[:2]))
    size = max(1, round(photo.shape[1] * scale)), max(1, round(photo.shape[0] * scale))
    return jpeg_picture(cv2.resize(photo, size, interpolation=cv2.INTER_AREA), alt=f"{name}: {count}")
