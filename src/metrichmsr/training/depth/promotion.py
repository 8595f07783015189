"""The gate before the scene's shipped networks: a new one takes its place only where it wins on held-out samples."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from metrichmsr.export.atomic import atomic_file
from metrichmsr.scene.network_files import write_network
from metrichmsr.training.depth.samples import ScenePools
from metrichmsr.training.depth.tasks import Task
from metrichmsr.training.shipping import comparison, refuse_the_shipped_itself, round_as_shipped, write_card

Loader = Callable[[Path], tuple[nn.Module, dict[str, str]]]


@dataclass(frozen=True)
class SceneVerdict:
    """Whether a network wins, and by which figures."""

    new: Mapping[str, float]
    shipped: Mapping[str, float] | None
    reasons: tuple[str, ...]
    """Why it does not win; empty where it does."""

    @property
    def wins(self) -> bool:
        """Whether it may take the shipped one's place."""
        return not self.reasons

    def table(self) -> str:
        """Both side by side, as Markdown."""
        return comparison(self.new, self.shipped)


def judge(new: Mapping[str, float], shipped: Mapping[str, float] | None, trivial: float) -> SceneVerdict:
    """Compare figures over the same samples.

    Args:
        new: of the candidate, after rounding to float16; ``score`` counts, lower is better.
        shipped: of the one in the package; None where there is none.
        trivial: score of doing without: what is to be beaten in any case.
    """
    score = new["score"]
    reasons = []
    if not math.isfinite(score):
        reasons.append("its score is not a number")
    elif score >= trivial:
        reasons.append(f"its score is {score:.4f}, that of doing without {trivial:.4f} (lower is better)")
    if shipped is not None and not score < shipped["score"]:
        reasons.append(f"its score is {score:.4f}, the shipped one's {shipped['score']:.4f} (lower is better)")
    return SceneVerdict(new, shipped, tuple(reasons))


def promote_scene(
    candidate: Path,
    shipped: Path,
    task: Task,
    pools: Mapping[str, ScenePools],
    load: Loader,
    *,
    about: str,
    evidence: Mapping[str, str],
    attributions: Sequence[str] = (),
    write: bool = True,
) -> SceneVerdict:
    """Put a network in the shipped one's place, as float16 with a card, where it wins.

    Args:
        candidate: checkpoint of a run.
        shipped: the package's file; its card lies beside it as ``.md``.
        task: measures it.
        pools: held-out samples by name.
        load: reads a checkpoint.
        about: what the network does, for the card.
        evidence: more rows for the card: recipe, data, commit…
        attributions: a line for each work that its training pictures hold.
        write: False only compares.

    Raises:
        ModelFileError: one of the two cannot be read, or the candidate does not fit into float16.
        UsageError: the candidate is the shipped file itself.
    """
    refuse_the_shipped_itself(candidate, shipped)
    network, notes = load(candidate)
    round_as_shipped(network, candidate)
    figures = task.figures(network, pools)
    before = task.figures(load(shipped)[0], pools) if shipped.is_file() else None
    verdict = judge(figures, before, task.trivial_score(figures))
    if not (verdict.wins and write):
        return verdict
    kept = {name: notes[name] for name in ("training", "step") if name in notes}
    config = str(network.config_json)
    with atomic_file(shipped) as temporary:
        written = {"validation": json.dumps(dict(figures))}
        write_network(temporary, network, task.file_format, config, notes={**kept, **written})
    write_card(
        shipped,
        network,
        about=f"{about} Written by `metrichmsr train promote-scene`, which compared it with the one shipped before.",
        evidence=evidence,
        notes=notes,
        licence="Apache-2.0; credits of what its training pictures show below",
        heading="Figures over held-out samples",
        table=verdict.table(),
        attributions=attributions,
    )
    return verdict
