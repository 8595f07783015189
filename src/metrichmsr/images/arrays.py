"""Pictures that are already in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from metrichmsr.errors import InputError
from metrichmsr.images.photo import MAX_PIXELS, Photo, check_size
from metrichmsr.images.pixels import PixelError, over_white, reduce_float, reduce_uint16


def from_array(array: Any, *, name: str | Path = "array", max_pixels: int = MAX_PIXELS) -> Photo:
    """A picture in memory as a :class:`Photo`; the array is copied, never kept.

    Args:
        array: H×W (grey), or H×W×C with C = 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGB, alpha); uint8, uint16 (full
            range) or float in [0, 1]. Order RGB: turn OpenCV's BGR round first (``bgr[..., ::-1]``).
        name: stands for the file name, in messages, results and intrinsics files keyed by name.
        max_pixels: the size limit.

    Raises:
        InputError: shape, type or values are none of these, or the size is refused.
    """
    values = np.asarray(array)
    if values.ndim == 2:
        values = values[..., None]
    if values.ndim != 3 or values.shape[2] not in (1, 2, 3, 4):
        advice = ""
        if values.ndim == 3 and values.shape[0] in (1, 3, 4):
            advice = "; it looks like C×H×W: pass array.transpose(1, 2, 0)"
        elif values.ndim == 4:
            advice = "; pass the pictures of a batch one by one"
        shape = "×".join(map(str, np.shape(array))) or "a single number"
        raise InputError(f"{name}: an image array is H×W, H×W×3 or H×W×4, not {shape}{advice}")
    height, width, channels = values.shape
    check_size(width, height, name=name, max_pixels=max_pixels)
    if values.dtype == np.uint16:
        values = reduce_uint16(values)
    elif np.issubdtype(values.dtype, np.floating):
        try:
            values = reduce_float(values)
        except PixelError as error:
            hint = "; numbers from 0 to 255 go in as uint8" if 1 < values.max() <= 255 else ""
            raise InputError(f"{name}: {error}{hint}") from None
    elif values.dtype != np.uint8:
        raise InputError(f"{name}: an image array is uint8, uint16 or float in [0, 1], not {values.dtype}")
    if channels in (2, 4):
        values = over_white(values[..., :-1], values[..., -1:])
    rgb = np.array(np.broadcast_to(values, (height, width, 3)), order="C")
    return Photo(rgb=rgb, path=Path(name), is_file=False)
