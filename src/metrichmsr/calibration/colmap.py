"""COLMAP's text export: ``cameras.txt`` with the intrinsics, ``images.txt`` beside it with whose they are.

Format: COLMAP's documentation, "Output format". Its pixels are continuous with the origin at the corner of the first
pixel, as ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from metrichmsr.errors import InputError

# Model → the names of its parameters, in order.
_MODELS = {
    "SIMPLE_PINHOLE": ("f", "cx", "cy"),
    "PINHOLE": ("fx", "fy", "cx", "cy"),
    "SIMPLE_RADIAL": ("f", "cx", "cy", "k1"),
    "RADIAL": ("f", "cx", "cy", "k1", "k2"),
    "OPENCV": ("fx", "fy", "cx", "cy", "k1", "k2", "p1", "p2"),
}


def read_colmap(path: Path) -> tuple[dict[str, Any] | None, dict[str, dict[str, Any]]]:
    """Entries as in JSON intrinsics files: the one for every picture (None where there are several), and by file name.

    Raises:
        InputError: it is not such a file, has a camera model with other distortion, or has several cameras and no
            ``images.txt`` beside it says whose they are.
        OSError: it cannot be read.
    """
    cameras = {camera_id: entry for camera_id, entry in _cameras(path)}
    if not cameras:
        raise InputError(f"{path}: no camera in it (COLMAP's cameras.txt has CAMERA_ID MODEL WIDTH HEIGHT PARAMS…)")
    images = path.with_name("images.txt")
    by_name = {}
    if images.is_file():
        for name, camera_id in _images(images):
            if camera_id not in cameras:
                raise InputError(f"{images}: {name} has camera {camera_id}, which {path.name} does not have")
            by_name[name] = cameras[camera_id]
    if len(cameras) == 1:
        return next(iter(cameras.values())), by_name
    if not by_name:
        raise InputError(f"{path}: {len(cameras)} cameras, and no images.txt beside it says whose they are")
    return None, by_name


def _cameras(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    with path.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, start=1):
            fields = line.split()
            if not fields or fields[0].startswith("#"):
                continue
            where = f"{path}, line {number}"
            if len(fields) < 5 or not fields[0].isdecimal():
                raise InputError(f"{where}: not CAMERA_ID MODEL WIDTH HEIGHT PARAMS… of COLMAP's cameras.txt")
            names = _MODELS.get(fields[1])
            if names is None:
                raise InputError(f"{where}: camera model {fields[1]} cannot be used ({', '.join(_MODELS)} can)")
            try:
                width, height = int(fields[2]), int(fields[3])
                values = dict(zip(names, map(float, fields[4:]), strict=True))
            except ValueError:
                raise InputError(f"{where}: {fields[1]} wants {len(names)} numbers ({' '.join(names)})") from None
            yield fields[0], _entry(values, width, height)


def _entry(values: dict[str, float], width: int, height: int) -> dict[str, Any]:
    fx, fy = values.get("fx", values.get("f")), values.get("fy", values.get("f"))
    return {
        "K": [[fx, 0.0, values["cx"]], [0.0, fy, values["cy"]], [0.0, 0.0, 1.0]],
        "width": width,
        "height": height,
        "distortion": [values.get(name, 0.0) for name in ("k1", "k2", "p1", "p2", "k3")],
    }


def _images(path: Path) -> Iterator[tuple[str, str]]:
    """(file name, camera id) of every image. Each has two lines; the second, its points, may be empty or megabytes."""
    with path.open(encoding="utf-8-sig") as lines:
        for line in lines:
            if line.startswith("#") or not line.strip():
                continue
            fields = line.split(maxsplit=9)
            if len(fields) < 10:
                raise InputError(f"{path}: not IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME of COLMAP's images.txt")
            yield fields[9].strip(), fields[8]
            next(lines, None)
