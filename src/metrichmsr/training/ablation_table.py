"""Ablations side by side, ours and the paper's, as Markdown and JSON."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

COLUMNS: Mapping[str, tuple[str, int]] = {
    "mpjpe_mm": ("MPJPE mm", 1),
    "pa_mpjpe_mm": ("PA-MPJPE mm", 1),
    "distance_percent": ("distance error %, mean", 1),
    "distance_percent_median": ("distance error %, median", 1),
    "height_cm": ("height MAE cm", 1),
}
"""Figures of :class:`~metrichmsr.training.validation.Validation` that are shown: heading, decimals."""

PAPER_COLUMNS: Mapping[str, str] = {
    "mpjpe_mm": "paper: MPJPE mm",
    "pa_mpjpe_mm": "paper: PA-MPJPE mm",
    "w_mpjpe_mm": "paper: W-MPJPE mm",
}
PAPER_SOURCE = (
    "The paper's figures are those of its ablation tables (arXiv 2506.09919): MPJPE and PA-MPJPE on 3DPW, W-MPJPE on "
    "EMDB-2 with true extrinsics. Another network, other data and another joint set: compare the order, not the values."
)
_FULL = {"mpjpe_mm": 53.0, "pa_mpjpe_mm": 33.6, "w_mpjpe_mm": 152.5}
PAPER: Mapping[str, Mapping[str, float]] = {
    "image only": {"mpjpe_mm": 57.2, "pa_mpjpe_mm": 35.6, "w_mpjpe_mm": 191.8},
    "+ ray map": {"mpjpe_mm": 55.0, "pa_mpjpe_mm": 34.4, "w_mpjpe_mm": 154.1},
    "+ ray map + HumanMoE": _FULL,
    "Patch MoE only": {"mpjpe_mm": 54.5},
    "Global MoE only": {"mpjpe_mm": 54.3},
    "0 routed experts": {"pa_mpjpe_mm": 34.6},
    "2 routed experts": {"pa_mpjpe_mm": 34.3},
    "8 routed experts": {"pa_mpjpe_mm": 33.9},
    "32 routed experts": {"pa_mpjpe_mm": 34.2},
}
"""By the name of the variant; the full network has 4 routed experts."""


@dataclass(frozen=True)
class Run:
    """One variant trained with one seed."""

    seed: int
    figures: Mapping[str, float] | None
    """Validation after the last step; None where it did not come so far."""
    note: str = ""
    """Why not."""
    diverged: bool = False


@dataclass(frozen=True)
class VariantRow:
    """One variant with all its runs."""

    name: str
    parameters: int
    runs: tuple[Run, ...]

    def values(self, key: str) -> list[float]:
        """One figure of every finished run."""
        return [run.figures[key] for run in self.runs if run.figures is not None]

    def mean(self, key: str) -> float:
        """Over seeds; NaN where none is finished."""
        values = self.values(key)
        return statistics.fmean(values) if values else math.nan

    def std(self, key: str) -> float:
        """Over seeds (n − 1); NaN where fewer than two are finished."""
        values = self.values(key)
        return statistics.stdev(values) if len(values) > 1 else math.nan

    def remarks(self) -> str:
        """What did not go well."""
        return ", ".join(f"seed {run.seed} {run.note}" for run in self.runs if run.note)


@dataclass(frozen=True)
class AblationTable:
    """All variants, and what they have in common."""

    rows: tuple[VariantRow, ...]
    steps: int
    batch: int
    training: int
    """Samples."""
    validation: int
    """Samples."""
    config: str
    """The common training config, JSON."""

    def to_markdown(self) -> str:
        """A table for reading."""
        heads = ["variant", "parameters", "seeds", *(head for head, _ in COLUMNS.values()), *PAPER_COLUMNS.values()]
        remarked = any(row.remarks() for row in self.rows)
        heads += ["remarks"] if remarked else []
        lines = [
            "# Ablation",
            "",
            f"Every variant: {self.steps} steps of {self.batch} crops from scratch on the same {self.training} "
            f"samples, moving average after the last step, measured on the same {self.validation} held-out samples. "
            "Mean ± standard deviation over seeds. Joints are COCO's twelve of the limbs, relative to "
            "the middle of the hips.",
            "",
            f"| {' | '.join(heads)} |",
            "| --- |" + " ---: |" * (len(heads) - 1 - remarked) + " --- |" * remarked,
        ]
        for row in self.rows:
            finished = sum(run.figures is not None for run in row.runs)
            cells = [row.name, f"{row.parameters / 1e6:.2f} M", str(finished)]
            cells += [_spread(row.mean(key), row.std(key), digits) for key, (_, digits) in COLUMNS.items()]
            paper = PAPER.get(row.name, {})
            cells += [f"{paper[key]:.1f}" if key in paper else "–" for key in PAPER_COLUMNS]
            cells += [row.remarks() or "–"] if remarked else []
            lines.append(f"| {' | '.join(cells)} |")
        return "\n".join([*lines, "", PAPER_SOURCE]) + "\n"

    def to_json(self) -> str:
        """All figures of all runs."""
        return (
            json.dumps(
                {
                    "schema": "metrichmsr-ablation/1",
                    "steps": self.steps,
                    "batch": self.batch,
                    "samples": {"training": self.training, "validation": self.validation},
                    "config": json.loads(self.config),
                    "paper_source": PAPER_SOURCE,
                    "rows": [_record(row) for row in self.rows],
                },
                indent=2,
                allow_nan=False,
            )
            + "\n"
        )


def _record(row: VariantRow) -> dict[str, Any]:
    return {
        "name": row.name,
        "parameters": row.parameters,
        "mean": {key: _plain(row.mean(key)) for key in COLUMNS},
        "std": {key: _plain(row.std(key)) for key in COLUMNS},
        "paper": dict(PAPER.get(row.name, {})),
        "runs": [
            {
                "seed": run.seed,
                "state": run.note or "finished",
                "figures": None
                if run.figures is None
                else {name: _plain(value) for name, value in run.figures.items()},
            }
            for run in row.runs
        ],
    }


def _spread(mean: float, std: float, digits: int) -> str:
    if math.isnan(mean):
        return "–"
    return f"{mean:.{digits}f}" if math.isnan(std) else f"{mean:.{digits}f} ± {std:.{digits}f}"


def _plain(value: float) -> float | None:
    return value if math.isfinite(value) else None
