"""What is trained: the embedded depth network, and the refinement network. Each knows its losses and its figures."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from metrichmsr.scene.closed_form import align
from metrichmsr.scene.depth_network import FORMAT as DEPTH_FORMAT
from metrichmsr.scene.depth_network import STRIDE, DepthNetwork
from metrichmsr.scene.network_input import SceneInput
from metrichmsr.scene.refinement_network import FORMAT as REFINE_FORMAT
from metrichmsr.scene.refinement_network import RefinementNetwork
from metrichmsr.training.depth import losses
from metrichmsr.training.depth.config import DepthRunConfig, RefineRunConfig, RunConfig
from metrichmsr.training.depth.corruptions import corrupted
from metrichmsr.training.depth.figures import DepthFigures
from metrichmsr.training.depth.recoveries import jittered, recovered_people
from metrichmsr.training.depth.samples import NOBODY, ScenePools, SceneSamples

_VALIDATION_BATCH = 16


class Task(Protocol):
    """A network, its losses and its figures."""

    @property
    def file_format(self) -> str:
        """Name and version of its checkpoints."""
        ...

    @property
    def config(self) -> RunConfig:
        """What decides the run."""
        ...

    def build(self) -> nn.Module:
        """An untrained network."""
        ...

    def terms(self, network: nn.Module, samples: SceneSamples, generator: torch.Generator) -> dict[str, Tensor]:
        """Weighted loss terms of a batch; their sum is the loss."""
        ...

    def figures(self, network: nn.Module, pools: Mapping[str, ScenePools]) -> dict[str, float]:
        """Figures of held-out pools, by name; ``score`` among them (lower is better)."""
        ...

    def trivial_score(self, figures: Mapping[str, float]) -> float:
        """What of those figures a network has to beat to be of any use: the score of doing without one."""
        ...


@dataclass(frozen=True)
class DepthTask:
    """Picture, rays and people → depth."""

    config: DepthRunConfig
    file_format: str = DEPTH_FORMAT

    def build(self) -> nn.Module:
        """An untrained network."""
        return DepthNetwork.build(self.config.network)

    def terms(self, network: nn.Module, samples: SceneSamples, generator: torch.Generator) -> dict[str, Tensor]:
        """Likelihood, shape, edges, what is far, and people once more."""
        weights = self.config.losses
        scene = recovered_people(samples, generator, nobody=self.config.nobody)
        scene = dataclasses.replace(scene, image=jittered(scene.image, generator))
        log_focal = self.config.k_noise * torch.randn(len(samples), generator=generator).to(scene.K.device)
        scene = _with_focal(scene, log_focal)
        output = network(scene)
        true = _coarse(samples.depth_m.float())
        valid, far = true > 0, _coarse(samples.far) > 0
        # The focal length that was shown is the one that counts: distances are told along with it.
        log_true = true.clamp_min(1e-3).log() + log_focal[:, None, None]
        person = valid & (_coarse(samples.person) != NOBODY)
        return {
            "likelihood": weights.likelihood
            * losses.laplace_likelihood(output.log_depth, output.log_sigma, log_true, valid),
            "scale_free": weights.scale_free * losses.scale_free(output.log_depth, log_true, valid),
            "gradient": weights.gradient * losses.gradients(output.log_depth, log_true, valid),
            "far": weights.far * losses.far_or_not(output.far_logit, far, valid | far),
            "people": weights.people * losses.regression(output.log_depth.exp(), log_true.exp(), person),
        }

    @torch.no_grad()
    def figures(self, network: nn.Module, pools: Mapping[str, ScenePools]) -> dict[str, float]:
        """With people and without; against one constant depth in every picture (the best there is)."""
        numbers: dict[str, float] = {}
        scores = []
        for name, held_out in pools.items():
            sums = DepthFigures()
            for number, samples in _in_batches(held_out):
                for kind, nobody in (("people", 0.0), ("nobody", 1.0)):
                    generator = torch.Generator().manual_seed(number)
                    scene = recovered_people(samples, generator, nobody=nobody)
                    output = network(scene)
                    depth = F.interpolate(output.log_depth[:, None], scale_factor=float(STRIDE), mode="bilinear")
                    sums.add(f"{name}_{kind}", depth[:, 0].exp(), samples)
                    sigma = _coarse(samples.depth_m.float())
                    valid = sigma > 0
                    error = (output.log_depth - sigma.clamp_min(1e-3).log()).abs()
                    # Of a Laplace distribution, 68 % lie within 1.14 mean absolute errors.
                    held = torch.where(valid, (error < 1.14 * output.log_sigma.exp()).float(), 0.0)
                    sums.mean(f"{name}_{kind}_within_sigma", held.flatten(1).sum(1) / valid.flatten(1).sum(1))
                sums.add(f"{name}_constant", _constant(samples), samples)
            found = sums.numbers()
            numbers |= found
            # Not AbsRel, which likes what is too near: half the truth costs 0.5 there, and twice the truth 1.
            scores += [found[f"{name}_people_log"], found[f"{name}_nobody_log"]]
        return {**numbers, "score": sum(scores) / len(scores)}

    def trivial_score(self, figures: Mapping[str, float]) -> float:
        """That of one constant depth."""
        constants = [value for name, value in figures.items() if name.endswith("_constant_log")]
        return sum(constants) / len(constants)


@dataclass(frozen=True)
class RefineTask:
    """Wrong depth and people → the affine field that mends it (paper §5)."""

    config: RefineRunConfig
    embedded: DepthNetwork | None = None
    """Whose output some batches start from."""
    file_format: str = REFINE_FORMAT

    def build(self) -> nn.Module:
        """An untrained network: the closed form."""
        return RefinementNetwork(self.config.network)

    def terms(self, network: nn.Module, samples: SceneSamples, generator: torch.Generator) -> dict[str, Tensor]:
        """The paper's four terms (§5)."""
        weights = self.config.losses
        scene = recovered_people(samples, generator)
        initial, known = self._initial(samples, scene, generator)
        scene = dataclasses.replace(scene, image=jittered(scene.image, generator))
        field = network(scene, initial, known, closed_forms(scene, initial, known))
        true = samples.depth_m.float()
        return {
            "depth": weights.depth * losses.regression(field.depth_m, true, known & (true > 0)),
            "anchor": weights.anchor
            * losses.anchored(field.depth_m, scene.anchor_m, scene.anchor_mask * known, scene.anchor_std),
            "tv": weights.tv * losses.total_variation(field.log_scale, field.relative_shift),
            "variance": weights.variance * losses.variance(field.log_scale, field.relative_shift),
        }

    @torch.no_grad()
    def figures(self, network: nn.Module, pools: Mapping[str, ScenePools]) -> dict[str, float]:
        """Initial, closed form and refined, from simulated and (where there is a network) embedded depth."""
        numbers: dict[str, float] = {}
        scores = []
        kinds = ("simulated", "embedded") if self.embedded is not None else ("simulated",)
        for name, held_out in pools.items():
            sums = DepthFigures()
            for number, samples in _in_batches(held_out):
                for kind in kinds:
                    generator = torch.Generator().manual_seed(number)
                    scene = recovered_people(samples, generator)
                    if kind == "simulated":
                        initial, known = corrupted(samples, generator, self.config.corruption)
                    else:
                        initial, known = self._embedded(scene, samples)
                    forms = closed_forms(scene, initial, known)
                    field = network(scene, initial, known, forms)
                    closed = (forms[:, 0, None, None] * initial + forms[:, 1, None, None]).clamp_min(0.05)
                    for method, depth in (("initial", initial), ("closed", closed), ("refined", field.depth_m)):
                        sums.add(f"{name}_{kind}_{method}", torch.where(known, depth, 0.0), samples)
            found = sums.numbers()
            numbers |= found
            scores += [
                found[f"{name}_{kind}_refined_absrel"] / found[f"{name}_{kind}_initial_absrel"] for kind in kinds
            ]
        return {**numbers, "score": sum(scores) / len(scores)}

    def trivial_score(self, figures: Mapping[str, float]) -> float:
        """The closed form's AbsRel over that of the initial depth."""
        ends = "_closed_absrel", "_initial_absrel"
        kinds = [name.removesuffix(ends[0]) for name in figures if name.endswith(ends[0])]
        return sum(figures[kind + ends[0]] / figures[kind + ends[1]] for kind in kinds) / len(kinds)

    def _initial(
        self, samples: SceneSamples, scene: SceneInput, generator: torch.Generator
    ) -> tuple[Float[Tensor, "B H W"], Bool[Tensor, "B H W"]]:
        draw = float(torch.rand((), generator=generator))
        if self.embedded is not None and draw < self.config.embedded:
            with torch.no_grad():
                return self._embedded(scene, samples)
        return corrupted(samples, generator, self.config.corruption)

    def _embedded(
        self, scene: SceneInput, samples: SceneSamples
    ) -> tuple[Float[Tensor, "B H W"], Bool[Tensor, "B H W"]]:
        assert self.embedded is not None
        output = self.embedded(scene)
        depth, far = (
            F.interpolate(values[:, None], scale_factor=float(STRIDE), mode="bilinear", align_corners=False)[:, 0]
            for values in (output.log_depth.exp(), output.far_logit)
        )
        return depth, far < 0


