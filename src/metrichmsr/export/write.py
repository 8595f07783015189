"""All files of one image's result, put in place together."""

from __future__ import annotations

import fnmatch
import os
import tempfile
import time
from collections.abc import Collection
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from jaxtyping import UInt8

from metrichmsr.errors import UsageError
from metrichmsr.export.atomic import atomic_folder
from metrichmsr.export.schema import ResultDocument
from metrichmsr.structures import Recovery

if TYPE_CHECKING:
    from metrichmsr.scene.outlines import Surroundings

Format = Literal["ply", "glb", "overlay", "depth", "points", "report", "obj", "npz", "bvh", "usd", "colmap", "amass"]
"""What can be saved beside ``result.json``, which always is."""

ALL_FORMATS: tuple[Format, ...] = get_args(Format)
FORMATS: tuple[Format, ...] = ALL_FORMATS[:6]
"""What is saved where nobody says otherwise."""

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
    "scene.obj",
    "scene.mtl",
    "scene_photo.jpg",
    "recovery.npz",
    "person_*.bvh",
    "scene.usdz",
    "cameras.txt",
    "images.txt",
    "points3D.txt",
    "person_*_amass.npz",
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
            ``depth_preview.png``; ``points``: ``scene.ply``, camera frame. The others are told in ``docs/export.md``.
        frame: Number of the frame where the image came out of a video.

    Raises:
        OutputError: Something else stands under the folder's name.
        UsageError: A format cannot be had, see :func:`check_formats`.
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
    document = result_document(recovery, frame=frame, meshes=meshes, depth=depth, folder=folder)
    surroundings = _surroundings(recovery, formats)
    with atomic_folder(folder, is_ours=_is_ours) as partial:
        if scene is not None and "depth" in formats:
            from metrichmsr.export.depth_files import write_depth

            write_depth(scene, partial)
        painted, pictures = None, None
        if {"overlay", "report"} & set(formats):
            from metrichmsr.export.overlay import paint_people

            painted = paint_people(recovery)
        if "overlay" in formats:
            _write_overlay(recovery, partial / "overlay.png", surroundings, painted)
        _write_files(recovery, partial, formats, surroundings)
        if "report" in formats:
            from metrichmsr.export.report_pictures import report_pictures

            pictures = report_pictures(recovery, surroundings, painted=painted)
        document["timings_ms"]["export"] = round(1000 * (time.perf_counter() - start), 3)
        if pictures is not None:  # last, as it tells of the other files' time
            from metrichmsr.export.report import REPORT, write_report

            write_report(document, pictures, datetime.now(), partial / REPORT)
        write_result(document, partial / "result.json")
    return folder, document


def check_formats(formats: Collection[Format], body_model: str) -> None:
    """Tell before the work what cannot be written.

    Raises:
        MissingPackageError: A format needs a package that is not installed.
        UsageError: A format is not for this body model.
    """
    if "usd" in formats:
        from metrichmsr.export.usd import require_usd

        require_usd()
    if "amass" in formats:
        from metrichmsr.export.amass import require_smpl

        require_smpl(body_model)


def write_formats(recovery: Recovery, folder: Path, formats: Collection[Format]) -> list[str]:
    """Write formats into an existing folder, all or none of them; returns the files' names.

    Args:
        recovery: What was recovered.
        folder: Existing folder. Files of the same names are replaced; anything else in it stays.
        formats: Any but ``overlay``, ``depth`` and ``report``, which belong to a recovery.

    Raises:
        UsageError: A format cannot be had, see :func:`check_formats`.
    """
    with tempfile.TemporaryDirectory(prefix=".convert-", dir=folder) as name:
        partial = Path(name)
        _write_files(recovery, partial, formats, _surroundings(recovery, formats))
        names = sorted(path.name for path in partial.iterdir())
        for done in names:
            os.replace(partial / done, folder / done)
    return names


def check_scene_formats(formats: Collection[Format], without: str) -> None:
    """Refuse formats that are of the scene alone, where there is none.

    Raises:
        UsageError: There is such a format; ``without`` says why there is no scene.
    """
    lost = [name for name in formats if name in ("depth", "points")]
    if lost:
        raise UsageError(f"{without}: there is no depth for {' and '.join(lost)}")


def shows_surroundings(formats: Collection[Format]) -> bool:
    """Whether some of these formats show what is around the people, and so need picture and depth."""
    return not {"ply", "bvh", "npz", "amass"} >= set(formats)


def _surroundings(recovery: Recovery, formats: Collection[Format]) -> Surroundings | None:
    """Found once for all formats that show them."""
    if recovery.scene is None or not {"glb", "points", "overlay", "report", "obj", "usd"} & set(formats):
        return None
    from metrichmsr.scene.outlines import Surroundings

    return Surroundings.of(recovery)


def _write_files(
    recovery: Recovery, folder: Path, formats: Collection[Format], surroundings: Surroundings | None
) -> None:
    """All formats but ``overlay``, ``depth`` and ``report``."""
    if "ply" in formats:
        from metrichmsr.export.ply import write_person_ply

        for person in recovery.people:
            write_person_ply(person, folder / f"person_{person.id}.ply")
    if "glb" in formats:
        from metrichmsr.export.glb import write_glb

        write_glb(recovery, folder / "scene.glb", surroundings)
    if "points" in formats and recovery.scene is not None:
        from metrichmsr.export.ply import write_scene_ply

        write_scene_ply(recovery, folder / "scene.ply", surroundings)
    if "obj" in formats:
        from metrichmsr.export.obj import write_obj

        write_obj(recovery, folder, surroundings)
    if "npz" in formats:
        from metrichmsr.export.parameters_npz import NPZ, write_parameters_npz

        write_parameters_npz(recovery, folder / NPZ)
    if "bvh" in formats:
        from metrichmsr.export.bvh import write_people_bvh

        write_people_bvh(recovery, folder)
    if "usd" in formats:
        from metrichmsr.export.usd import USDZ, write_usd

        write_usd(recovery, folder / USDZ, surroundings)
    if "colmap" in formats:
        from metrichmsr.export.colmap import write_colmap

        write_colmap(recovery, folder)
    if "amass" in formats:
        from metrichmsr.export.amass import write_people_amass

        write_people_amass(recovery, folder)


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
