"""Distance errors of people, and what the same bodies would score with a constant stature.

Scaling a body about the camera centre changes neither its picture nor its pose: stature and distance grow together.
So ``distance · (stature' / stature)`` is exactly the distance of the same recovery had its stature been another one,
and how much of an error is the stature's can be read off.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from metrichmsr.evaluation.baselines import POPULATION_STATURE_M
from metrichmsr.evaluation.metrics import coverage_percent, summarise_errors
from metrichmsr.evaluation.report import Table, Value, centimetre_row, percent_row

SAME_BODY = f"same body, {POPULATION_STATURE_M} m tall (constant)"
SAME_BODY_TRUE = "same body, true stature"
BOX_RULE = f"focal · {POPULATION_STATURE_M} m / height of the true box"


@dataclass(frozen=True)
class DistanceCase:
    """One person's distance (or depth), true and recovered."""

    label: str
    true_m: float
    predicted_m: float
    sigma_m: float
    """One sigma of the predicted distance."""
    stature_m: float
    """Recovered stature."""
    true_stature_m: float = math.nan
    """True stature, where known."""
    box_rule_m: float = math.nan
    """What :data:`BOX_RULE` says, where there is a true box of the whole body."""

    @property
    def percent(self) -> float:
        """Signed relative error: positive where the person was put too far away."""
        return 100.0 * (self.predicted_m / self.true_m - 1.0)

    def with_stature(self, stature_m: float) -> float:
        """Signed relative error in percent of the same body, had it this stature."""
        return 100.0 * (self.predicted_m * stature_m / self.stature_m / self.true_m - 1.0)

    def values(self) -> dict[str, Value]:
        """For the report's list of cases."""
        return {
            "true_m": self.true_m,
            "predicted_m": self.predicted_m,
            "sigma_m": self.sigma_m,
            "error_percent": self.percent,
            "height_m": self.stature_m,
        }


def distance_table(title: str, cases: Sequence[DistanceCase]) -> Table:
    """Signed and absolute errors in percent of the method, its coverage, and the constants beside it."""
    coverage = coverage_percent([c.predicted_m - c.true_m for c in cases], [c.sigma_m for c in cases])
    rows = [percent_row("recovered", summarise_errors([c.percent for c in cases]), coverage)]
    rows.append(percent_row(SAME_BODY, summarise_errors([c.with_stature(POPULATION_STATURE_M) for c in cases])))
    if any(math.isfinite(c.true_stature_m) for c in cases):
        rows.append(percent_row(SAME_BODY_TRUE, summarise_errors([c.with_stature(c.true_stature_m) for c in cases])))
    if any(math.isfinite(c.box_rule_m) for c in cases):
        rows.append(percent_row(BOX_RULE, summarise_errors([100.0 * (c.box_rule_m / c.true_m - 1.0) for c in cases])))
    return Table(title, tuple(rows))


@dataclass(frozen=True)
class HeightCase:
    """One person's stature, true and recovered."""

    label: str
    true_m: float
    predicted_m: float
    sigma_m: float


def height_table(title: str, cases: Sequence[HeightCase]) -> Table:
    """Signed and absolute height errors in cm of the method, its coverage, and the constant beside it."""
    errors = [c.predicted_m - c.true_m for c in cases]
    coverage = coverage_percent(errors, [c.sigma_m for c in cases])
    constant = [POPULATION_STATURE_M - c.true_m for c in cases]
    return Table(
        title,
        (
            centimetre_row("recovered", summarise_errors(errors), coverage),
            centimetre_row(f"everybody is {POPULATION_STATURE_M} m", summarise_errors(constant)),
        ),
    )