def closed_forms(
    scene: SceneInput, initial: Float[Tensor, "B H W"], known: Bool[Tensor, "B H W"]
) -> Float[Tensor, "B 2"]:
    """Scale and shift of the closed form of every picture of a batch.

    People are told apart by their sigma alone here, which is as good: it is one number for each.
    """
    rows = []
    for z, ok, anchor, mask, std in zip(
        initial, known, scene.anchor_m, scene.anchor_mask, scene.anchor_std, strict=True
    ):
        seen = (mask > 0) & ok
        levels, person = torch.unique(std[seen], return_inverse=True)
        rows_of = torch.full_like(std, -1, dtype=torch.long)
        rows_of[seen] = person
        found = align(torch.where(ok, z, torch.nan), anchor, seen, rows_of, levels)
        rows.append(torch.tensor([found.scale, found.shift_m]))
    return torch.stack(rows).to(initial)


def _with_focal(scene: SceneInput, log_factor: Float[Tensor, "B"]) -> SceneInput:
    """The same pictures taken for ones of another focal length: people found with it are as much further away."""
    factor = log_factor.exp()
    K = scene.K.clone()
    K[:, 0, 0] *= factor
    K[:, 1, 1] *= factor
    return dataclasses.replace(scene, K=K, anchor_m=scene.anchor_m * factor[:, None, None])


def _coarse(values: Tensor) -> Tensor:
    """At the size of the network's output; depths are not mixed."""
    return values[:, ::STRIDE, ::STRIDE]


def _constant(samples: SceneSamples) -> Float[Tensor, "B H W"]:
    """The median of all pictures in canonical metres, a constant in each: focal length is all it knows."""
    focal = (samples.K[:, 0, 0] * samples.K[:, 1, 1]).sqrt()
    true = samples.depth_m.float()
    canonical = torch.where(true > 0, true / focal[:, None, None], torch.nan).nanmedian()
    return (canonical * focal)[:, None, None].expand_as(true)


def _in_batches(pools: ScenePools) -> list[tuple[int, SceneSamples]]:
    parts: list[tuple[int, SceneSamples]] = []
    for pool in pools.pools:
        parts += [
            (len(parts) + k, pool[index]) for k, index in enumerate(torch.arange(len(pool)).split(_VALIDATION_BATCH))
        ]
    return parts
