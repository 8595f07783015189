"""What detectors and cameras of the wild do to evidence: wrong intrinsics, noisy, swapped and lost landmarks.

The landmark network's 3D landmarks lean otherwise on photographs than on renderings (some 7° more towards the camera),
so how they are turned as a whole is made doubtful: the network shall read it off the picture plane and the rays.
"""

from __future__ import annotations

import math
from dataclasses import replace

import roma
import torch
from jaxtyping import Float
from torch import Tensor

from metrichmsr.structures import BLAZEPOSE33
from metrichmsr.training.config import TrainConfig
from metrichmsr.training.samples import Samples

_ARMS = ("shoulder", "elbow", "wrist", "pinky", "index", "thumb")
_LEGS = ("hip", "knee", "ankle", "heel", "foot_index")
_CONFIDENCE = 2
_WORLD = slice(6, 9)


def wrong_intrinsics(
    K_crop: Float[Tensor, "B 3 3"], sigma: float, generator: torch.Generator
) -> Float[Tensor, "B 3 3"]:
    """K_crop with focal lengths off by a factor, log-normal of this sigma.

    K' = A·K, and a wrong focal length f·c scales K's first two columns: K'·diag(c, c, 1). The principal point stays.
    """
    factor = (sigma * torch.randn(len(K_crop), generator=generator)).exp().to(K_crop)
    scale = torch.ones(len(K_crop), 3, device=K_crop.device, dtype=K_crop.dtype)
    scale[:, :2] = factor[:, None]
    return K_crop * scale[:, None]


def _pairs(parts: tuple[str, ...]) -> tuple[list[int], list[int]]:
    left = [i for i, name in enumerate(BLAZEPOSE33) if name.startswith("left_") and name.removeprefix("left_") in parts]
    right = [BLAZEPOSE33.index(BLAZEPOSE33[i].replace("left_", "right_")) for i in left]
    return left, right


def spoil_landmarks(samples: Samples, config: TrainConfig, generator: torch.Generator) -> Samples:
    """Noise, swaps of sides, and losses."""
    landmarks = samples.landmarks.clone()
    n = len(landmarks)
    # Everybody gets an amount of noise of their own.
    amount = config.landmark_noise * 2 * torch.rand(n, 1, 1, generator=generator)
    landmarks[..., :2] += (amount * torch.randn(n, 33, 2, generator=generator)).to(landmarks)
    for parts in (_ARMS, _LEGS):
        left, right = _pairs(parts)
        swapped = (torch.rand(n, generator=generator) < config.landmark_swaps).nonzero().squeeze(1).to(landmarks.device)
        rows = landmarks[swapped]
        rows[:, left + right] = rows[:, right + left]
        landmarks[swapped] = rows
    lost = (torch.rand(n, 33, generator=generator) < config.landmark_misses).to(landmarks.device)
    anywhere = (2 * torch.rand(n, 33, 2, generator=generator) - 1).to(landmarks)
    landmarks[..., :2] = torch.where(lost[..., None], anywhere, landmarks[..., :2])
    landmarks[..., _CONFIDENCE] = torch.where(lost, 0.1 * landmarks[..., _CONFIDENCE], landmarks[..., _CONFIDENCE])
    turn = math.radians(config.world_turn_deg) * torch.randn(n, 3, generator=generator)
    # About the viewing axis the landmarks in the picture say better.
    turn = turn * torch.tensor([1.0, 0.5, 0.0])
    landmarks[..., _WORLD] = landmarks[..., _WORLD] @ roma.rotvec_to_rotmat(turn).mT.to(landmarks)
    return replace(samples, landmarks=landmarks)
