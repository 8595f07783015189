"""People looked at in a mirror: the same crops once more, left and right exchanged (test-time augmentation)."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, UInt8

from metrichmsr.people.landmarker import CROP_SIZE, Landmarker, to_landmarks
from metrichmsr.people.landmarks import Landmarks


def mirrored_landmarks(image: UInt8[np.ndarray, "H W 3"], landmarks: Landmarks, landmarker: Landmarker) -> Landmarks:
    """What the landmark network sees of the same people in the mirrored picture, in that picture's pixels.

    Args:
        image: upright RGB, not mirrored.
        landmarks: of its people; they say where to look.
        landmarker: the landmark network.
    """
    regions = _regions(landmarks.crop_from_image)
    regions[:, 0] = image.shape[1] - regions[:, 0]
    regions[:, 3] = -regions[:, 3]
    return to_landmarks(landmarker.look_at(np.ascontiguousarray(image[:, ::-1]), regions), None)


def _regions(crop_from_image: Float[np.ndarray, "N 3 3"]) -> Float[np.ndarray, "N 4"]:
    """Centre, size and rotation of crops (:mod:`metrichmsr.people.crops`)."""
    middle = np.linalg.inv(crop_from_image) @ (CROP_SIZE / 2, CROP_SIZE / 2, 1.0)
    cos, sin = crop_from_image[:, 0, 0], crop_from_image[:, 0, 1]
    return np.stack([middle[:, 0], middle[:, 1], CROP_SIZE / np.hypot(cos, sin), np.arctan2(sin, cos)], axis=-1)
