"""Who of the experts worked on what: routing weights laid back over the crop (the paper's Figures 4 and 5).

Image tokens stand for places: a landmark's token for where the landmark was seen, a feature or patch token for its cell
of the crop. Image-level tokens (queries of the Global MoE) stand for no place.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from metrichmsr.hmr.config import NetworkConfig
from metrichmsr.hmr.image_encoders import BlazePoseTokens, CropEvidence
from metrichmsr.hmr.moe import HumanMoE, Routing
from metrichmsr.hmr.network import MetricHMR, NetworkOutput
from metrichmsr.hmr.transformer import HumanLayer
from metrichmsr.structures import BLAZEPOSE33

_VITPOSE_SIDES = (0.125, 0.0, 0.875, 1.0)


@dataclass(frozen=True)
class TokenLayout:
    """What the image tokens of a network are: landmarks first, then the cells of a grid in rows."""

    landmarks: int
    """Tokens of landmarks, in the order of ``BLAZEPOSE33``; 0 or 33."""
    rows: int
    """Of the grid; 0 where the network has no cells."""
    columns: int
    box: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    """Part of the crop that the grid covers: left, top, right, bottom in crops."""

    @property
    def names(self) -> tuple[str, ...]:
        """Name of every token: a landmark's, or ``cell <row> <column>``."""
        cells = (f"cell {row} {column}" for row in range(self.rows) for column in range(self.columns))
        return (*BLAZEPOSE33[: self.landmarks], *cells)

    def split(self, values: Float[Tensor, "*B N"]) -> tuple[Float[Tensor, "*B L"], Float[Tensor, "*B h w"] | None]:
        """Values of the tokens as those of the landmarks and a map of the cells, None where there are no cells."""
        if values.shape[-1] != self.landmarks + self.rows * self.columns:
            raise ValueError(f"{values.shape[-1]} values for {len(self.names)} tokens")
        at_landmarks = values[..., : self.landmarks]
        if not self.rows:
            return at_landmarks, None
        return at_landmarks, values[..., self.landmarks :].unflatten(-1, (self.rows, self.columns))


def token_layout(network: MetricHMR, config: NetworkConfig, tokens: int) -> TokenLayout:
    """The layout of a network's image tokens.

    Args:
        network: whose tokens they are.
        config: of the network.
        tokens: how many there were: feature cells may have been withheld.
    """
    if config.image_encoder == "blazepose":
        cells = tokens - len(BLAZEPOSE33)
        side = round(cells**0.5)
        assert isinstance(network.image_encoder, BlazePoseTokens)
        if cells < 0 or side * side != cells:
            raise ValueError(f"{tokens} tokens are not {len(BLAZEPOSE33)} landmarks and a square of cells")
        return TokenLayout(len(BLAZEPOSE33), side, side)
    # ViTPose looks at the middle three quarters of the crop, in cells as wide as high: 4 rows to 3 columns.
    columns = round((tokens * 3 / 4) ** 0.5)
    return TokenLayout(0, tokens // columns, columns, _VITPOSE_SIDES)


@dataclass(frozen=True)
class LayerTrace:
    """What happened in one HumanMoE layer, for B crops."""

    name: str
    """``patch 1``, ``global 2``…, from 1."""
    kind: Literal["patch", "global"]
    routing: Routing | None
    """Of the N image tokens (patch) or image-level tokens (global); None without routed experts."""
    added: dict[str, Float[Tensor, "B N"]]
    """By expert: length of what it added to each of its tokens, g_i(x)·‖e_i(x)‖. The ray expert has its own tokens."""

    def shares(self) -> dict[str, Float[Tensor, "B N"]]:
        """By image expert: its part of what all of them added to each token (of lengths; sums to 1)."""
        image = {name: sizes for name, sizes in self.added.items() if name != "ray"}
        total = torch.stack(list(image.values())).sum(0).clamp_min(1e-12)
        return {name: sizes / total for name, sizes in image.items()}


def assignment(routing: Routing) -> Int64[Tensor, "B N"]:
    """For every token the routed expert that it reads most of (the paper's expert-assignment map)."""
    return routing.combine.argmax(-1)


def expert_names(layer: HumanMoE) -> tuple[str, ...]:
    """``routed 1`` …, ``shared``, ``ray``: the experts of a layer by name."""
    routed = 0 if layer.routed is None else len(layer.routed.experts)
    shared = () if layer.shared is None else ("shared",)
    return (*(f"routed {i + 1}" for i in range(routed)), *shared, "ray")


def moe_layers(network: MetricHMR) -> dict[str, HumanMoE]:
    """The HumanMoE layers by name, in the order in which they work; empty for a network without mixtures."""
    named: dict[str, HumanMoE] = {}
    for kind, layers in (("patch", network.patch_layers), ("global", network.global_layers)):
        for i, layer in enumerate(layers):
            feed = cast("HumanLayer", layer).feed
            if isinstance(feed, HumanMoE):
                named[f"{kind} {i + 1}"] = feed
    return named


def expert(layer: HumanMoE, name: str) -> nn.Module:
    """An expert of a layer by its name."""
    if name.startswith("routed ") and layer.routed is not None:
        return layer.routed.experts[int(name.split()[1]) - 1]
    found = {"shared": layer.shared, "ray": layer.ray}.get(name)
    if found is None:
        raise ValueError(f"this layer has no expert {name!r}, only {', '.join(expert_names(layer))}")
    return found


@torch.no_grad()
def trace(network: MetricHMR, crops: CropEvidence) -> tuple[NetworkOutput, tuple[LayerTrace, ...], int]:
    """Run the network and keep what its experts did; returns its output, its layers, and its number of image tokens.

    Args:
        network: in evaluation mode.
        crops: B crops.
    """
    layers = moe_layers(network)
    seen: dict[str, tuple[Tensor, Tensor, Routing | None]] = {}
    counts: list[int] = []
    hooks = [network.image_encoder.register_forward_hook(lambda _, __, tokens: counts.append(tokens.shape[1]))]
    for name, layer in layers.items():

        def keep(_: nn.Module, given: Any, made: Any, name: str = name) -> None:
            seen[name] = (given[0], given[1], made[2])

        hooks.append(layer.register_forward_hook(keep))
    try:
        output = network(crops)
    finally:
        for hook in hooks:
            hook.remove()
    traces = tuple(_layer_trace(name, layers[name], *seen[name]) for name in layers)
    return output, traces, counts[0]


def _layer_trace(name: str, layer: HumanMoE, image: Tensor, ray: Tensor, routing: Routing | None) -> LayerTrace:
    added: dict[str, Tensor] = {}
    if layer.routed is not None:
        for i, parts in enumerate(layer.routed.contributions(image).unbind(1)):
            added[f"routed {i + 1}"] = parts.norm(dim=-1)
    if layer.shared is not None:
        added["shared"] = layer.shared(image).norm(dim=-1)
    added["ray"] = layer.ray(ray).norm(dim=-1)
    return LayerTrace(name, "patch" if name.startswith("patch") else "global", routing, added)


@contextmanager
def silenced(layer: HumanMoE, name: str) -> Iterator[None]:
    """Within the block the named expert of a layer adds nothing; routing weights stay as they are."""

    def nothing(_: nn.Module, __: Any, made: Any) -> Tensor:
        return torch.zeros_like(made)

    hook = expert(layer, name).register_forward_hook(nothing)
    try:
        yield
    finally:
        hook.remove()
