"""The gate before the shipped network: a new one takes its place only where it wins on the fixed validation samples."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from metrichmsr.export.atomic import atomic_file
from metrichmsr.hmr.body_parameters import BodyParameters
from metrichmsr.hmr.checkpoint import load_network, save_network
from metrichmsr.hmr.network import build
from metrichmsr.training.samples import Samples
from metrichmsr.training.shipping import comparison, refuse_the_shipped_itself, round_as_shipped, write_card
from metrichmsr.training.validation import Validation, validate

MAIN_FIGURES = ("mpjpe_mm", "pa_mpjpe_mm", "distance_percent", "height_cm")
_ABOUT = """\
MetricHMR, the preset `small` (`metrichmsr.hmr`): BlazePose's features and landmarks and the crop's ray map to a metric
Anny body. Written by `metrichmsr train promote`, which compared it with the one shipped before."""
MAY_WORSEN = 1.05
"""No main figure may become worse than by this factor, whatever the score."""


@dataclass(frozen=True)
class Verdict:
    """Whether a network wins, and by which figures."""

    new: Validation
    shipped: Validation | None
    reasons: tuple[str, ...]
    """Why it does not win; empty where it does."""

    @property
    def wins(self) -> bool:
        """Whether it may take the shipped one's place."""
        return not self.reasons

    def table(self) -> str:
        """Both side by side, as Markdown."""
        return comparison(self.new.numbers(), None if self.shipped is None else self.shipped.numbers())


def judge(new: Validation, shipped: Validation | None, untrained: Validation | None = None) -> Verdict:
    """Compare two networks' figures over the same samples.

    Args:
        new: of the candidate, after rounding to float16.
        shipped: of the one in the package; None where there is none.
        untrained: of a network of the same config before any training: what is to be beaten where none is shipped,
            together with a constant stature.
    """
    broken = [name for name, value in new.numbers().items() if not math.isfinite(value)]
    if broken:
        return Verdict(new, shipped, (f"its {broken[0]} is not a number",))
    reasons = []
    if shipped is not None:
        if not new.score < shipped.score:
            reasons.append(f"its score is {new.score:.3f}, the shipped one's {shipped.score:.3f} (lower is better)")
        for name in MAIN_FIGURES:
            mine, theirs = getattr(new, name), getattr(shipped, name)
            if mine > MAY_WORSEN * theirs:
                reasons.append(f"its {name} is {mine:.2f}, the shipped one's {theirs:.2f}")
        return Verdict(new, shipped, tuple(reasons))
    if new.height_cm >= new.height_constant_cm:
        reasons.append("its stature is no better than a constant")
    for name in MAIN_FIGURES:
        if untrained is not None and getattr(new, name) >= getattr(untrained, name):
            reasons.append(f"its {name} is no better than before training")
    return Verdict(new, None, tuple(reasons))


def promote(
    candidate: Path,
    shipped: Path,
    samples: Samples,
    parameters: BodyParameters,
    *,
    evidence: Mapping[str, str],
    attributions: Sequence[str] = (),
    write: bool = True,
) -> Verdict:
    """Put a network in the shipped one's place, as float16 with a card, where it wins.

    Args:
        candidate: checkpoint of a run.
        shipped: the package's file; its card lies beside it as ``.md``.
        samples: fixed validation samples.
        parameters: body model.
        evidence: more rows for the card: data, recipe, commit…
        attributions: a line for each asset that its training pictures hold.
        write: False only compares.

    Raises:
        ModelFileError: one of the two cannot be read.
        UsageError: the candidate is the shipped file itself.
    """
    refuse_the_shipped_itself(candidate, shipped)
    network, config, notes = load_network(candidate)
    round_as_shipped(network, candidate)
    figures = validate(network, samples, parameters, ray_size=config.ray_size)
    before = untrained = None
    if shipped.is_file():
        old, old_config, _ = load_network(shipped)
        before = validate(old, samples, parameters, ray_size=old_config.ray_size)
    else:
        untrained = validate(build(config).eval(), samples, parameters, ray_size=config.ray_size)
    verdict = judge(figures, before, untrained)
    if not (verdict.wins and write):
        return verdict
    kept = {name: notes[name] for name in ("training", "step", "calibration") if name in notes}
    with atomic_file(shipped) as temporary:
        save_network(temporary, network, config, notes={**kept, "validation": json.dumps(figures.numbers())})
    write_card(
        shipped,
        network,
        about=_ABOUT,
        evidence=evidence,
        notes=notes,
        licence="Apache-2.0; credits of the assets in its training pictures below",
        heading=f"Figures over {verdict.new.samples} held-out samples",
        table=verdict.table(),
        attributions=attributions,
    )
    return verdict
