"""What a recovery would say about the people of a sample: wrong in distance as recoveries are, and in doubt of it."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from metrichmsr.scene.anchors import CLOTHES_M
from metrichmsr.scene.network_input import MAX_RELATIVE_STD, SceneInput
from metrichmsr.training.depth.samples import NOBODY, SceneSamples

_STD = (0.02, 0.15)
"""Range of the relative sigma of a person's distance (log-uniform)."""
_COMMON = 0.5
"""Share of the variance that all people of a picture have in common: the focal length, mostly."""
_MAX_PEOPLE = 32


def recovered_people(
    samples: SceneSamples, generator: torch.Generator, *, nobody: float = 0.0, exact: bool = False
) -> SceneInput:
    """A batch as the networks see it.

    Args:
        samples: the truth.
        generator: of the errors.
        nobody: share of pictures in which nobody was recovered.
        exact: distances without error (their sigma says 2 %), for validation beside the usual kind.
    """
    count, device = len(samples), samples.image.device

    def rand(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator).to(device)

    def randn(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).to(device)

    low, high = torch.tensor(_STD).log()
    std = (low + (high - low) * rand(count, _MAX_PEOPLE)).exp()
    error = _COMMON**0.5 * randn(count, 1) + (1 - _COMMON) ** 0.5 * randn(count, _MAX_PEOPLE)
    log_factor = std * error
    # A recovery's sigma is itself an estimate.
    told = (std * (0.25 * randn(count, _MAX_PEOPLE)).exp()).clamp(0.01, MAX_RELATIVE_STD)
    if exact:
        log_factor, told = torch.zeros_like(log_factor), torch.full_like(told, 0.02)
    present = (rand(count, 1) >= nobody) & (rand(count, _MAX_PEOPLE) < 0.92)
    body = samples.body.long()
    row = body.clamp_max(_MAX_PEOPLE - 1)
    drawn = (body != NOBODY) & (samples.body_m > 0) & _taken(present, row)
    # With a segmentation only what is seen of the person counts; some recoveries come without one.
    segmented = rand(count) < 0.85
    trusted = drawn & ((samples.person == samples.body) | ~segmented[:, None, None])
    rim = int(torch.randint(1, 3, (1,), generator=generator))
    mask = _eroded(trusted, rim).float()
    anchor = (samples.body_m.float() - CLOTHES_M).clamp_min(0.05) * _taken(log_factor.exp(), row)
    return SceneInput(
        image=samples.image.float() / 255,
        K=samples.K,
        anchor_m=anchor * mask,
        anchor_mask=mask,
        anchor_std=_taken(told, row) * mask,
    )


def _taken(table: Tensor, row: Tensor) -> Tensor:
    """``table[b, row[b, …]]``."""
    return table.gather(1, row.flatten(1)).view(row.shape)


def _eroded(mask: Bool[Tensor, "B H W"], pixels: int) -> Bool[Tensor, "B H W"]:
    holes = F.max_pool2d((~mask).float()[:, None], 2 * pixels + 1, stride=1, padding=pixels)
    return holes[:, 0] < 0.5


def jittered(image: Float[Tensor, "B 3 H W"], generator: torch.Generator) -> Float[Tensor, "B 3 H W"]:
    """Other light, colour and sharpness: renderings are not photographs, and photographs differ."""
    count, device = len(image), image.device

    def randn(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).to(device)

    gain = (0.2 * randn(count, 1, 1, 1) + 0.08 * randn(count, 3, 1, 1)).exp()
    gamma = (0.2 * randn(count, 1, 1, 1)).exp()
    image = (image.clamp_min(1e-4) ** gamma * gain).clamp(0, 1)
    gray = image.mean(1, keepdim=True)
    image = gray + (image - gray) * (1 + 0.35 * randn(count, 1, 1, 1)).clamp(0, 2)
    middle = image.mean((1, 2, 3), keepdim=True)
    image = middle + (image - middle) * (0.15 * randn(count, 1, 1, 1)).exp()
    return (image + 0.02 * torch.rand((count, 1, 1, 1), generator=generator).to(device) * randn(*image.shape)).clamp(
        0, 1
    )
