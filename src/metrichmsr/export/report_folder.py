"""``report.html`` of a result folder that is there already."""

from __future__ import annotations

import dataclasses
from datetime import datetime
from pathlib import Path

import numpy as np
from PIL import Image

from metrichmsr.errors import InputError
from metrichmsr.export.find_results import RESULT
from metrichmsr.export.read_entries import scene_of
from metrichmsr.export.report import REPORT, write_report
from metrichmsr.export.report_pictures import ReportPictures, depth_pictures, jpeg_picture, photo_name, report_pictures
from metrichmsr.export.result_folder import read_back
from metrichmsr.export.result_json import read_result
from metrichmsr.export.schema import ResultDocument

# Nobody looks at a sheet of the overlay closer than this.
_SHEET_PX = 1600


def report_on_folder(folder: Path) -> Path:
    """Write ``report.html`` into a result folder; returns its path.

    Pictures are drawn anew from photo, meshes and depth maps; where these are not there, ``overlay.png`` is shown; and
    where that is not there either, the report has its numbers alone.

    Raises:
        InputError: There is no result, or a file of it is damaged; the message names it.
    """
    document = read_result(folder / RESULT)
    made = datetime.fromtimestamp((folder / RESULT).stat().st_mtime)
    write_report(document, _pictures(folder, document), made, folder / REPORT)
    return folder / REPORT


def _pictures(folder: Path, document: ResultDocument) -> ReportPictures:
    recovery, drawn_over = read_back(folder, document)
    if recovery is not None:
        pictures = report_pictures(recovery)
        if drawn_over is not None and pictures.photo is not None:
            photo = jpeg_picture(drawn_over, alt=pictures.photo.alt)
            pictures = dataclasses.replace(pictures, photo=photo, narrow=None)
        return pictures
    name = photo_name(document["image"]["path"])
    scene = scene_of(folder, document)
    depth = None if scene is None else depth_pictures(scene, name)
    overlay = folder / "overlay.png"
    if not overlay.is_file():
        return ReportPictures(depth=depth)
    try:
        with Image.open(overlay) as picture:
            picture.thumbnail((_SHEET_PX, _SHEET_PX))
            sheet = np.asarray(picture.convert("RGB"))
    except (OSError, ValueError) as error:
        raise InputError(f"{overlay}: not a picture: {error}") from error
    alt = f"The photo {name} with the body meshes found; beside or below it views in metres."
    return ReportPictures(photo=jpeg_picture(sheet, alt=alt), depth=depth)
