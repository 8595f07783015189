"""Intrinsics that lie beside the photo, used without being asked for where they fit.

Looked for in this order, for ``photo.jpg``: ``photo.jpg.json``, ``photo.camera.json``, ``photo.json``, then in its
folder ``intrinsics.json`` and ``cameras.txt``. Other programs write files of such names, so what is not an intrinsics
file is passed over in silence; what is one but does not fit is passed over with a warning.
"""

from __future__ import annotations

import re
from pathlib import Path

from metrichmsr.calibration.intrinsics_file import read_intrinsics
from metrichmsr.errors import InputError
from metrichmsr.images.photo import Photo
from metrichmsr.structures import Camera

_MAX_BYTES = 32 * 2**20  # beside a photo, more is somebody's annotations


def sidecar_camera(photo: Photo) -> tuple[Camera | None, list[str]]:
    """The camera from a file beside the photo, source ``sidecar``, or None; and warnings about what does not fit."""
    warnings: list[str] = []
    if not photo.is_file:
        return None, warnings
    for path in _candidates(photo.path):
        try:
            if not path.is_file() or path.stat().st_size > _MAX_BYTES:
                continue
            try:
                intrinsics = read_intrinsics(path).find(photo.path)
                if intrinsics is not None:
                    return intrinsics.camera(photo, source="sidecar"), warnings
            except InputError as error:
                if _speaks_of_cameras(path):
                    warnings.append(f"sidecar not used: {error}")
        except OSError:  # a file we may not read is somebody else's
            continue
    return None, warnings


def _candidates(photo: Path) -> tuple[Path, ...]:
    stem, folder = photo.stem, photo.parent
    names = (f"{photo.name}.json", f"{stem}.camera.json", f"{stem}.json", "intrinsics.json", "cameras.txt")
    return tuple(folder / name for name in names)


def _speaks_of_cameras(path: Path) -> bool:
    """Whether a file that could not be used looks like intrinsics at all, so that its mistake deserves a warning."""
    content = path.read_bytes()
    if path.suffix == ".txt":  # CAMERA_ID MODEL WIDTH HEIGHT PARAMS…
        return re.search(rb"^\d+\s+[A-Z_]+\s+\d+\s+\d+\s", content, re.MULTILINE) is not None
    return b'"K"' in content
