"""``estimated:panorama``: field of view, pitch and roll from the picture alone, by a small network that comes along.

It stands at the end of the chain, where neither the user nor the photo tells the focal length. How sure it is differs
from picture to picture (a street tells more than a face), and its sigmas say so; over held-out panoramas 68 % of the
errors lie within them. What it was trained on, and how well it does: ``weights/view_small.md``.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8

from metrichmsr.calibration.centred import centred_camera
from metrichmsr.calibration.estimators import Estimate, UpEstimate
from metrichmsr.calibration.view_network import (
    CELL,
    ViewNetwork,
    coordinates,
    describe,
    input_size,
    shrink,
)
from metrichmsr.errors import ModelFileError
from metrichmsr.people.movenet import Backbone, MoveNetMultiPose
from metrichmsr.people.weight_files import WEIGHTS_DIR, load_into

WEIGHTS = WEIGHTS_DIR / "view_small.safetensors"
"""The network that comes with the package."""
BACKBONE = WEIGHTS_DIR / "movenet_multipose.safetensors"
"""Its backbone is the one that finds people."""

LEAST_SIGMA = 0.05
"""Relative sigma of the focal length: no less is believed, whatever the network says."""


@dataclass(frozen=True, eq=False)
class ViewEstimate:
    """What one picture tells of the camera that took it."""

    focal_px: float
    """Focal length, pixels of the picture given; square pixels, the principal point in the middle."""
    focal_std_px: float
    """One sigma."""
    up: UpEstimate
    """Which way is up, camera frame."""


class PanoramaEstimator:
    """Implements :class:`~metrichmsr.calibration.estimators.IntrinsicsEstimator`.

    Args:
        network: reads the description of the picture.
        backbone: MoveNet's, describes it.
    """

    name = "panorama"

    def __init__(self, network: ViewNetwork, backbone: Backbone) -> None:
        self.network = network.eval()
        self.backbone = backbone.eval().to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]

    @classmethod
    def load(cls, weights: Path | None = None) -> PanoramaEstimator:
        """With the weights that come along, or those of a file.

        Raises:
            ModelFileError: a weights file is missing, damaged, or of another network.
        """
        weights = weights or WEIGHTS
        if not weights.is_file():
            raise ModelFileError(f"{weights}: weights file not found; reinstall metrichmsr, or scripts/train_view.py")
        network, people = ViewNetwork(), MoveNetMultiPose()
        load_into(network, weights)
        load_into(people, BACKBONE)
        return cls(network, people.backbone)

    def __call__(self, image: UInt8[np.ndarray, "H W 3"]) -> Estimate:
        """K of upright RGB, and which way is up in it."""
        view = self.view(image)
        height, width = image.shape[:2]
        K = centred_camera(width, height, view.focal_px, source="", focal_std_px=None).K
        return Estimate(K, view.focal_std_px, view.up)

    def view(self, image: UInt8[np.ndarray, "H W 3"]) -> ViewEstimate:
        """Field of view, pitch and roll of upright RGB."""
        height, width = image.shape[:2]
        columns, rows = (side // CELL for side in input_size(width, height))
        with torch.inference_mode():
            features = describe(self.backbone, shrink(image)[None], width, height)
            values, sigmas = self.network.estimate(features, coordinates(columns, rows, width, height))
        (log_focal, pitch, roll), (focal_sigma, pitch_sigma, roll_sigma) = values[0].tolist(), sigmas[0].tolist()
        focal = math.exp(log_focal) * math.hypot(width, height)
        up = UpEstimate(
            pitch_deg=math.degrees(pitch),
            roll_deg=math.degrees(roll),
            pitch_std_deg=math.degrees(pitch_sigma),
            roll_std_deg=math.degrees(roll_sigma),
        )
        return ViewEstimate(focal, max(focal_sigma, LEAST_SIGMA) * focal, up)


@functools.cache
def panorama_estimator() -> PanoramaEstimator:
    """The estimator with the weights that come along, loaded at the first call and kept.

    Raises:
        ModelFileError: a weights file is missing or damaged.
    """
    return PanoramaEstimator.load(WEIGHTS)


def estimate_view(image: UInt8[np.ndarray, "H W 3"]) -> ViewEstimate:
    """Field of view, pitch and roll of a picture, whatever else is known of its camera.

    Where K is known (EXIF), pitch and roll are still of use: they say where the ground must be looked for.

    Args:
        image: upright RGB.

    Raises:
        ModelFileError: a weights file is missing or damaged.
    """
    return panorama_estimator().view(image)
