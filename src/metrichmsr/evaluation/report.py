"""Results of an evaluation as typed tables, and as Markdown and JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from metrichmsr.evaluation.metrics import ErrorSummary

Value = float | int | str

COLUMNS: Mapping[str, tuple[str, int]] = {
    "n": ("n", 0),
    "images": ("images", 0),
    "found": ("found", 0),
    "pck_percent": ("PCK %", 1),
    "interval": ("95 % interval", 0),
    "swap_percent": ("PCK % sides exchanged", 1),
    "shoulder_percent": ("shoulders %", 1),
    "elbow_percent": ("elbows %", 1),
    "wrist_percent": ("wrists %", 1),
    "hip_percent": ("hips %", 1),
    "knee_percent": ("knees %", 1),
    "ankle_percent": ("ankles %", 1),
    "oks": ("mean OKS of found", 3),
    "oks_all": ("mean OKS, missed = 0", 3),
    "mpjpe_mm": ("MPJPE mm", 1),
    "pa_mpjpe_mm": ("PA-MPJPE mm", 1),
    "pve_mm": ("PVE mm", 1),
    "rde_percent": ("RDE %", 1),
    "rde_signed_percent": ("RDE signed %", 1),
    "root_error_m": ("root error m", 3),
    "height_mae_cm": ("height MAE cm", 1),
    "height_signed_cm": ("height signed cm", 1),
    "rde_within_sigma_percent": ("distance within 1 σ %", 0),
    "height_within_sigma_percent": ("height within 1 σ %", 0),
    "abs_rel_percent": ("AbsRel %", 1),
    "abs_rel_median_percent": ("median AbsRel %", 1),
    "people_abs_rel_percent": ("AbsRel in people %", 1),
    "ring_abs_rel_percent": ("AbsRel around people %", 1),
    "depth_mae_m": ("MAE m", 2),
    "depth_rmse_m": ("RMSE m", 2),
    "delta1_percent": ("δ1 %", 1),
    "delta2_percent": ("δ2 %", 1),
    "delta3_percent": ("δ3 %", 1),
    "known_percent": ("pixels with depth %", 0),
    "height_spread_cm": ("height spread cm", 1),
    "pose_spread_mm": ("pose spread mm", 1),
    "size_spread_percent": ("size spread %", 1),
    "mean_percent": ("mean %", 1),
    "median_percent": ("median %", 1),
    "mean_abs_percent": ("mean abs %", 1),
    "median_abs_percent": ("median abs %", 1),
    "mean_cm": ("mean cm", 1),
    "median_cm": ("median cm", 1),
    "mean_abs_cm": ("mean abs cm", 1),
    "median_abs_cm": ("median abs cm", 1),
    "spread_cm": ("spread (1 sd) cm", 1),
    "coverage_percent": ("within 1 σ %", 0),
}
"""Known columns in their order: key → heading with unit, decimals. The keys are those of the JSON."""


@dataclass(frozen=True)
class Row:
    """One method's figures."""

    method: str
    values: Mapping[str, Value]
    """By column key."""


@dataclass(frozen=True)
class Table:
    """Methods side by side."""

    title: str
    """What is measured, with the unit's reference."""
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Case:
    """One scored picture or person."""

    label: str
    """Image, and which person of it."""
    values: Mapping[str, Value]


@dataclass(frozen=True)
class SetResult:
    """Everything measured on one set."""

    name: str
    protocol: str
    """How it was measured, in a sentence or two: joint set, alignment, matching."""
    counts: Mapping[str, int]
    """Frames, people, matched, missed…"""
    tables: tuple[Table, ...]
    cases: tuple[Case, ...] = ()
    failures: tuple[str, ...] = ()
    """Pictures on which the method gave up, one line each."""
    seconds_per_image: float = math.nan
    """Median wall time of a recovery."""


def percent_row(method: str, summary: ErrorSummary, coverage: float | None = None) -> Row:
    """A row of a table of relative errors."""
    return _summary_row(method, summary, "percent", coverage)


def centimetre_row(method: str, summary_m: ErrorSummary, coverage: float | None = None) -> Row:
    """A row of a table of lengths, from errors in metres."""
    scaled = ErrorSummary(summary_m.n, *(100 * getattr(summary_m, key) for key in _SUMMARY_FIELDS))
    return _summary_row(method, scaled, "cm", coverage)


_SUMMARY_FIELDS = ("mean", "median", "mean_abs", "median_abs")


def _summary_row(method: str, summary: ErrorSummary, unit: str, coverage: float | None) -> Row:
    values: dict[str, Value] = {"n": summary.n}
    values |= {f"{key}_{unit}": getattr(summary, key) for key in _SUMMARY_FIELDS}
    if coverage is not None:
        values["coverage_percent"] = coverage
    return Row(method, values)


def to_markdown(results: Sequence[SetResult]) -> str:
    """All sets as Markdown sections, a table per measurement."""
    return "\n".join(_set_markdown(result) for result in results)


def _set_markdown(result: SetResult) -> str:
    counts = ", ".join(f"{name} {count}" for name, count in result.counts.items())
    lines = [f"### {result.name}", "", result.protocol, "", f"Counts: {counts}."]
    if not math.isnan(result.seconds_per_image):
        lines[-1] += f" Median {result.seconds_per_image:.2f} s per image."
    for table in result.tables:
        keys = [key for key in COLUMNS if any(key in row.values for row in table.rows)]
        lines += ["", f"**{table.title}**", "", "| method | " + " | ".join(COLUMNS[key][0] for key in keys) + " |"]
        lines.append("| --- |" + " ---: |" * len(keys))
        for row in table.rows:
            cells = (_cell(row.values.get(key), COLUMNS[key][1]) for key in keys)
            lines.append(f"| {row.method} | " + " | ".join(cells) + " |")
    if result.failures:
        lines += ["", "Given up on:", "", *(f"- {line}" for line in result.failures)]
    return "\n".join(lines) + "\n"


def _cell(value: Value | None, digits: int) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    return value if isinstance(value, str) else f"{value:.{digits}f}"


def to_json(results: Sequence[SetResult], versions: Mapping[str, str]) -> dict[str, Any]:
    """All sets as plain JSON values; a number that is none becomes null."""
    return {
        "schema": "metrichmsr-evaluation/1",
        "versions": dict(versions),
        "sets": {
            result.name: {
                "protocol": result.protocol,
                "counts": dict(result.counts),
                "seconds_per_image": _plain(result.seconds_per_image),
                "tables": [
                    {"title": table.title, "rows": [{"method": row.method, **_clean(row.values)} for row in table.rows]}
                    for table in result.tables
                ],
                "cases": [{"label": case.label, **_clean(case.values)} for case in result.cases],
                "failures": list(result.failures),
            }
            for result in results
        },
    }


def _clean(values: Mapping[str, Value]) -> dict[str, Value | None]:
    return {key: _plain(value) for key, value in values.items()}


def _plain(value: Value) -> Value | None:
    return None if isinstance(value, float) and not math.isfinite(value) else value
