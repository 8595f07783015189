"""Reading depth maps: npz, npy, 16-bit PNG, EXR, TIFF."""

from __future__ import annotations

import contextlib
import os
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from PIL import Image

from metrichmsr.errors import InputError
from metrichmsr.images import MAX_PIXELS

SUFFIXES = (".npz", ".npy", ".exr", ".png", ".tif", ".tiff")
"""Formats that can be read, in the order a folder is searched."""

_KEYS = ("depth_m", "depth")
_EXR_CHANNELS = ("Z", "DEPTH", "V", "Y", "R")


@dataclass(frozen=True)
class StoredDepth:
    """The numbers in a depth file, before their unit is known."""

    values: Float[np.ndarray, "h w"]
    """Float64."""
    whole_numbers: bool
    """Whether they are stored as integers."""
    eight_bit: bool = False
    states_metres: bool = False
    """Whether the file itself says that they are metres (the key ``depth_m``)."""
    confidence: Float[np.ndarray, "h w"] | None = None
    """In [0, 1], where the file has the key ``confidence``."""


def read_depth_file(path: Path) -> StoredDepth:
    """The depth map in a file.

    An npz has it under ``depth_m``, ``depth`` or as its only array; an EXR in its only channel or in one called Z,
    depth, V, Y or R.

    Raises:
        InputError: there is no such file, its format is another, it is damaged, or what it holds is no depth map.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"{path}: not a depth file; these are: {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise InputError(f"{path}: no such depth file")
    states_metres, confidence = False, None
    try:
        if suffix in (".npz", ".npy"):
            values, states_metres, confidence = _read_numpy(path)
        elif suffix == ".exr":
            values = _read_exr(path)
        else:
            values = _read_image(path)
    except InputError:
        raise
    except (OSError, ValueError, SyntaxError, EOFError, zipfile.BadZipFile, zlib.error, RuntimeError) as error:
        cause = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path}: depth file is damaged or cannot be read ({cause})") from error
    except MemoryError:
        raise InputError(f"{path}: not enough memory to read it") from None
    values = _as_map(path, values)
    if confidence is not None:
        confidence = _as_map(path, confidence)
        if confidence.shape != values.shape:
            raise InputError(f"{path}: confidence and depth differ in size")
        confidence = np.clip(np.nan_to_num(confidence.astype(np.float32)), 0, 1)
    return StoredDepth(
        values=values.astype(np.float64),
        whole_numbers=np.issubdtype(values.dtype, np.integer),
        eight_bit=values.dtype.itemsize == 1,
        states_metres=states_metres,
        confidence=confidence,
    )


def _as_map(path: Path, values: np.ndarray) -> np.ndarray:
    if values.ndim == 3 and 1 in (values.shape[0], values.shape[2]):
        values = values[0] if values.shape[0] == 1 else values[..., 0]
    if values.ndim != 2 or values.size == 0:
        raise InputError(f"{path}: an array of shape {values.shape} is no depth map of one value a pixel")
    if not (np.issubdtype(values.dtype, np.integer) or np.issubdtype(values.dtype, np.floating)):
        raise InputError(f"{path}: {values.dtype} values are no depth")
    if values.size > MAX_PIXELS:
        raise InputError(f"{path}: {values.shape[1]}×{values.shape[0]} pixels are more than can be worked on")
    return values


def _read_numpy(path: Path) -> tuple[np.ndarray, bool, np.ndarray | None]:
    with path.open("rb") as file:
        stored = np.load(file, allow_pickle=False)
        if isinstance(stored, np.ndarray):
            return stored, False, None
        key = next((key for key in _KEYS if key in stored.files), None)
        if key is None and len(stored.files) == 1:
            key = stored.files[0]
        if key is None:
            held = ", ".join(stored.files) or "nothing"
            raise InputError(f"{path}: has neither depth_m nor depth, but {held}")
        confidence = stored["confidence"] if "confidence" in stored.files else None
        return stored[key], key == "depth_m", confidence


def _read_image(path: Path) -> np.ndarray:
    with Image.open(path, formats=("PNG", "TIFF")) as image:
        channels = len(image.getbands())
        if channels > 1 or image.mode in ("P", "1"):
            kind = f"{channels} colour channels" if channels > 1 else "a palette"
            raise InputError(f"{path}: has {kind}; depth has one number a pixel (is it a coloured preview?)")
        if image.width * image.height > MAX_PIXELS:
            raise InputError(f"{path}: {image.width}×{image.height} pixels are more than can be worked on")
        return np.array(image)  # as stored, whatever an orientation tag says


def _read_exr(path: Path) -> np.ndarray:
    try:
        import OpenEXR
    except ImportError:
        return _read_exr_by_opencv(path)
    with OpenEXR.File(str(path), separate_channels=True) as file:
        channels = {name: np.array(channel.pixels) for name, channel in file.channels().items()}
    if len(channels) == 1:
        return next(iter(channels.values()))
    for wanted in _EXR_CHANNELS:  # layers come as "View Layer.Depth.Z"
        for name, pixels in channels.items():
            if name.rpartition(".")[2].upper() == wanted:
                return pixels
    raise InputError(f"{path}: no channel called Z, depth, V, Y or R among {', '.join(sorted(channels))}")


def _read_exr_by_opencv(path: Path) -> np.ndarray:
    import cv2

    with _environment("OPENCV_IO_ENABLE_OPENEXR", "1"):
        try:
            values = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        except cv2.error:
            values = None
    if values is None:
        raise InputError(f"{path}: EXR cannot be read with the installed OpenCV; pip install 'metrichmsr[exr]'")
    return values[..., 2] if values.ndim == 3 else values  # blue, green, red


@contextlib.contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    """An environment variable, for this block only."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
