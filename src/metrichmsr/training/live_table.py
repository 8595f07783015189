"""Where a run stands, as a small table that is redrawn in place in a terminal."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from typing import TextIO

_UP_AND_CLEAR = "\x1b[{}F\x1b[J"
_SHOWN = {
    "mpjpe_mm": "MPJPE mm",
    "pa_mpjpe_mm": "PA mm",
    "distance_percent": "distance %",
    "distance_percent_median": "median %",
    "distance_bias_percent": "bias %",
    "height_cm": "height cm",
    "score": "score",
}
_ROWS = 5


class LiveTable:
    """Records of a run's log as a table.

    Args:
        stream: a terminal that knows ANSI sequences.
        steps: of the whole run.
        title: of the run.
    """

    def __init__(self, stream: TextIO, *, steps: int, title: str = "") -> None:
        self._stream, self._steps, self._title = stream, steps, title
        self._training: dict[str, float] = {}
        self._validations: list[dict[str, float]] = []
        self._seen: list[tuple[float, float]] = []
        self._drawn = 0

    def update(self, record: Mapping[str, float]) -> None:
        """Take in one record and draw."""
        values = dict(record)
        if "val_score" in values:
            self._validations = [*self._validations, values][-_ROWS:]
        else:
            self._training = values
            self._seen = [*self._seen, (time.monotonic(), values["step"])][-20:]
        self._draw()

    def lines(self) -> list[str]:
        """The table as it stands."""
        training = dict(self._training)
        step = int(max([training.pop("step", 0), *(v["step"] for v in self._validations)]))
        head = [f"step {step}/{self._steps}"]
        head += [f"{training.pop('samples_per_s'):.0f} crops/s"] if "samples_per_s" in training else []
        head += [f"learning rate {training.pop('learning_rate'):.2e}"] if "learning_rate" in training else []
        head += [f"{self._minutes_left(step):.0f} min left"] if len(self._seen) > 1 else []
        lines = ["  ".join([self._title, *head] if self._title else head)]
        if training:
            lines += _table([list(training), [f"{value:.3f}" for value in training.values()]])
        if self._validations:
            rows = [["step", *_SHOWN.values()]]
            for figures in self._validations:
                rows.append([f"{figures['step']:.0f}", *(f"{figures[f'val_{name}']:.2f}" for name in _SHOWN)])
            lines += _table(rows)
        return lines

    def _minutes_left(self, step: int) -> float:
        (first, begin), (last, end) = self._seen[0], self._seen[-1]
        return (self._steps - step) * (last - first) / max(1.0, end - begin) / 60

    def _draw(self) -> None:
        # A line that wraps would be two to go up.
        width = shutil.get_terminal_size().columns - 1
        lines = [line[:width] for line in self.lines()]
        erase = _UP_AND_CLEAR.format(self._drawn) if self._drawn else ""
        self._stream.write(erase + "".join(f"{line}\n" for line in lines))
        self._stream.flush()
        self._drawn = len(lines)


def _table(rows: list[list[str]]) -> list[str]:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
