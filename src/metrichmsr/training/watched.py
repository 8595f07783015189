"""A run with everything beside it: figures for TensorBoard, a live table in a terminal, lines elsewhere."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TextIO

from torch import Tensor

from metrichmsr.training.board import Board
from metrichmsr.training.config import TrainConfig
from metrichmsr.training.data import TrainingData
from metrichmsr.training.live_table import LiveTable
from metrichmsr.training.trainer import Trainer
from metrichmsr.training.validation import Validation


def train(
    config: TrainConfig,
    data: TrainingData,
    folder: Path,
    *,
    initial: dict[str, Tensor] | None = None,
    until: float | None = None,
    title: str = "",
    stream: TextIO | None = None,
) -> tuple[Validation, int]:
    """Train one network in one folder, or go on with it; returns the last validation and the steps done.

    Args:
        config: what decides the run.
        data: what it learns from and is measured on.
        folder: of the run.
        initial: weights to start from.
        until: ``time.time()`` at which to stop, with everything saved.
        title: named before the run's lines.
        stream: where it is told how things stand; stderr by default. A terminal gets a live table, others get lines.

    Raises:
        DivergedError: the loss is no longer a number.
    """
    told: TextIO = sys.stderr if stream is None else stream
    # As accelerate launch sets them; the trainer itself complains where accelerate is missing.
    process, processes = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    batches = data.batches(config, process=process, processes=processes)
    trainer = Trainer(config, batches, data.validation, folder, initial=initial)
    if not trainer.accelerator.is_main_process:
        return trainer.run(until=until), trainer.progress.step

    table = LiveTable(told, steps=config.steps, title=title) if told.isatty() else None

    def say(line: str) -> None:
        print(f"{title}  {line}" if title else line, file=told, flush=True)

    board = _board(folder, trainer.progress.step, say)

    def watch(record: Mapping[str, float]) -> None:
        if board is not None:
            board.write(record)
        if table is not None:
            table.update(record)

    # The table says all that the lines say.
    report: Callable[[str], None] = say if table is None else lambda line: None
    try:
        return trainer.run(until=until, report=report, watch=watch), trainer.progress.step
    finally:
        if board is not None:
            board.close()


def _board(folder: Path, start: int, say: Callable[[str], None]) -> Board | None:
    try:
        return Board(folder, start=start)
    except ImportError:
        say("no figures for TensorBoard: pip install tensorboard")
        return None
