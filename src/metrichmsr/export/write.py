"""All files of one image's result, put in place together."""

from __future__ import annotations

import fnmatch
import time
from collections.abc import Collection
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from jaxtyping import UInt8

from metrichmsr.export.atomic import atomic_folder
from metrichmsr.export.schema import ResultDocument
from metrichmsr.structures import Recovery

if TYPE_CHECKING:
    from metrichmsr.scene.outlines import Surroundings

Format = Literal["ply", "glb", "overlay", "depth", "points", "report"]
"""What can be saved beside ``result.json``, which always is."""

FORMATS: tuple[Format, ...] = get_args(Format)

_OURS = (
    "result.json",
    "person_*.ply",
    "scene.glb",
    "scene.ply",
    "overlay.png",
    "depth.npz",
    "depth.png",
    "depth_preview.png",
    "report.html",
    "report.pdf",
)
"""Every file name of the result contract: an older result's files are replaced as a whole."""

# The default level (6) takes twice the time for overlays at most 6 % smaller.
_PNG_LEVEL = 3


def write_recovery(
    recovery: Recovery,
    out_dir: Path,
    stem: str,
    *,
    formats: Collection[Format] = FORMATS,
    frame: int | None = None,
) -> Path:
    """Write ``out_dir/stem/`` with ``result.json`` and the chosen formats; returns that folder.

    The folder appears when all of it is written. An older result there is replaced at that moment, never before; files
    in it that are not ours are kept.

    Args:
        recovery: What was recovered.
        out_dir: Existing folder.
        stem: Name of the result's folder, unique in ``out_dir``.
        formats: ``ply``: ``person_<id>.ply`` each, camera frame, metres. ``glb``: ``scene.glb``, y up, metres.
            ``overlay``: ``overlay.png``, the meshes over the photo with side and top view. ``report``: ``report.html``,
            all of it on one page. Where there is a scene: ``depth``: ``depth.npz``, ``depth.png`` and
            ``depth_preview.png``; ``points``: ``scene.ply``, camera frame.
        frame: Number of the frame where the image came out of a video.

    Raises:
        OutputError: Something else stands under the folder's name.
        OSError: Of the file system (disk full, no permission).
    """
    return write_result_folder(recovery, out_dir, stem, formats=formats, frame=frame)[0]


def write_result_folder(
    recovery: Recovery,
    out_dir: Path,
    stem: str,
    *,
    formats: Collection[Format] = FORMATS,
    frame: int | None = None,
) -> tuple[Path, ResultDocument]:
    """As :func:`write_recovery`, and the document written into ``result.json`` with it."""
    from metrichmsr.export.result_json import result_document, write_result

    start = time.perf_counter()
    folder = out_dir / stem
    meshes = {person.id: f"person_{person.id}.ply" for person in recovery.people} if "ply" in formats else {}
    if len(meshes) not in (0, len(recovery.people)):
        raise ValueError(f"ids of people repeat: {[person.id for person in recovery.people]}")
    scene = recovery.scene
    depth = "depth.npz" if scene is not None and "depth" in formats else None
    document = result_document(recovery, frame=frame, meshes=meshes, depth=depth)
    surroundings = None
    if scene is not None and {"glb", "points", "overlay", "report"} & set(formats):
        from metrichmsr.scene.outlines import Surroundings

        surroundings = Surroundings.of(recovery)
    with atomic_folder(folder, is_ours=_is_ours) as partial:
        if "ply" in formats:
            from metrichmsr.export.ply import write_person_ply

            for person in recovery.people:
                write_person_ply(person, partial / meshes[person.id])
        if "glb" in formats:
            from metrichmsr.export.glb import write_glb

            write_glb(recovery, partial / "scene.glb", surroundings)
        if scene is not None and "depth" in formats:
            from metrichmsr.export.depth_files import write_depth

            write_depth(scene, partial)
        if scene is not None and "points" in formats:
            from metrichmsr.export.ply import write_scene_ply

            write_scene_ply(recovery, partial / "scene.ply", surroundings)
        painted, pictures = None, None
        if {"overlay", "report"} & set(formats):
            from metrichmsr.export.overlay import paint_people

            painted = paint_people(recovery)
        if "overlay" in formats:
            _write_overlay(recovery, partial / "overlay.png", surroundings, painted)
        if "report" in formats:
            from metrichmsr.export.report_pictures import report_pictures

            pictures = report_pictures(recovery, surroundings, painted=painted)
        document["timings_ms"]["export"] = round(1000 * (time.perf_counter() - start), 3)
        if pictures is not None:  # last, as it tells of the other files' time
            from metrichmsr.export.report import REPORT, write_report

            write_report(document, pictures, datetime.now(), partial / REPORT)
        write_result(document, partial / "result.json")
    return folder, document


def _is_ours(name: str) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in _OURS)


def _write_overlay(
    recovery: Recovery, path: Path, surroundings: Surroundings | None, painted: UInt8[np.ndarray, "h w 3"] | None
) -> None:
    from PIL import Image

    from metrichmsr.export.atomic import atomic_file
    from metrichmsr.export.overlay import draw_overlay

    picture = draw_overlay(recovery, surroundings, painted=painted)
    with atomic_file(path) as temporary:
        Image.fromarray(picture).save(temporary, compress_level=_PNG_LEVEL)
