"""Calibration of predicted sigmas: one factor a kind, so that 68 % of held-out errors lie within one sigma."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from metrichmsr.errors import InputError
from metrichmsr.hmr.body_parameters import BodyParameters
from metrichmsr.hmr.network import MetricHMR
from metrichmsr.hmr.stature_grid import soft_bins
from metrichmsr.training.samples import Samples
from metrichmsr.training.validation import errors, shown

SHARE = 0.6827
"""Of a normal distribution within one sigma."""
KINDS = ("distance", "height", "joints")
_FEWEST = 20


@dataclass(frozen=True)
class SigmaCalibration:
    """What was found on one half of the samples, and what it does on the other."""

    factors: dict[str, float]
    """By which sigmas grow, by kind; of ``height`` the temperature of a network that tells a distribution."""
    before: dict[str, float]
    """Share of errors within one sigma on the other half, uncalibrated."""
    after: dict[str, float]
    """The same, calibrated."""


def sigma_factor(z: Float[Tensor, "N"]) -> float:
    """The factor for which 68 % of errors lie within one sigma.

    Args:
        z: absolute errors by their sigmas.
    """
    return max(float(torch.quantile(z.float(), SHARE)), 1e-3)


@torch.no_grad()
def best_temperature(network: MetricHMR, samples: Samples, parameters: BodyParameters, *, ray_size: int) -> float:
    """By what the logits of the statures' distribution are to be divided, so that held-out statures are likeliest."""
    logits, truth = [], []
    for index in torch.arange(len(samples)).split(256):
        part = samples[index]
        told = network.infer(shown(part, ray_size, seed=int(index[0])), part.K_crop, parameters).stature_logits
        assert told is not None
        logits.append(told)
        truth.append(parameters.body.height(part.shape.float()))
    said, target = torch.cat(logits), soft_bins(torch.cat(truth))
    candidates = torch.logspace(-0.5, 0.7, 61)
    surprise = torch.stack([-(target * (said / t).log_softmax(-1)).sum(-1).mean() for t in candidates])
    return float(candidates[surprise.argmin()])


def calibrate_sigmas(
    network: MetricHMR, samples: Samples, parameters: BodyParameters, *, ray_size: int
) -> SigmaCalibration:
    """Calibrate a network in place.

    Args:
        network: its heads are changed.
        samples: held out; the factors come from every second one, the report from the others.
        parameters: body model.
        ray_size: resolution of the ray map.

    Raises:
        InputError: too few samples.
    """
    if len(samples) < 2 * _FEWEST:
        raise InputError(f"{len(samples)} samples are too few to calibrate sigmas on; at least {2 * _FEWEST}")

    def halves() -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        column = errors(network, samples, parameters, ray_size=ray_size)
        z = {kind: column[f"z_{kind}"].reshape(len(samples), -1) for kind in KINDS}
        even = {kind: values[::2].flatten() for kind, values in z.items()}
        return even, {kind: values[1::2].flatten() for kind, values in z.items()}

    half, others = halves()
    before = {kind: float((values < 1).float().mean()) for kind, values in others.items()}
    temperature = None
    if network.heads.stature is not None:
        # Its sigma of the stature is its distribution's, and its sizes are that one's medians.
        first_half = samples[torch.arange(0, len(samples), 2)]
        temperature = best_temperature(network, first_half, parameters, ray_size=ray_size)
        network.heads.temper_statures(temperature)
        half, others = halves()
    factors = {kind: sigma_factor(values) for kind, values in half.items()}
    network.heads.scale_sigmas(**factors)
    after = {kind: others[kind] / factor for kind, factor in factors.items()}
    if temperature is not None:
        factors["height"], after["height"] = temperature, others["height"]
    return SigmaCalibration(
        factors=factors,
        before=before,
        after={kind: float((values < 1).float().mean()) for kind, values in after.items()},
    )
