"""People looked at in a mirror: the same crops once more, left and right exchanged (test-time augmentation)."""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt8

from metrichmsr.people.crops import regions_of_crops
from metrichmsr.people.landmarker import CROP_SIZE, Landmarker, to_landmarks
from metrichmsr.people.landmarks import Landmarks


def mirrored_landmarks(image: UInt8[np.ndarray, "H W 3"], landmarks: Landmarks, landmarker: Landmarker) -> Landmarks:
    """What the landmark network sees of the same people in the mirrored picture, in that picture's pixels.

    Args:
        image: upright RGB, not mirrored.
        landmarks: of its people; they say where to look.
        landmarker: the landmark network.
    """
    regions = regions_of_crops(landmarks.crop_from_image, crop_size=CROP_SIZE)
    regions[:, 0] = image.shape[1] - regions[:, 0]
    regions[:, 3] = -regions[:, 3]
    return to_landmarks(landmarker.look_at(np.ascontiguousarray(image[:, ::-1]), regions), None)
