"""Figures of depth on held-out scenes, over pictures that weigh the same."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from metrichmsr.training.depth.samples import NOBODY, SceneSamples

RING_SHARE = 0.03
"""Width of the ring around people, over the picture's long side."""


class DepthFigures:
    """Sums up AbsRel, mean |log ẑ/z*|, δ1 and RMSE of the whole picture; AbsRel inside and around people too."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self._counts: dict[str, int] = {}

    def add(self, name: str, depth_m: Float[Tensor, "B H W"], samples: SceneSamples) -> None:
        """One batch of one method; ``depth_m`` has the samples' size, 0 or NaN where a method knows nothing."""
        true = samples.depth_m.float()
        valid = (true > 0) & (depth_m > 0)
        person = samples.person != NOBODY
        ring = around(person, max(1, round(RING_SHARE * max(true.shape[1:])))) & ~person
        relative = (depth_m - true).abs() / true.clamp_min(1e-3)
        ratio = torch.maximum(depth_m / true.clamp_min(1e-3), true / depth_m.clamp_min(1e-3))
        middle = torch.where(valid, true / depth_m.clamp_min(1e-3), torch.nan).flatten(1).nanmedian(1).values
        aligned = (depth_m * middle[:, None, None] - true).abs() / true.clamp_min(1e-3)
        for part, region in (("", valid), ("people_", valid & person), ("ring_", valid & ring)):
            self._mean(f"{name}_{part}absrel", relative, region)
        self._mean(f"{name}_log", ratio.log(), valid)
        self._mean(f"{name}_delta1", (ratio < 1.25).float(), valid)
        self._mean(f"{name}_aligned_absrel", aligned, valid)
        squared = ((depth_m - true) ** 2).clamp_max(1e4)
        self._mean(f"{name}_rmse_m", squared, valid, root=True)

    def mean(self, name: str, values: Float[Tensor, "B"]) -> None:
        """Any other figure, one value a picture; NaN is left out."""
        good = torch.isfinite(values)
        self._sums[name] = self._sums.get(name, 0.0) + float(values[good].sum())
        self._counts[name] = self._counts.get(name, 0) + int(good.sum())

    def numbers(self) -> dict[str, float]:
        """All means by name."""
        return {name: total / max(1, self._counts[name]) for name, total in self._sums.items() if self._counts[name]}

    def _mean(self, name: str, values: Tensor, region: Bool[Tensor, "B H W"], *, root: bool = False) -> None:
        count = region.flatten(1).sum(1)
        means = torch.where(region, values, 0.0).flatten(1).sum(1) / count
        self.mean(name, torch.where(count >= 20, means.sqrt() if root else means, torch.nan))


def around(mask: Bool[Tensor, "B H W"], pixels: int) -> Bool[Tensor, "B H W"]:
    """The mask and a rim of so many pixels."""
    return F.max_pool2d(mask.float()[:, None], 2 * pixels + 1, 1, pixels)[:, 0] > 0
