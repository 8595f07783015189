"""Joining BlazePose's landmarks with the detector's keypoints.

Two networks see the same joint. Where they agree the average is better than either; where they do not, the surer one is
right more often, and the distance between them is an honest measure of doubt.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from metrichmsr.people.detection import COCO_SIGMAS

DETECTOR_TRUST = 0.7
"""A detector's confidence counts as this much of a heat map's height."""
SHARPNESS = 3
"""Weights are confidences to this power: mostly the surer one, the average where both are equally sure."""
AREA_OF_REGION = 0.2
"""A person's area over that of the square region around the person."""


def agreement(
    xy: Float[np.ndarray, "*N 17 2"], keypoints: Float[np.ndarray, "*N 17 3"], region_size: Float[np.ndarray, "*N"]
) -> Float[np.ndarray, "*N"]:
    """Object keypoint similarity of landmarks with the detector's keypoints, weighted by the detector's confidence.

    Args:
        xy: landmarks, pixels.
        keypoints: the detector's, u, v and confidence.
        region_size: side of the person's crop, pixels.
    """
    square = ((xy - keypoints[..., :2]) ** 2).sum(-1)
    area = AREA_OF_REGION * region_size[..., None] ** 2
    closeness = np.exp(-square / (2 * area * (2 * COCO_SIGMAS) ** 2))
    weight = keypoints[..., 2]
    return (closeness * weight).sum(-1) / np.maximum(weight.sum(-1), 1e-6)


class Joined(NamedTuple):
    """Keypoints after joining; pixels."""

    xy: Float[np.ndarray, "N 17 2"]
    confidence: Float[np.ndarray, "N 17"]
    sigma_px: Float[np.ndarray, "N 17"]


def join_keypoints(
    xy: Float[np.ndarray, "N 17 2"],
    confidence: Float[np.ndarray, "N 17"],
    sigma_px: Float[np.ndarray, "N 17"],
    keypoints: Float[np.ndarray, "N 17 3"],
    keypoint_sigma_px: Float[np.ndarray, "N 17"],
) -> Joined:
    """Weighted mean of both; the variance is that of the mixture, so it grows where they disagree.

    Args:
        xy: BlazePose's, pixels.
        confidence: its confidences.
        sigma_px: its sigmas per axis.
        keypoints: the detector's, u, v and confidence.
        keypoint_sigma_px: the detector's sigmas per axis.
    """
    trusted = DETECTOR_TRUST * keypoints[..., 2]
    ours, theirs = confidence**SHARPNESS + 1e-6, trusted**SHARPNESS
    share = theirs / (ours + theirs)
    joined = xy + share[..., None] * (keypoints[..., :2] - xy)

    def variance(points: Float[np.ndarray, "N 17 2"], sigma: Float[np.ndarray, "N 17"]) -> Float[np.ndarray, "N 17"]:
        return sigma**2 + ((points - joined) ** 2).sum(-1) / 2

    mixture = (1 - share) * variance(xy, sigma_px) + share * variance(keypoints[..., :2], keypoint_sigma_px)
    return Joined(joined, (1 - share) * confidence + share * trusted, np.sqrt(mixture))
