"""The gate before the scene's shipped networks: a new one takes its place only where it wins on held-out samples."""

from __future__ import annotations

import datetime
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from metrichmsr.errors import ModelFileError, UsageError
from metrichmsr.export.atomic import atomic_file
from metrichmsr.scene.network_files import write_network
from metrichmsr.synthetic.card import grouped
from metrichmsr.training.depth.samples import ScenePools
from metrichmsr.training.depth.tasks import Task
from metrichmsr.weights import file_hash

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
        old = self.shipped or {}
        lines = ["| figure | new | shipped |", "| --- | ---: | ---: |"]
        lines += [
            f"| {name} | {value:.3f} | {f'{old[name]:.3f}' if name in old else '–'} |"
            for name, value in self.new.items()
        ]
        return "\n".join(lines)


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
    if shipped.is_file() and candidate.resolve() == shipped.resolve():
        raise UsageError(f"{candidate}: is the shipped checkpoint itself")
    network, notes = load(candidate)
    # What is shipped is rounded: it is measured so.
    rounded = {name: tensor.half().float() for name, tensor in network.state_dict().items()}
    broken = [name for name, tensor in rounded.items() if not bool(torch.isfinite(tensor).all())]
    if broken:
        raise ModelFileError(f"{candidate}: {broken[0]} holds what is no number, or too large for float16")
    network.load_state_dict(rounded)
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
    rows = {
        "parameters": f"{sum(p.numel() for p in network.parameters()):,}",
        **evidence,
        "steps": notes.get("step", "unknown"),
        "licence": "Apache-2.0; credits of what its training pictures show below",
        "size": f"{shipped.stat().st_size:,} bytes, float16",
        "date": datetime.date.today().isoformat(),
        "SHA-256": f"`{file_hash(shipped)}`",
    }
    with atomic_file(shipped.with_suffix(".md")) as temporary:
        temporary.write_text(_card(shipped.name, about, rows, verdict, notes, attributions), encoding="utf-8")
    return verdict


def _card(
    name: str,
    about: str,
    rows: Mapping[str, str],
    verdict: SceneVerdict,
    notes: Mapping[str, str],
    attributions: Sequence[str],
) -> str:
    table = "\n".join(f"| {key} | {value} |" for key, value in rows.items())
    credit = "\n".join(f"- {line}" for line in grouped(attributions)) or "- procedural appearance of this package only"
    return f"""# {name}

{about} Written by `metrichmsr train promote-scene`, which compared it with the one shipped before.

| | |
| --- | --- |
{table}

## Figures over held-out samples

{verdict.table()}

## Training config

`{notes.get("training", "unknown")}`

## Credits of what its training pictures show

{credit}
"""
