"""Typed records of the scene networks' training runs; a run's checkpoint carries its own."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Literal

from metrichmsr.scene.depth_network import DepthConfig
from metrichmsr.scene.refinement_network import RefineConfig
from metrichmsr.training.depth.corruptions import Corruption
from metrichmsr.training.depth.losses import DepthLossWeights, RefineLossWeights


@dataclass(frozen=True)
class RunConfig:
    """How a network of the scene is trained: what both have in common."""

    steps: int = 6000
    """Optimiser steps of the whole run."""
    batch: int = 8
    """Pictures a step, on each process."""
    learning_rate: float = 8e-4
    """Peak, reached after the warm-up; falls along a cosine to a hundredth."""
    warmup: int = 200
    weight_decay: float = 0.02
    clip: float = 1.0
    """Largest norm of the gradient."""
    ema: float = 0.998
    """Decay of the moving average that is validated and kept."""
    precision: Literal["no", "bf16"] = "bf16"
    nobody: float = 0.35
    """Share of pictures in which nobody is recovered."""
    validate_every: int = 500
    log_every: int = 50
    seed: int = 0

    def to_json(self) -> str:
        """As text; two runs with the same text are the same run."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)


@dataclass(frozen=True)
class DepthRunConfig(RunConfig):
    """Training of the embedded depth network."""

    network: DepthConfig = field(default_factory=DepthConfig)
    losses: DepthLossWeights = field(default_factory=DepthLossWeights)
    k_noise: float = 0.05
    """One sigma of the error (log) of the focal length that the network is shown."""


@dataclass(frozen=True)
class RefineRunConfig(RunConfig):
    """Training of the refinement network."""

    network: RefineConfig = field(default_factory=RefineConfig)
    losses: RefineLossWeights = field(default_factory=RefineLossWeights)
    corruption: Corruption = field(default_factory=Corruption)
    nobody: float = 0.0
    """Pictures without people are not refined."""
    embedded: float = 0.4
    """Share of batches whose initial depth is the embedded network's, where one is given."""
