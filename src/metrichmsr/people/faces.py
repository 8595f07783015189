"""What faces tell: crops around the landmarks of eyes and mouth, read by :mod:`~metrichmsr.people.face_network`.

It serves bodies alone, their statures and build (:mod:`metrichmsr.hmr.face_cue`); nobody is recognised.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8

from metrichmsr.people.crops import extract_crops
from metrichmsr.people.face_network import FACE_SIZE, FaceNetwork
from metrichmsr.people.landmarks import Landmarks
from metrichmsr.people.weight_files import WEIGHTS_DIR, load_into
from metrichmsr.structures import BLAZEPOSE33

_EYES = [BLAZEPOSE33.index(name) for name in ("left_eye", "right_eye")]
_MOUTH = [BLAZEPOSE33.index(name) for name in ("mouth_left", "mouth_right")]
_EARS = [BLAZEPOSE33.index(name) for name in ("left_ear", "right_ear")]
_NOSE = BLAZEPOSE33.index("nose")
_SCALES = (2.0, 2.5, 3.0)
"""Sides of the crops, in distances from eye to eye or eyes to mouth, whichever is longer. Answers depend on how a face
is cut out; the mean over a few does less."""
_SIZE = 2.5
"""The same of what is called the size of a face."""
SMALLEST_PX = 18.0
"""Faces smaller than this are not looked at: blurred ones are taken for children's."""


@dataclass(frozen=True)
class Faces:
    """What the faces of N people tell; NaN of those that are not looked at."""

    age_years: Float[np.ndarray, "N"]
    male: Float[np.ndarray, "N"]
    """Probability that the face is a man's or boy's."""
    size_px: Float[np.ndarray, "N"]
    """Side of the face, pixels of the image."""
    facing: Float[np.ndarray, "N"]
    """Cosine of the angle between where the face looks and the camera: 1 frontal, 0 profile, −1 from behind."""
    confidence: Float[np.ndarray, "N"]
    """The least of the landmarks of eyes and mouth, in [0, 1]."""

    def __len__(self) -> int:
        return len(self.age_years)


class FaceReader:
    """Reads everybody's face in a picture.

    Args:
        network: by default the shipped weights on the CPU.
    """

    def __init__(self, network: FaceNetwork | None = None) -> None:
        if network is None:
            with torch.device("meta"):
                network = FaceNetwork()
            load_into(network, WEIGHTS_DIR / "face_small.safetensors")
        self.network = network.eval()

    @torch.inference_mode()
    def __call__(self, image: UInt8[np.ndarray, "H W 3"], landmarks: Landmarks) -> Faces:
        """The faces of these people.

        Args:
            image: upright RGB.
            landmarks: of the people in it.
        """
        regions = face_regions(landmarks)
        size = regions[:, 2]
        facing = _facing(landmarks)
        looked_at = np.flatnonzero((size >= SMALLEST_PX) & (facing > 0))
        age, male = np.full(len(size), np.nan), np.full(len(size), np.nan)
        if len(looked_at):
            several = np.repeat(regions[looked_at], len(_SCALES), axis=0)
            several[:, 2] *= np.tile(np.array(_SCALES) / _SIZE, len(looked_at))
            crops = torch.from_numpy(extract_crops(image, several, crop_size=FACE_SIZE))
            years, men = self.network(crops.permute(0, 3, 1, 2).float())
            age[looked_at] = years.view(-1, len(_SCALES)).mean(1).double().numpy()
            male[looked_at] = men.view(-1, len(_SCALES)).mean(1).double().numpy()
        confidence = landmarks.confidence[:, [*_EYES, *_MOUTH]].min(1)
        return Faces(age_years=age, male=male, size_px=size, facing=facing, confidence=confidence)


def face_regions(landmarks: Landmarks) -> Float[np.ndarray, "N 4"]:
    """Square regions around faces, turned upright (:mod:`metrichmsr.people.crops`)."""
    eyes, mouth = landmarks.xy[:, _EYES], landmarks.xy[:, _MOUTH].mean(1)
    between = np.linalg.norm(eyes[:, 0] - eyes[:, 1], axis=-1)
    up = eyes.mean(1) - mouth
    size = _SIZE * np.maximum(np.maximum(between, np.linalg.norm(up, axis=-1)), 1e-3)
    centre = eyes.mean(1) - 0.4 * up
    return np.column_stack([centre, size, np.arctan2(up[:, 0], -up[:, 1])])


def _facing(landmarks: Landmarks) -> Float[np.ndarray, "N"]:
    ahead = landmarks.world[:, _NOSE] - landmarks.world[:, _EARS].mean(1)
    return -ahead[:, 2] / np.maximum(np.linalg.norm(ahead, axis=-1), 1e-6)
