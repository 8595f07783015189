"""Trains a network of the scene with ``accelerate``: moving average, resume, best checkpoint by validation.

As in the trainer of MetricHMR every step's random numbers come from the seed and the step's number: a run that was
stopped goes on as if it had not been.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from metrichmsr.errors import InputError, MissingPackageError
from metrichmsr.export.atomic import atomic_file
from metrichmsr.scene.network_files import write_network
from metrichmsr.training.depth.samples import ScenePools
from metrichmsr.training.depth.tasks import Task
from metrichmsr.training.trainer import BEST, LAST, LOG, STATE, DivergedError


class SceneTrainer:
    """One run in one folder.

    Args:
        task: network, losses, figures.
        training: scenes to learn from, one pool or several with the share of batches of each.
        validation: held-out scenes by name.
        folder: where state, checkpoints and log go; a run that is there is continued.
        initial: weights to start from; ignored where a run is continued.
    """

    def __init__(
        self,
        task: Task,
        training: list[tuple[ScenePools, float]],
        validation: Mapping[str, ScenePools],
        folder: Path,
        *,
        initial: Mapping[str, Tensor] | None = None,
    ) -> None:
        try:
            from accelerate import Accelerator
        except ImportError as error:
            raise MissingPackageError("training needs accelerate: pip install 'metrichmsr[train]'") from error
        self.task, self.folder = task, folder
        self._training, self._validation = training, validation
        config = task.config
        self.accelerator = Accelerator(mixed_precision=config.precision)
        torch.manual_seed(config.seed)
        network = task.build()
        if initial is not None:
            network.load_state_dict(initial)
        learned = [p for p in network.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in learned if p.ndim >= 2], "weight_decay": config.weight_decay},
            {"params": [p for p in learned if p.ndim < 2], "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.98))
        self.network, self.optimizer = self.accelerator.prepare(network, optimizer)
        self.ema = {name: tensor.detach().clone().float() for name, tensor in self._bare().state_dict().items()}
        self._averaged = task.build().to(self.accelerator.device).eval()
        self.step, self.best = 0, math.inf
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / STATE).is_file():
            self._resume()

    def _bare(self) -> nn.Module:
        return self.accelerator.unwrap_model(self.network)

    def run(self, *, until: float | None = None, report: Callable[[str], None] = lambda line: None) -> dict[str, float]:
        """Train to the last step, or to a moment in time; returns the figures of the last validation.

        Raises:
            DivergedError: the loss is not a number; the last good state is on the disk.
        """
        config = self.task.config
        started, first = time.time(), self.step
        means: dict[str, float] = {}
        figures: dict[str, float] | None = None
        streams = [pool.batches(config.batch, seed=config.seed + 17 * k, start=self.step)
                   for k, (pool, _) in enumerate(self._training)]  # fmt: skip
        shares = torch.tensor([share for _, share in self._training])
        while self.step < config.steps and not (until is not None and time.time() >= until):
            generator = torch.Generator().manual_seed(config.seed * 1_000_003 + 2 * self.step + 1)
            samples = [next(stream) for stream in streams][int(torch.multinomial(shares, 1, generator=generator))]
            for group in self.optimizer.param_groups:
                group["lr"] = self._learning_rate()
            self.network.train()
            with self.accelerator.autocast():
                terms = self.task.terms(self.network, samples.to(self.accelerator.device), generator)
            loss = torch.stack(list(terms.values())).sum()
            if not bool(torch.isfinite(loss)):
                bad = [name for name, value in terms.items() if not bool(torch.isfinite(value))]
                raise DivergedError(
                    f"{self.folder}: the loss of batch {self.step} is not a number ({', '.join(bad) or 'the sum'}); "
                    "the last saved state is whole"
                )
            self.optimizer.zero_grad(set_to_none=True)
            self.accelerator.backward(loss)
            norm = self.accelerator.clip_grad_norm_(self._bare().parameters(), config.clip)
            if norm is None or bool(torch.isfinite(torch.as_tensor(norm))):
                self.optimizer.step()
            decay = min(config.ema, (1 + self.step) / (10 + self.step))
            with torch.no_grad():
                for name, tensor in self._bare().state_dict().items():
                    self.ema[name].lerp_(tensor.float(), 1 - decay)
            self.step += 1
            for name, value in terms.items():
                now = float(value.detach())
                means[name] = means.get(name, now) * 0.98 + 0.02 * now
            if self.step % config.log_every == 0:
                rate = (self.step - first) * config.batch / (time.time() - started)
                self._log({"step": self.step, "pictures_per_s": round(rate, 1), **means})
            if self.step % config.validate_every == 0:
                figures = self.checkpoint()
                report(_line(self.step, config.steps, means, figures))
        if figures is None or self.step % config.validate_every:
            figures = self.checkpoint()
            report(_line(self.step, config.steps, means, figures))
        return figures

    def checkpoint(self) -> dict[str, float]:
        """Validate the moving average, keep it where it is the best so far, save the state."""
        self._averaged.load_state_dict(self.ema)
        with self.accelerator.autocast():
            figures = self.task.figures(self._averaged, self._validation)
        if self.accelerator.is_main_process:
            self._log({"step": self.step, **{f"val_{name}": value for name, value in figures.items()}})
            if figures["score"] < self.best:
                self.best = figures["score"]
                self._write(BEST, figures)
            self._write(LAST, figures)
            self.save()
        return figures

    def save(self) -> None:
        """Write all that is needed to go on."""
        bare = self._bare()
        tensors = {f"network.{name}": tensor for name, tensor in bare.state_dict().items()}
        tensors |= {f"ema.{name}": tensor for name, tensor in self.ema.items()}
        names = {id(p): name for name, p in bare.named_parameters()}
        for parameter, state in self.optimizer.state.items():
            for key, value in state.items():
                tensors[f"adam.{key}.{names[id(parameter)]}"] = torch.as_tensor(value)
        tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
        notes = {"config": self.task.config.to_json(), "step": str(self.step), "best": repr(self.best)}
        with atomic_file(self.folder / STATE) as path:
            save_file(tensors, path, notes)

    def _write(self, name: str, figures: Mapping[str, float]) -> None:
        notes = {
            "training": self.task.config.to_json(),
            "step": str(self.step),
            "validation": json.dumps({key: round(value, 5) for key, value in figures.items()}),
        }
        bare = self._bare()
        with atomic_file(self.folder / name) as path:
            write_network(
                path,
                bare,
                self.task.file_format,
                bare.config_json,  # pyright: ignore[reportArgumentType]
                state=self.ema,
                dtype=torch.float32,
                notes=notes,
            )

    def _resume(self) -> None:
        path = self.folder / STATE
        with safe_open(path, framework="pt") as file:
            notes = file.metadata() or {}
        if notes.get("config") != self.task.config.to_json():
            raise InputError(f"{path}: belongs to a run with another config; take another folder, or the same options")
        tensors = load_file(path, device=str(self.accelerator.device))
        bare = self._bare()
        bare.load_state_dict({n.removeprefix("network."): t for n, t in tensors.items() if n.startswith("network.")})
        self.ema = {n.removeprefix("ema."): t for n, t in tensors.items() if n.startswith("ema.")}
        parameters = dict(bare.named_parameters())
        for name, tensor in tensors.items():
            if name.startswith("adam."):
                _, key, parameter = name.split(".", 2)
                self.optimizer.state[parameters[parameter]][key] = tensor.cpu() if key == "step" else tensor
        self.step, self.best = int(notes["step"]), float(notes["best"])

    def _learning_rate(self) -> float:
        config = self.task.config
        if self.step < config.warmup:
            return config.learning_rate * (self.step + 1) / config.warmup
        done = min(1.0, (self.step - config.warmup) / max(1, config.steps - config.warmup))
        return config.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))

    def _log(self, record: Mapping[str, float]) -> None:
        if self.accelerator.is_main_process:
            with (self.folder / LOG).open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")


def _line(step: int, steps: int, means: Mapping[str, float], figures: Mapping[str, float]) -> str:
    shown = {name: value for name, value in figures.items() if name.endswith(("absrel", "score", "sigma", "delta1"))}
    return (
        f"step {step}/{steps}  "
        + "  ".join(f"{name} {value:.3f}" for name, value in shown.items())
        + " | "
        + " ".join(f"{name} {value:.3f}" for name, value in means.items())
    )
