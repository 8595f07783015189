"""What a run leaves for TensorBoard and shows in a terminal."""

from __future__ import annotations

import builtins
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

pytest.importorskip("accelerate")

from metrichmsr.hmr.config import SMALL
from metrichmsr.training.config import TrainConfig
from metrichmsr.training.data import TrainingData
from metrichmsr.training.simulated import SimulatedLandmarks
from metrichmsr.training.trainer import LOG
from metrichmsr.training.watched import train

TINY = replace(SMALL, width=24, heads=2, hidden=48, queries=2, slots=2, patch_layers=1, global_layers=1)
CONFIG = TrainConfig(
    network=TINY, steps=4, batch=8, warmup=2, vertices=60, validate_every=2, log_every=1, precision="no", ema=0.5
)


class Terminal(io.StringIO):
    """Knows the two sequences that the table uses."""

    def isatty(self) -> bool:
        return True

    def screen(self) -> list[str]:
        lines: list[str] = []
        for up, text in re.findall(r"(?:\x1b\[(\d+)F\x1b\[J)|([^\x1b]+)", self.getvalue()):
            lines = lines[: len(lines) - int(up)] if up else lines + text.splitlines()
        return lines


@pytest.fixture(scope="module")
def data() -> TrainingData:
    samples = SimulatedLandmarks.load(None).sample(24, torch.Generator().manual_seed(0))
    return TrainingData(pools=(samples[torch.arange(16)],), validation=samples[torch.arange(16, 24)])


def test_tensorboard_holds_what_the_log_holds(data: TrainingData, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    figures, steps = train(CONFIG, data, tmp_path, stream=io.StringIO())
    assert steps == 4
    events = EventAccumulator(str(tmp_path)).Reload()
    mpjpe = events.Scalars("validation/mpjpe_mm")
    assert [event.step for event in mpjpe] == [2, 4]
    assert mpjpe[-1].value == pytest.approx(figures.mpjpe_mm, rel=1e-5)
    assert [event.step for event in events.Scalars("training/joints3d")] == [1, 2, 3, 4]
    log = [json.loads(line) for line in (tmp_path / LOG).read_text().splitlines()]
    told = [record["learning_rate"] for record in log if "learning_rate" in record]
    assert [event.value for event in events.Scalars("run/learning_rate")] == pytest.approx(told)


def test_training_does_without_tensorboard(data: TrainingData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def missing(name: str, *rest: object, **named: object) -> object:
        if name == "torch.utils.tensorboard":
            raise ImportError(name)
        return real(name, *rest, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", missing)
    stream = io.StringIO()
    train(replace(CONFIG, steps=1), data, tmp_path, stream=stream)
    told = stream.getvalue().splitlines()
    assert sum("tensorboard" in line for line in told) == 1
    assert not list(tmp_path.glob("events*"))
    assert "\x1b" not in stream.getvalue()


def test_terminal_shows_one_table(data: TrainingData, tmp_path: Path) -> None:
    terminal = Terminal()
    figures, _ = train(CONFIG, data, tmp_path, title="toy", stream=terminal)
    screen = terminal.screen()
    # However often it was drawn: head, names and values of terms, head and one row for each of two validations.
    assert len(screen) == 6
    assert screen[0].startswith("toy  step 4/4")
    assert "joints3d" in screen[1]
    assert screen[-1].split()[:2] == ["4", f"{figures.mpjpe_mm:.2f}"]
