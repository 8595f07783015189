"""What each expert is good for in one picture: the network's answer without it, beside the answer with it.

Routing weights say who was asked; this says whose answer mattered. Effects of experts do not add up: later layers make
up for part of what is missing.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from metrichmsr.hmr.body_parameters import BodyParameters
from metrichmsr.hmr.image_encoders import CropEvidence
from metrichmsr.hmr.network import MetricBodies, MetricHMR
from metrichmsr.hmr.routing_maps import expert_names, moe_layers, silenced


@dataclass(frozen=True)
class Effect:
    """How B bodies change when one expert adds nothing."""

    layer: str
    expert: str
    joints_mm: Float[Tensor, "B"]
    """Mean move of the COCO-17 joints relative to the pelvis."""
    distance: Float[Tensor, "B"]
    """Change of the distance as a fraction; positive: farther without the expert."""
    height_m: Float[Tensor, "B"]
    """Change of the stature; positive: taller without the expert."""


@torch.no_grad()
def effects_of_experts(
    network: MetricHMR, crops: CropEvidence, K_crop: Float[Tensor, "B 3 3"], parameters: BodyParameters
) -> tuple[Effect, ...]:
    """The effect of every expert of every HumanMoE layer; empty for a network without mixtures."""
    with_all = network.infer(crops, K_crop, parameters)
    effects = []
    for layer_name, layer in moe_layers(network).items():
        for name in expert_names(layer):
            with silenced(layer, name):
                without = network.infer(crops, K_crop, parameters)
            effects.append(_compare(layer_name, name, with_all, without))
    return tuple(effects)


def _compare(layer: str, expert: str, before: MetricBodies, after: MetricBodies) -> Effect:
    joints = [bodies.body.coco17_m - bodies.translation_m[:, None] for bodies in (before, after)]
    distance = [bodies.translation_m.norm(dim=-1) for bodies in (before, after)]
    return Effect(
        layer=layer,
        expert=expert,
        joints_mm=1000 * (joints[1] - joints[0]).norm(dim=-1).mean(-1),
        distance=distance[1] / distance[0] - 1,
        height_m=after.body.height_m - before.body.height_m,
    )
