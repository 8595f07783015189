"""Finds the picture of a result: in its ``scene.glb``, else where the photo or video was.

``scene.glb`` comes first: it lies beside the result whatever became of the photo, and holds it upright and without the
lens's distortion, as K speaks of it.
"""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from metrichmsr.errors import MetricHMSRError
from metrichmsr.export.read_entries import photo_places, picture_of
from metrichmsr.structures import Camera
from metrichmsr.viewer.result_folder import ResultFolder


def find_photo(result: ResultFolder) -> UInt8[np.ndarray, "h w 3"] | None:
    """The upright, undistorted picture, RGB, perhaps smaller than the camera's; None where it is not to be had."""
    camera = result.camera
    image = texture_of_glb(result.folder / "scene.glb")
    if image is not None and _same_shape(image, camera):
        return image
    return _from_its_file(result, camera)


def texture_of_glb(path: Path) -> UInt8[np.ndarray, "h w 3"] | None:
    """The first picture in a binary glTF file; None where there is none."""
    from PIL import Image

    try:
        with path.open("rb") as file:
            magic, _, _, length, kind = struct.unpack("<4sIIII", file.read(20))
            if magic != b"glTF" or kind != 0x4E4F534A:
                return None
            document = json.loads(file.read(length))
            view = document["bufferViews"][document["images"][0]["bufferView"]]
            file.seek(20 + length + 8 + view.get("byteOffset", 0))
            data = file.read(view["byteLength"])
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    except (OSError, ValueError, KeyError, IndexError, struct.error):
        return None


def _from_its_file(result: ResultFolder, camera: Camera) -> UInt8[np.ndarray, "h w 3"] | None:
    for path in photo_places(result.document, result.folder):
        if not path.is_file():
            continue
        try:
            image = _read(path, result.document["image"].get("frame"))
        except MetricHMSRError:
            continue
        # Another photo may have taken the name meanwhile.
        if image is not None and image.shape[:2] == (camera.height, camera.width):
            return picture_of(result.document, image)
    return None


def _read(path: Path, frame: int | None) -> UInt8[np.ndarray, "h w 3"] | None:
    from metrichmsr.images import read_image
    from metrichmsr.images.video import iter_frames

    if frame is None:
        return read_image(path).rgb
    return next((shown.rgb for shown in iter_frames(path) if shown.index == frame), None)


def _same_shape(image: np.ndarray, camera: Camera) -> bool:
    height, width = image.shape[:2]
    return abs(width / height * camera.height / camera.width - 1) < 0.02
