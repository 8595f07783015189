"""Other views of a picture whose K is known: a camera at its place, turned and zoomed, sees an exact homography."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from metrichmsr.errors import InputError
from metrichmsr.synthetic.shot_files import read_shots
from view_pictures.views import View, draw_size, tilt_of

TRAINED_ON = {
    "icl_office": "",
    "redwood_livingroom1": "",
    "slambook": "CC-BY",
    "hololens_dvmvs": "",
    "posecnn": "",
    "nvblox_3dmatch": "",
}
"""Sets of RGB-D frames that are trained on, and how their licence must begin (slambook has two). Others would permit it
too (TUM RGB-D, PCL), but pictures of theirs are among those that are measured on."""


@dataclass(frozen=True, eq=False)
class Pinhole:
    """A picture with K, and which way is up where that is known (camera frame)."""

    image: UInt8[np.ndarray, "H W 3"]
    K: Float[np.ndarray, "3 3"]
    up: Float[np.ndarray, "3"] | None
    set: str

    def view(self) -> View:
        """As it is."""
        pitch, roll = (math.nan, math.nan) if self.up is None else tilt_of(self.up)
        return View(self.image, float(math.sqrt(self.K[0, 0] * self.K[1, 1])), pitch, roll)


def read_scenes(folder: Path, *, every: int = 1) -> Iterator[Pinhole]:
    """SynFocal scenes of a folder of shards."""
    for number, shot in enumerate(read_shots(folder, fields=("image",))):
        if number % every == 0:
            up = shot.camera_from_world[:3, :3].astype(np.float64) @ np.array([0.0, 1.0, 0.0])
            yield Pinhole(shot.image, shot.K.astype(np.float64), up, "synfocal")


def read_frames(folder: Path, *, trained_on: bool) -> Iterator[Pinhole]:
    """RGB-D frames listed in ``index.jsonl``: those that may be trained on, or all the others.

    Raises:
        InputError: a picture cannot be read.
    """
    for line in (folder / "index.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        permitted = row["set"] in TRAINED_ON and row["licence"].startswith(TRAINED_ON[row["set"]])
        if permitted != trained_on:
            continue
        path = folder / f"{row['file']}.jpg"
        picture = cv2.imread(str(path))
        if picture is None:
            raise InputError(f"{path}: cannot be read as a picture")
        fx, fy, cx, cy = row["K"]
        K = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], dtype=np.float64)
        yield Pinhole(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), K, None, row["set"])


def draw_other_view(source: Pinhole, rng: np.random.Generator, *, most_zoom: float = 2.5) -> View:
    """A view within ``source``: up to ``most_zoom`` times its focal length, turned as far as the picture reaches."""
    height, width = source.image.shape[:2]
    for attempt in range(40):
        ease = 0.9**attempt
        wide, high = draw_size(rng)
        turn = np.radians(rng.normal(0, [4, 4, 5]) * ease)
        rotation = cv2.Rodrigues(turn)[0].astype(np.float64)  # other camera from source camera
        zoom = math.exp(rng.uniform(0, math.log(most_zoom)))
        # Scale so that the picture would just fit, then zoom.
        focal = math.sqrt(source.K[0, 0] * source.K[1, 1]) * max(wide / width, high / height) * zoom
        off = rng.normal(0, 0.01, 2) * wide
        K = np.array([[focal, 0, wide / 2 + off[0]], [0, focal, high / 2 + off[1]], [0, 0, 1]])
        source_from_other = source.K @ rotation.T @ np.linalg.inv(K)
        corners = np.array([[0, 0, 1], [wide, 0, 1], [0, high, 1], [wide, high, 1]], float) @ source_from_other.T
        if (corners[:, 2] < 0.05).any():
            continue
        seen = corners[:, :2] / corners[:, 2:]
        if (seen >= -0.5).all() and (seen <= [width + 0.5, height + 0.5]).all():
            # Pixel indices lie half a pixel before continuous pixels.
            half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
            matrix = np.linalg.inv(half) @ source_from_other @ half
            flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
            image = cv2.warpPerspective(source.image, matrix, (wide, high), flags=flags, borderMode=cv2.BORDER_REFLECT)
            pitch, roll = (math.nan, math.nan) if source.up is None else tilt_of(rotation @ source.up)
            return View(image, focal, pitch, roll)
    return source.view()
