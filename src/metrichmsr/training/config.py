"""One typed record of a training run; its checkpoint carries it."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from metrichmsr.errors import InputError
from metrichmsr.hmr.config import SMALL, NetworkConfig
from metrichmsr.training.losses import LossWeights


@dataclass(frozen=True)
class TrainConfig:
    """How a network is trained."""

    network: NetworkConfig = SMALL
    losses: LossWeights = field(default_factory=LossWeights)
    steps: int = 20_000
    """Optimiser steps of the whole run."""
    batch: int = 64
    """Crops a step, on each process."""
    learning_rate: float = 4e-4
    """Peak, reached after the warm-up; falls along a cosine to a hundredth."""
    encoder_rate: float = 0.25
    """Learning rate of the image encoder's tuned stages, as a share of that of all else."""
    warmup: int = 500
    weight_decay: float = 0.02
    clip: float = 1.0
    """Largest norm of the gradient."""
    ema: float = 0.999
    """Decay of the moving average that is validated and kept."""
    precision: Literal["auto", "no", "bf16"] = "auto"
    """Of the network's forward and backward pass: bf16 on GPUs; on a CPU float32, twice as fast where it has no matrix
    units for bf16. The body model stays float32."""
    simulated: float = 0.3
    """Share of batches of simulated landmarks, without pictures, where the data hold both kinds."""
    photos: float = 0.2
    """Share of batches of photographs with labelled keypoints, where the data hold some."""
    upright: float = 1.0
    """How often people who stand upright in the crop come, others being 1: in the street they are more than in motion
    capture."""
    children: float = 1.0
    """How often people below 1.45 m come."""
    k_noise: float = 0.03
    """One sigma of the error (log) of the focal length that the network is shown."""
    landmark_noise: float = 0.01
    """One sigma of noise on landmarks in the crop, half crops."""
    landmark_swaps: float = 0.02
    """Share of crops whose left and right landmarks are exchanged, arms or legs or both."""
    landmark_misses: float = 0.03
    """Share of landmarks that are lost: anywhere, with little confidence."""
    landmark_proportions: float = 0.1
    """One sigma (log) by which face, hands and feet are marked larger than they are, for each person; half as much the
    widths of shoulders and hips, a quarter the lengths of neck and legs, and 0.7 and 0.3 how far along the trunk hips
    and shoulders are marked."""
    up_withheld: float = 0.15
    """Share of crops of which the network is not told which way is up; of others with an error of 1° to 25°."""
    feature_gain: float = 0.1
    """One sigma (log) of a gain on each channel of the feature map: photographs are not renderings."""
    world_turn_deg: float = 12.0
    """One sigma by which 3D landmarks are turned as a whole, about the crop's horizontal axis; half as much about the
    vertical one."""
    vertices: int = 400
    """Vertices of the body that the vertex term looks at."""
    validate_every: int = 1000
    log_every: int = 50
    seed: int = 0

    def to_json(self) -> str:
        """As text; :meth:`from_json` reads it."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @staticmethod
    def from_json(text: str, *, source: Path | str = "config") -> TrainConfig:
        """Read what :meth:`to_json` wrote.

        Raises:
            InputError: it is something else, or of another version.
        """
        try:
            values = json.loads(text)
            network = NetworkConfig(**values.pop("network"))
            losses = LossWeights(**values.pop("losses"))
            return TrainConfig(network=network, losses=losses, **values)
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(f"{source}: not a training config of this version ({error})") from error
