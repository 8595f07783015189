"""``people.csv`` of a batch run: a row per person; as Parquet where pyarrow is installed."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from metrichmsr.errors import MissingPackageError
from metrichmsr.export.atomic import atomic_file
from metrichmsr.export.schema import ResultDocument

COLUMNS: dict[str, type] = {
    "folder": str,
    "image": str,
    "frame": int,
    "width": int,
    "height": int,
    "focal_px": float,
    "focal_std_px": float,
    "camera_source": str,
    "id": int,
    "score": float,
    "box_x0": float,
    "box_y0": float,
    "box_x1": float,
    "box_y1": float,
    "height_m": float,
    "height_std_m": float,
    "distance_m": float,
    "distance_std_m": float,
    "x_m": float,
    "y_m": float,
    "z_m": float,
    "reprojection_px": float,
    "body_model": str,
}
"""Name and type of each column. ``folder`` is the result's folder beside the table; the rest is as in ``result.json``.

An unknown value is an empty cell (CSV) or null (Parquet).
"""


def people_rows(folder: str, document: ResultDocument) -> Iterator[dict[str, Any]]:
    """The rows of one image: one dictionary per person, with the keys of :data:`COLUMNS`."""
    image, camera = document["image"], document["camera"]
    for person in document["people"]:
        x0, y0, x1, y1 = person["box_xyxy"]
        x, y, z = person["translation_m"]
        yield {
            "folder": folder,
            "image": image["path"],
            "frame": image.get("frame"),
            "width": image["width"],
            "height": image["height"],
            "focal_px": round(0.5 * (camera["K"][0][0] + camera["K"][1][1]), 6),
            "focal_std_px": camera["focal_std_px"],
            "camera_source": camera["source"],
            "id": person["id"],
            "score": person["score"],
            "box_x0": x0,
            "box_y0": y0,
            "box_x1": x1,
            "box_y1": y1,
            "height_m": person["height_m"],
            "height_std_m": person["height_std_m"],
            "distance_m": person["distance_m"],
            "distance_std_m": person["distance_std_m"],
            "x_m": x,
            "y_m": y,
            "z_m": z,
            "reprojection_px": person.get("reprojection_px"),
            "body_model": person["body_model"],
        }


def write_csv(rows: Iterable[dict[str, Any]], path: Path) -> None:
    """Write rows of :func:`people_rows` as CSV (RFC 4180, UTF-8, one header line), atomically."""
    with atomic_file(path) as temporary, temporary.open("x", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(COLUMNS))
        writer.writeheader()
        writer.writerows(rows)


def write_parquet(rows: Iterable[dict[str, Any]], path: Path) -> None:
    """Write rows of :func:`people_rows` as Parquet, atomically.

    Raises:
        MissingPackageError: pyarrow is not installed.
    """
    pa, parquet = _pyarrow()
    types = {str: pa.string(), int: pa.int64(), float: pa.float64()}
    schema = pa.schema([(name, types[kind]) for name, kind in COLUMNS.items()])
    table = pa.Table.from_pylist(list(rows), schema=schema)
    with atomic_file(path) as temporary:
        parquet.write_table(table, temporary)


def require_parquet() -> None:
    """Raise :class:`MissingPackageError` now, not after a long run, where Parquet cannot be written."""
    _pyarrow()


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise MissingPackageError("Parquet needs pyarrow: pip install pyarrow") from None
    return pyarrow, pyarrow.parquet
