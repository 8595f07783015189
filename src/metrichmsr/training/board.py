"""Figures of a run for TensorBoard, beside the log that everybody can read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

_VALIDATION = "val_"
_OF_THE_RUN = {"learning_rate", "samples_per_s"}


class Board:
    """Event files in the folder of a run: ``training/…`` (terms), ``validation/…``, ``run/…`` (rate and speed).

    Args:
        folder: of the run; ``tensorboard --logdir`` takes it, or one above.
        start: steps done before; what an interrupted run wrote later than that is taken back.
    """

    def __init__(self, folder: Path, *, start: int = 0) -> None:
        # Late: this costs seconds. ImportError where tensorboard is missing.
        from torch.utils.tensorboard import SummaryWriter

        self._writer: SummaryWriter = SummaryWriter(str(folder), purge_step=start + 1)

    def write(self, record: Mapping[str, float]) -> None:
        """One record of the log; its ``step`` says when."""
        step = int(record["step"])
        for name, value in record.items():
            if name != "step":
                self._writer.add_scalar(_tag(name), value, step)
        if any(name.startswith(_VALIDATION) for name in record):
            self._writer.flush()

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()


def _tag(name: str) -> str:
    if name.startswith(_VALIDATION):
        return f"validation/{name.removeprefix(_VALIDATION)}"
    return f"run/{name}" if name in _OF_THE_RUN else f"training/{name}"
