"""From what the landmark network saw to what the HMR network reads."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from metrichmsr.geometry import ray_map
from metrichmsr.hmr.gravity import gravity_inputs
from metrichmsr.hmr.image_encoders import CropEvidence
from metrichmsr.people.landmarks import Landmarks

CROP_SIZE = 256
"""Side of BlazePose's crops in pixels."""
_FEATURE_CELLS = 16


class Up(Protocol):
    """Which way is up in a picture, as :class:`~metrichmsr.calibration.estimators.UpEstimate` tells it."""

    @property
    def direction(self) -> Float[np.ndarray, "3"]:
        """Unit vector against gravity, camera frame."""
        ...

    @property
    def std_deg(self) -> float:
        """Root mean square angle between ``direction`` and the true one, degrees."""
        ...


@dataclass(frozen=True)
class UpDirection:
    """Which way is up where that is not read off a picture; implements :class:`Up`."""

    direction: Float[np.ndarray, "3"]
    std_deg: float


def evidence_from_landmarks(
    landmarks: Landmarks, K: Float[np.ndarray, "3 3"], *, ray_size: int, up: Up | None = None
) -> tuple[CropEvidence, Float[Tensor, "N 3 3"]]:
    """Evidence of N people in one picture, and K_crop = (crop from image)·K of each.

    Crops are BlazePose's own: square, and turned so that the person is upright. The ray map is turned with them.

    Args:
        landmarks: what was seen.
        K: intrinsics of the picture.
        ray_size: rows and columns of the ray map.
        up: which way is up in the picture; withheld by default.
    """
    crop_from_image = torch.from_numpy(landmarks.crop_from_image).float()
    K_crop = crop_from_image.double() @ torch.from_numpy(np.asarray(K, dtype=np.float64))
    coarse = torch.diag(torch.tensor([ray_size / CROP_SIZE, ray_size / CROP_SIZE, 1.0], dtype=torch.float64))
    logits = torch.from_numpy(landmarks.mask_logits).float().clamp(-30, 30)
    cell = CROP_SIZE // _FEATURE_CELLS
    evidence = CropEvidence(
        rays=ray_map(coarse @ K_crop, height=ray_size, width=ray_size).float(),
        features=torch.from_numpy(landmarks.features).float(),
        grid32=torch.from_numpy(landmarks.grid32).float(),
        landmarks=landmark_inputs(
            torch.from_numpy(landmarks.xy).float(),
            torch.from_numpy(landmarks.confidence).float(),
            torch.from_numpy(landmarks.sigma_px).float(),
            torch.from_numpy(landmarks.visibility).float(),
            torch.from_numpy(landmarks.presence).float(),
            torch.from_numpy(landmarks.world).float(),
            crop_from_image,
        ),
        mask=torch.nn.functional.avg_pool2d(logits.sigmoid()[:, None], cell),
        up=None
        if up is None
        else gravity_inputs(
            torch.tensor(up.direction, dtype=torch.float32).expand(len(K_crop), 3),
            torch.full((len(K_crop),), math.radians(up.std_deg)),
            K_crop.float(),
            crop_size=CROP_SIZE,
        ),
    )
    return evidence, K_crop.float()


def landmark_inputs(
    xy: Float[Tensor, "N 33 2"],
    confidence: Float[Tensor, "N 33"],
    sigma_px: Float[Tensor, "N 33"],
    visibility: Float[Tensor, "N 33"],
    presence: Float[Tensor, "N 33"],
    world_m: Float[Tensor, "N 33 3"],
    crop_from_image: Float[Tensor, "N 3 3"],
) -> Float[Tensor, "N 33 9"]:
    """Landmarks as :class:`CropEvidence` wants them.

    Args:
        xy: pixels of the image.
        confidence: in [0, 1].
        sigma_px: one sigma, pixels of the image.
        visibility: in [0, 1].
        presence: in [0, 1].
        world_m: the landmark network's 3D landmarks, not turned with the crop.
        crop_from_image: a similarity.
    """
    linear = crop_from_image[:, :2, :2]
    scale = torch.linalg.det(linear).abs().sqrt()[:, None, None]
    in_crop = xy @ linear.transpose(1, 2) + crop_from_image[:, None, :2, 2]
    place = (in_crop * (2 / CROP_SIZE) - 1).clamp(-3, 3)
    sigma = (sigma_px * scale[..., 0] * (2 / CROP_SIZE)).clamp(1e-3, 3).log()
    turned = world_m[..., :2] @ (linear / scale).transpose(1, 2)
    certainty = torch.stack([confidence, sigma / 3, visibility, presence], dim=-1)
    return torch.cat([place, certainty, turned.clamp(-2, 2), world_m[..., 2:].clamp(-2, 2)], dim=-1)
