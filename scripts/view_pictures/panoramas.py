"""Perspective views of equirectangular panoramas: field of view, pitch and roll are known exactly."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from metrichmsr.errors import InputError
from metrichmsr.synthetic.splits import Split, of_split
from view_pictures.views import View, draw_focal, draw_size, draw_tilt, up_of

PERMITTED = ("CC0", "CC BY 3.0", "CC BY 4.0", "Public domain")
"""Beginnings of the licences under which a panorama may be trained on."""


def read_panoramas(folder: Path, split: Split) -> dict[str, UInt8[np.ndarray, "H W 3"]]:
    """The panoramas of a split (``pano/*.webp``) whose licence in INDEX.tsv permits it, by name.

    Raises:
        InputError: there are none, or one cannot be read.
    """
    with (folder / "INDEX.tsv").open(encoding="utf-8") as file:
        licences = {row["file"]: row["licence"] for row in csv.DictReader(file, delimiter="\t")}
    paths = sorted((folder / "pano").glob("*.webp"))
    found = {}
    for path in of_split(paths, [path.stem for path in paths], split):
        if not licences.get(f"pano/{path.name}", "").startswith(PERMITTED):
            continue
        picture = cv2.imread(str(path))
        if picture is None:
            raise InputError(f"{path}: cannot be read as a picture")
        found[path.stem] = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
    if not found:
        raise InputError(f"{folder}: no panoramas")
    return found


def draw_view(
    panorama: UInt8[np.ndarray, "H W 3"], rng: np.random.Generator, *, usual_focal: float, usual_tilt: float
) -> View:
    """A view in a random direction; see :func:`~view_pictures.views.draw_focal` for ``usual_focal``."""
    width, height = draw_size(rng)
    focal = draw_focal(rng, width, height, usual=usual_focal)
    pitch, roll = draw_tilt(rng, usual=usual_tilt)
    return look(panorama, width, height, focal, yaw=rng.uniform(0, 2 * math.pi), pitch=pitch, roll=roll)


def look(
    panorama: UInt8[np.ndarray, "H W 3"],
    width: int,
    height: int,
    focal: float,
    *,
    yaw: float,
    pitch: float,
    roll: float,
) -> View:
    """The view of a pinhole camera from the middle of a panorama; angles in radians."""
    up = up_of(pitch, roll)
    right = np.cross([0.0, 0.0, 1.0], up)  # level, in the camera frame: z × up = (−up_y, up_x, 0)
    right /= np.linalg.norm(right)
    ahead = np.cross(up, right)
    u, v = np.meshgrid(np.arange(width) + 0.5 - width / 2, np.arange(height) + 0.5 - height / 2)
    rays = np.stack([u / focal, v / focal, np.ones_like(u)], axis=-1).astype(np.float32)
    x, y, z = (rays @ axis.astype(np.float32) for axis in (right, up, ahead))
    heading = np.arctan2(x, z) + yaw
    latitude = np.arctan2(y, np.hypot(x, z))
    rows, columns = panorama.shape[:2]
    # One pixel more on every side: the panorama goes on beyond its left and right edge.
    wide = cv2.copyMakeBorder(panorama, 1, 1, 0, 0, cv2.BORDER_REPLICATE)
    wide = cv2.copyMakeBorder(wide, 0, 0, 1, 1, cv2.BORDER_WRAP)
    map_x = np.mod(0.5 + heading / (2 * math.pi), 1.0) * columns - 0.5 + 1
    map_y = (0.5 - latitude / math.pi) * rows - 0.5 + 1
    image = cv2.remap(wide, map_x.astype(np.float32), map_y.astype(np.float32), cv2.INTER_LINEAR)
    return View(image, focal, pitch, roll)
