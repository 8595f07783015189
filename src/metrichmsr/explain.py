"""Why a photo became these bodies: what the network was given, and which of its experts worked on what."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from metrichmsr.errors import InputError, UsageError
from metrichmsr.recover import Recoverer, RecoverOptions, Sight
from metrichmsr.recover_options import options_by_name
from metrichmsr.stopwatch import Stopwatch
from metrichmsr.structures import Camera, Recovery

if TYPE_CHECKING:
    from metrichmsr.hmr.attribution import Effect
    from metrichmsr.hmr.config import NetworkConfig
    from metrichmsr.hmr.estimates import BodyEstimates
    from metrichmsr.hmr.routing_maps import LayerTrace, TokenLayout
    from metrichmsr.images import Photo
    from metrichmsr.people.landmarks import Landmarks


@dataclass(frozen=True)
class Explanation:
    """The recovery of a photo and what happened inside the network on the way; N people."""

    recovery: Recovery
    landmarks: Landmarks
    """What the network was given of each person."""
    K_crop: Float[np.ndarray, "N 3 3"]
    """K' = (crop from image)·K of each."""
    crop_size: int
    """Pixels of a crop's side."""
    layout: TokenLayout
    """What the image tokens are."""
    layers: tuple[LayerTrace, ...]
    """The HumanMoE layers in the order in which they work; empty for a network without mixtures."""
    effects: tuple[Effect, ...]
    """What the bodies would be without each expert."""
    config: NetworkConfig
    checkpoint: Path
    notes: tuple[str, ...] = ()
    """What cannot be shown, and why."""

    @property
    def last_patch_layer(self) -> LayerTrace | None:
        """The last Patch MoE layer, whose maps the paper shows."""
        return next((layer for layer in reversed(self.layers) if layer.kind == "patch"), None)

    @property
    def last_global_layer(self) -> LayerTrace | None:
        """The last Global MoE layer."""
        return next((layer for layer in reversed(self.layers) if layer.kind == "global"), None)


class Explainer:
    """Recovers photos by the network and keeps what its experts did; loads its models once.

    Args:
        options: as for the recovery, whose method must be the network's; the scene's are not looked at.
        device: torch device of the networks that find people, the CPU if left out.

    Raises:
        UsageError: the options ask for something that has no experts.
    """

    def __init__(self, options: RecoverOptions | None = None, *, device: str | None = None) -> None:
        options = options or RecoverOptions(method="network")
        if options.method != "network":
            raise UsageError(f"explain shows how the network works; --method {options.method} has no experts")
        # The scene has no experts.
        self._recoverer = _Watched(dataclasses.replace(options, depth="none"), device=device)

    def __call__(self, source: str | Path | np.ndarray | Photo, *, camera: Camera | None = None) -> Explanation:
        """Recover one photo and look inside.

        Raises:
            InputError: the photo cannot be used, or shows nobody.
            ModelFileError: the checkpoint is missing or damaged.
        """
        _ = self._recoverer.regressor  # a missing checkpoint should be told before a minute of work
        recovery, sight = self._recoverer.watch(source, camera)
        if sight is None:
            raise InputError(f"{recovery.image_path}: nobody was found in this picture, so there is nothing to explain")
        return self._look_inside(recovery, sight)

    def _look_inside(self, recovery: Recovery, sight: Sight) -> Explanation:
        import torch

        from metrichmsr.hmr.attribution import effects_of_experts
        from metrichmsr.hmr.body_parameters import SIZES, BodyParameters
        from metrichmsr.hmr.crop_evidence import CROP_SIZE, evidence_from_landmarks
        from metrichmsr.hmr.regress import WEIGHTS
        from metrichmsr.hmr.routing_maps import token_layout, trace

        regressor = self._recoverer.regressor
        config = regressor.config
        evidence, K_crop = evidence_from_landmarks(
            sight.landmarks, sight.camera.K, ray_size=config.ray_size, up=sight.up
        )
        _, layers, tokens = trace(regressor.network, evidence)
        # Joints and stature are enough to compare bodies.
        joints_alone = regressor.parameters.body.restricted_to(torch.arange(1))
        effects = effects_of_experts(
            regressor.network, evidence, K_crop, BodyParameters(joints_alone, SIZES[config.body])
        )
        return Explanation(
            recovery=recovery,
            landmarks=sight.people.landmarks,
            K_crop=K_crop.numpy().astype(np.float64),
            crop_size=CROP_SIZE,
            layout=token_layout(regressor.network, config, tokens),
            layers=layers,
            effects=effects,
            config=config,
            checkpoint=self._recoverer.options.checkpoint or WEIGHTS,
            notes=_notes(config),
        )


def explain(source: str | Path | np.ndarray, *, camera: Camera | None = None, **options: object) -> Explanation:
    """Explain one photo; ``options`` are fields of :class:`~metrichmsr.recover.RecoverOptions`."""
    return Explainer(options_by_name(options))(source, camera=camera)


class _Watched(Recoverer):
    """Keeps what the network was given."""

    _sight: Sight | None = None

    def watch(self, source: str | Path | np.ndarray | Photo, camera: Camera | None) -> tuple[Recovery, Sight | None]:
        """The recovery, and what the network was given for it; None where nobody was found."""
        self._sight = None
        return self(source, camera=camera), self._sight

    def _estimate(self, sight: Sight, warnings: list[str], watch: Stopwatch) -> BodyEstimates:
        self._sight = sight
        return super()._estimate(sight, warnings, watch)


def _notes(config: NetworkConfig) -> tuple[str, ...]:
    if not config.moe:
        return ("this network has no mixture of experts (its config says moe: false): there is no routing to show",)
    notes = []
    if not config.routed_experts:
        notes.append("this network has no routed experts: only what the shared and the ray expert add can be shown")
    if not config.patch_layers:
        notes.append(
            "this network has no Patch MoE: its routing is over image-level tokens, which lie nowhere in the crop"
        )
    if not config.global_layers:
        notes.append("this network has no Global MoE")
    if config.image_encoder == "blazepose" and not config.features:
        notes.append("this network reads landmarks alone: its maps are dots, without cells")
    return tuple(notes)
