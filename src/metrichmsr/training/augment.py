"""What detectors and cameras of the wild do to evidence: wrong intrinsics, noisy, swapped and lost landmarks.

Proportions tell children from grown-ups, and those that the landmark network marks on photographs are not quite those
that it marks on renderings: pedestrians of a street came out 19 cm too short. So they are made doubtful as well. Where
on the trunk hips and shoulders are marked matters most: a longer trunk above shorter legs looks like a body that leans
towards the camera, and so is nearer.

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
_SIDES = ("left", "right")
_LEGS = ("hip", "knee", "ankle", "heel", "foot_index")
_PLACE, _CONFIDENCE = slice(0, 2), 2
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


def doubtful_up(
    up: Float[Tensor, "B 3"], generator: torch.Generator, *, sigma_deg: float | None = None, withheld: float = 0.15
) -> tuple[Float[Tensor, "B 3"], Float[Tensor, "B"]]:
    """Which way is up as an estimate would have it, and its sigma (radians).

    Args:
        up: true ones.
        generator: on the CPU.
        sigma_deg: of every estimate; anything from 1° to 25° for each if left out.
        withheld: share of which nothing is told (NaN).
    """
    u = torch.rand(2, len(up), generator=generator)
    normal = torch.randn(len(up), 3, generator=generator)
    degrees = torch.full((len(up),), sigma_deg) if sigma_deg is not None else 25 ** u[0]
    sigma = degrees.deg2rad()
    # σ is of the whole angle: √2 times that about each of two axes. What turns about up itself changes nothing.
    turn = roma.rotvec_to_rotmat(normal * (sigma / math.sqrt(2))[:, None]).to(up)
    seen = (turn @ up[..., None]).squeeze(-1)
    return torch.where((u[1] < withheld)[:, None].to(up.device), torch.nan, seen), sigma.to(up)


def _pairs(parts: tuple[str, ...]) -> tuple[list[int], list[int]]:
    left = [i for i, name in enumerate(BLAZEPOSE33) if name.startswith("left_") and name.removeprefix("left_") in parts]
    right = [BLAZEPOSE33.index(BLAZEPOSE33[i].replace("left_", "right_")) for i in left]
    return left, right


def _numbers(*names: str) -> list[int]:
    return [BLAZEPOSE33.index(name) for name in names]


def _sides(name: str) -> list[int]:
    return _numbers(f"left_{name}", f"right_{name}")


_FACE = list(range(11))
_SIZES = (
    (_sides("hip"), _sides("shoulder"), 0.7),
    (_sides("shoulder"), _sides("hip"), 0.3),
    (_FACE, _FACE, 1.0),
    *((_numbers(*(f"{side}_{part}" for part in _ARMS[3:])), _numbers(f"{side}_wrist"), 1.0) for side in _SIDES),
    *((_numbers(*(f"{side}_{part}" for part in _LEGS[3:])), _numbers(f"{side}_ankle"), 1.0) for side in _SIDES),
    (_sides("shoulder"), _sides("shoulder"), 0.5),
    (_sides("hip"), _sides("hip"), 0.5),
    (_FACE, _sides("shoulder"), 0.25),
    ([i for part in _LEGS[1:] for i in _sides(part)], _sides("hip"), 0.25),
)
"""Landmarks that are moved together, those whose middle they are moved away from, and the share of the doubt."""


def misproportion(
    landmarks: Float[Tensor, "B 33 9"], sigma: float, generator: torch.Generator
) -> Float[Tensor, "B 33 9"]:
    """Parts of the body marked larger or smaller, in the picture and in 3D alike; each person has factors of their own.

    Args:
        landmarks: as of :class:`~metrichmsr.hmr.image_encoders.CropEvidence`.
        sigma: of the logarithm of the factors of face, hands and feet.
        generator: on the CPU.
    """
    landmarks = landmarks.clone()
    for members, around, share in _SIZES if sigma else ():
        factor = (sigma * share * torch.randn(len(landmarks), 1, 1, generator=generator)).exp().to(landmarks)
        for columns in (_PLACE, _WORLD):
            part = landmarks[:, members, columns]
            middle = landmarks[:, around, columns].mean(1, keepdim=True)
            landmarks[:, members, columns] = middle + (part - middle) * factor
    return landmarks


def other_gains(
    features: Float[Tensor, "B C h w"], sigma: float, generator: torch.Generator
) -> Float[Tensor, "B C h w"]:
    """Feature maps whose channels are stronger or weaker, each by a factor of its own."""
    gains = (sigma * torch.randn(*features.shape[:2], 1, 1, generator=generator)).exp()
    return features * gains.to(features)


def spoil(samples: Samples, config: TrainConfig, generator: torch.Generator) -> Samples:
    """Landmarks with wrong proportions, noise, swaps of sides, and losses; features with other gains."""
    landmarks = misproportion(samples.landmarks, config.landmark_proportions, generator)
    n = len(landmarks)
    # Everybody gets an amount of noise of their own.
    amount = config.landmark_noise * 2 * torch.rand(n, 1, 1, generator=generator)
    landmarks[..., _PLACE] += (amount * torch.randn(n, 33, 2, generator=generator)).to(landmarks)
    for parts in (_ARMS, _LEGS):
        left, right = _pairs(parts)
        swapped = (torch.rand(n, generator=generator) < config.landmark_swaps).nonzero().squeeze(1).to(landmarks.device)
        rows = landmarks[swapped]
        rows[:, left + right] = rows[:, right + left]
        landmarks[swapped] = rows
    lost = (torch.rand(n, 33, generator=generator) < config.landmark_misses).to(landmarks.device)
    anywhere = (2 * torch.rand(n, 33, 2, generator=generator) - 1).to(landmarks)
    landmarks[..., _PLACE] = torch.where(lost[..., None], anywhere, landmarks[..., _PLACE])
    landmarks[..., _CONFIDENCE] = torch.where(lost, 0.1 * landmarks[..., _CONFIDENCE], landmarks[..., _CONFIDENCE])
    turn = math.radians(config.world_turn_deg) * torch.randn(n, 3, generator=generator)
    # About the viewing axis the landmarks in the picture say better.
    turn = turn * torch.tensor([1.0, 0.5, 0.0])
    landmarks[..., _WORLD] = landmarks[..., _WORLD] @ roma.rotvec_to_rotmat(turn).mT.to(landmarks)
    features = samples.features
    grid32 = samples.grid32
    if features is not None and config.feature_gain:
        features = other_gains(features, config.feature_gain, generator)
    if grid32 is not None and config.feature_gain:
        # Its channels lie far from zero; only what differs within a picture may be weaker or stronger.
        middle = grid32.float().mean((2, 3), keepdim=True)
        grid32 = middle + other_gains(grid32.float() - middle, config.feature_gain, generator)
    return replace(samples, landmarks=landmarks, features=features, grid32=grid32)
