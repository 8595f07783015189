"""The verb ``train ablate``: variants of the network side by side, at an equal budget."""

from __future__ import annotations

import dataclasses
import math
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

from metrichmsr.errors import UsageError
from metrichmsr.training.config import TrainConfig


@dataclass(frozen=True)
class AblateArgs:
    """Train the paper's ablations at an equal budget, each from scratch in a folder of its own, and compare them.

    Writes OUT/ablation.md and OUT/ablation.json. The same command again goes on where it stopped: what is finished is
    not trained again.
    """

    data: tuple[Path, ...]
    """Folders (or shards) of training samples."""
    validation: Path
    """Folder (or shard) of held-out samples, on which all are measured."""
    out: Path
    """Folder of the runs and of the table."""
    steps: int = 5000
    """Optimiser steps of every run (config.steps is not read)."""
    seeds: tuple[int, ...] = (0,)
    """One run of every variant for each of them (config.seed is not read)."""
    only: tuple[str, ...] = ()
    """Names of the variants to train; all if left out."""
    minutes: float = math.inf
    """Stop after so long, with everything saved."""
    config: TrainConfig = field(default_factory=TrainConfig)
    """What all variants have in common."""

    def __post_init__(self) -> None:
        if self.steps < 1 or not self.seeds:
            raise UsageError("--steps must be at least 1, and --seeds must name one")


def ablate(args: AblateArgs) -> int:
    """Run ``train ablate``; 1 where a run diverged."""
    from metrichmsr.cli_train import deadline, read_data, say
    from metrichmsr.training.ablation import Ablation, variants

    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        # One that diverges in one process only would leave the others waiting for it.
        raise UsageError("train ablate runs in one process; for several GPUs start it on each with other --only names")
    config = dataclasses.replace(args.config, steps=args.steps)
    known = variants(config)
    if unknown := [name for name in args.only if name not in known]:
        raise UsageError(f"--only: no variant {', '.join(map(repr, unknown))}; known are {', '.join(map(repr, known))}")
    chosen = {name: known[name] for name in (args.only or known)}
    ablation = Ablation(args.out, config, chosen, seeds=tuple(dict.fromkeys(args.seeds)))
    table = ablation.run(read_data(args.data, args.validation), until=deadline(args.minutes), say=say)
    sys.stdout.write(table.to_markdown())
    return 1 if any(run.diverged for row in table.rows for run in row.runs) else 0
