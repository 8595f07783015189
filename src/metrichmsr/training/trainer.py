"""Training of MetricHMR with ``accelerate``: one CPU or many GPUs, bf16, moving average, resume to the bit.

What decides a run is its :class:`TrainConfig` and its data. Every step's random numbers come from the seed and the
step's number, never from what was drawn before: a run that was stopped goes on exactly as if it had not been.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from metrichmsr.bodies.anny import AnnyBody
from metrichmsr.bodies.shape_prior import ShapePrior
from metrichmsr.errors import InputError, MetricHMSRError, MissingPackageError, UsageError
from metrichmsr.export.atomic import atomic_file
from metrichmsr.hmr.body_parameters import SIZES, BodyParameters
from metrichmsr.hmr.checkpoint import save_network
from metrichmsr.hmr.network import MetricHMR, build
from metrichmsr.people.landmarker import Landmarker
from metrichmsr.training.augment import doubtful_up, spoil, wrong_intrinsics
from metrichmsr.training.config import TrainConfig
from metrichmsr.training.losses import LossTerms, all_terms
from metrichmsr.training.photo_losses import PhotoLosses, PhotoTerms
from metrichmsr.training.samples import Samples
from metrichmsr.training.validation import Validation, validate

BatchesFrom = Callable[[int], Iterator[Samples]]
"""Batches from a given step on: the same ones however often it is asked."""

_LOOK_FOR_PICTURES = 100
"""Batches, at the beginning, of which one must hold pictures where the image encoder is tuned."""
STATE, BEST, LAST, LOG = "state.safetensors", "best.safetensors", "last.safetensors", "log.jsonl"


class DivergedError(MetricHMSRError):
    """The loss is no longer a number; the last good state is on the disk."""


@dataclass
class _Progress:
    step: int = 0
    best: float = math.inf


class Trainer:
    """One training run in one folder.

    Args:
        config: what decides the run.
        batches: training data, from a step on.
        validation: held-out samples.
        folder: where state, checkpoints and log go; a run that is there already is continued.
        initial: a network's weights to start from (pretraining); ignored where a run is continued.
    """

    def __init__(
        self,
        config: TrainConfig,
        batches: BatchesFrom,
        validation: Samples,
        folder: Path,
        *,
        initial: dict[str, Tensor] | None = None,
    ) -> None:
        try:
            from accelerate import Accelerator, DistributedDataParallelKwargs
        except ImportError as error:
            raise MissingPackageError("training needs accelerate: pip install 'metrichmsr[train]'") from error
        if config.network.body != "anny":
            raise UsageError(f"training on body model {config.network.body!r} needs its files; anny is the one shipped")
        self.config = config
        self.folder = folder
        self._batches = batches
        self._validation = validation
        # A batch without pictures, or with rays, leaves some parameters without a gradient.
        several = DistributedDataParallelKwargs(find_unused_parameters=True)
        precision = config.precision
        if precision == "auto":
            precision = "bf16" if torch.cuda.is_available() else "no"
        self.accelerator = Accelerator(mixed_precision=precision, kwargs_handlers=[several])
        torch.manual_seed(config.seed)
        network = build(
            config.network, mean_shape=ShapePrior.load().sample(4096, torch.Generator().manual_seed(0)).mean(0)
        )
        if initial is not None:
            network.load_state_dict(initial)
        if not (folder / STATE).is_file():
            _start_tuned_stages(network, batches)
        self.parameters = training_body(config).to(self.accelerator.device)
        optimizer = torch.optim.AdamW(_groups(network, config), lr=config.learning_rate, betas=(0.9, 0.98))
        self.network, self.optimizer = self.accelerator.prepare(network, optimizer)
        self.ema = {name: tensor.detach().clone().float() for name, tensor in self._bare().state_dict().items()}
        self._averaged = build(config.network).to(self.accelerator.device)
        self.progress = _Progress()
        self._watch: Callable[[Mapping[str, float]], None] = lambda record: None
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / STATE).is_file():
            self._resume()

    def _bare(self) -> MetricHMR:
        return self.accelerator.unwrap_model(self.network)

    @cached_property
    def _of_photos(self) -> PhotoLosses:
        return PhotoLosses.load(self.parameters, crop_size=self._bare().crop_size).to(self.accelerator.device)

    def run(
        self,
        *,
        until: float | None = None,
        report: Callable[[str], None] = lambda line: None,
        watch: Callable[[Mapping[str, float]], None] = lambda record: None,
    ) -> Validation:
        """Train to the last step, or to a moment in time; returns the figures of the last validation.

        Args:
            until: ``time.time()`` at which to stop, with everything saved.
            report: gets a line of text now and then.
            watch: gets every record that goes to the log.

        Raises:
            DivergedError: the loss is not a number.
        """
        config, device = self.config, self.accelerator.device
        self._watch = watch
        started, first = time.time(), self.progress.step
        means: dict[str, float] = {}
        figures: Validation | None = None
        for samples in self._batches(self.progress.step):
            if self.progress.step >= config.steps or (until is not None and time.time() >= until):
                break
            if not config.network.tuned:
                samples = replace(samples, grid32=None)  # large, and not looked at
            terms = self._step(samples.to(device))
            self.progress.step += 1
            for name, value in terms.numbers().items():
                means[name] = means.get(name, value) * 0.98 + 0.02 * value
            step = self.progress.step
            if step % config.log_every == 0:
                rate = (step - first) * config.batch * self.accelerator.num_processes / (time.time() - started)
                lr = self.optimizer.param_groups[0]["lr"]
                self._log({"step": step, "samples_per_s": round(rate, 1), "learning_rate": lr, **means})
            if step % config.validate_every == 0:
                figures = self.checkpoint()
                report(_line(step, config.steps, means, figures))
        if figures is None or self.progress.step % config.validate_every:
            figures = self.checkpoint()
            report(_line(self.progress.step, config.steps, means, figures))
        return figures

    def _step(self, samples: Samples) -> LossTerms | PhotoTerms:
        config, step = self.config, self.progress.step
        generator = torch.Generator().manual_seed(config.seed * 1_000_003 + 2 * step + 1)
        # Dropout draws from the global state: the step's own, so that resuming changes nothing.
        torch.manual_seed(config.seed * 1_000_003 + 2 * step)
        for group in self.optimizer.param_groups:
            group["lr"] = group["rate"] * learning_rate(config, step)
        samples = spoil(samples, config, generator)
        K_seen = wrong_intrinsics(samples.K_crop, config.k_noise, generator)
        self.network.train()
        up_seen = None
        if samples.up is not None and config.network.gravity:
            up_seen = doubtful_up(samples.up, generator, withheld=config.up_withheld)
        output = self.network(samples.evidence(config.network.ray_size, K_seen=K_seen, up_seen=up_seen))
        # Only the rays are wrong: how large a person is in the crop's metres must not hang on them too finely.
        bare = self._bare()
        if not bool(torch.isfinite(output.heads.rotations).all() & torch.isfinite(output.heads.log_extent).all()):
            raise self._diverged("the network's answer")
        bodies = bare.place(output.heads, samples.K_crop, self.parameters)
        if samples.keypoints is not None:
            terms = self._of_photos(output, bodies, samples)
        else:
            truth = samples.truth(self.parameters)
            terms = all_terms(output, bodies, truth, crop_size=bare.crop_size, age=bare.heads.sizes.age)
        loss = terms.total(config.losses)
        if not bool(torch.isfinite(loss)):
            bad = [name for name, value in terms.numbers().items() if not math.isfinite(value)]
            raise self._diverged(", ".join(bad) or "the losses' sum")
        self.optimizer.zero_grad(set_to_none=True)
        self.accelerator.backward(loss)
        norm = self.accelerator.clip_grad_norm_(self.network.parameters(), config.clip)
        if norm is None or bool(torch.isfinite(torch.as_tensor(norm))):
            self.optimizer.step()
        decay = min(config.ema, (1 + step) / (10 + step))
        with torch.no_grad():
            for name, tensor in self._bare().state_dict().items():
                self.ema[name].lerp_(tensor.float(), 1 - decay)
        return terms

    def _diverged(self, what: str) -> DivergedError:
        """Save the state, where it is still a good one, and say what happened."""
        good = all(bool(torch.isfinite(p).all()) for p in self._bare().parameters())
        if good:
            self.save()
        kept = "the state before it" if good else "the last good state"
        there = f"{kept} is in {STATE}" if (self.folder / STATE).is_file() else "no state was saved before it"
        return DivergedError(f"{self.folder}: the loss of batch {self.progress.step} is not a number ({what}); {there}")

    def checkpoint(self) -> Validation:
        """Validate the moving average, keep it where it is the best so far, save the state."""
        self._averaged.load_state_dict(self.ema)
        figures = validate(
            self._averaged,
            self._validation.to(self.accelerator.device),
            self.parameters,
            ray_size=self.config.network.ray_size,
        )
        if self.accelerator.is_main_process:
            self._log({"step": self.progress.step, **{f"val_{k}": v for k, v in figures.numbers().items()}})
            if figures.score < self.progress.best:
                self.progress.best = figures.score
                self._write_network(BEST, figures)
            self._write_network(LAST, figures)
            self.save()
        return figures

    def _write_network(self, name: str, figures: Validation) -> None:
        with atomic_file(self.folder / name) as path:
            save_network(
                path,
                self._bare(),
                self.config.network,
                state=self.ema,
                dtype=torch.float32,
                notes={
                    "training": self.config.to_json(),
                    "step": str(self.progress.step),
                    "validation": json.dumps(figures.numbers()),
                },
            )

    def save(self) -> None:
        """Write all that is needed to go on."""
        tensors = {f"network.{name}": tensor for name, tensor in self._bare().state_dict().items()}
        tensors |= {f"ema.{name}": tensor for name, tensor in self.ema.items()}
        names = {id(p): name for name, p in self._bare().named_parameters()}
        for parameter, state in self.optimizer.state.items():
            for key, value in state.items():
                tensors[f"adam.{key}.{names[id(parameter)]}"] = torch.as_tensor(value)
        tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
        metadata = {
            "config": self.config.to_json(),
            "step": str(self.progress.step),
            "best": repr(self.progress.best),
        }
        with atomic_file(self.folder / STATE) as path:
            save_file(tensors, path, metadata)

    def _resume(self) -> None:
        from safetensors import safe_open

        path = self.folder / STATE
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        there = TrainConfig.from_json(metadata.get("config", "{}"), source=path)
        if there != self.config:
            raise InputError(f"{path}: belongs to a run with another config; take another folder, or the same options")
        tensors = load_file(path, device=str(self.accelerator.device))
        self._bare().load_state_dict(
            {name.removeprefix("network."): t for name, t in tensors.items() if name.startswith("network.")}
        )
        self.ema = {name.removeprefix("ema."): t for name, t in tensors.items() if name.startswith("ema.")}
        parameters = dict(self._bare().named_parameters())
        for name, tensor in tensors.items():
            if name.startswith("adam."):
                _, key, parameter = name.split(".", 2)
                # Adam keeps its step counts on the CPU.
                self.optimizer.state[parameters[parameter]][key] = tensor.cpu() if key == "step" else tensor
        self.progress = _Progress(int(metadata["step"]), float(metadata["best"]))

    def _log(self, record: dict[str, float | int]) -> None:
        if self.accelerator.is_main_process:
            with (self.folder / LOG).open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
            self._watch(record)


def _groups(network: MetricHMR, config: TrainConfig) -> list[dict[str, Any]]:
    """Parameters by weight decay and by learning rate (``rate``: share of the schedule's)."""
    tuned = network.tuned_stages
    encoder = set() if tuned is None else set(tuned.stages.parameters())
    groups = []
    for rate, inside in ((1.0, False), (config.encoder_rate, True)):
        members = [p for p in network.parameters() if (p in encoder) == inside]
        for decay, those in (
            (config.weight_decay, [p for p in members if p.ndim >= 2]),
            (0.0, [p for p in members if p.ndim < 2]),
        ):
            groups.append({"params": those, "weight_decay": decay, "rate": rate})
    return [group for group in groups if group["params"]]


def _start_tuned_stages(network: MetricHMR, batches: BatchesFrom) -> None:
    """The image encoder's own stages, where they have learned nothing yet, start as BlazePose's."""
    tuned = network.tuned_stages
    if tuned is None or not tuned.fresh:
        return
    seen = next((batch.grid32 for batch in islice(batches(0), _LOOK_FOR_PICTURES) if batch.grid32 is not None), None)
    if seen is None:
        raise UsageError(
            "tuned stages of the image encoder learn from pictures: --data holds no rendered samples with early "
            "features (metrichmsr train samples --kind rendered makes them)"
        )
    tuned.start_from(Landmarker().network, seen.float())


def training_body(config: TrainConfig) -> BodyParameters:
    """Anny with as many vertices as the losses look at, spread evenly over the mesh."""
    body = AnnyBody.load()
    chosen = torch.linspace(0, body.num_vertices - 1, config.vertices).long()
    return BodyParameters(body.restricted_to(chosen), SIZES["anny"]).requires_grad_(False)


def learning_rate(config: TrainConfig, step: int) -> float:
    """Linear warm-up, then a cosine down to a hundredth."""
    if step < config.warmup:
        return config.learning_rate * (step + 1) / config.warmup
    done = (step - config.warmup) / max(1, config.steps - config.warmup)
    return config.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))


def _line(step: int, steps: int, means: dict[str, float], figures: Validation) -> str:
    losses = " ".join(f"{name} {value:.3f}" for name, value in means.items())
    return (
        f"step {step}/{steps}  MPJPE {figures.mpjpe_mm:.1f}  PA {figures.pa_mpjpe_mm:.1f} mm  "
        f"distance {figures.distance_percent:.1f} % (median {figures.distance_percent_median:.1f}, bias "
        f"{figures.distance_bias_percent:+.1f})  height {figures.height_cm:.1f} cm "
        f"(constant {figures.height_constant_cm:.1f})  σ {figures.within_sigma_distance:.2f}/"
        f"{figures.within_sigma_height:.2f}/{figures.within_sigma_joints:.2f}  score {figures.score:.3f} | {losses}"
    )
