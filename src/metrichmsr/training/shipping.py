"""What all gates before the shipped networks share: rounding, the table of both networks' figures, and the card."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import nn

from metrichmsr.errors import ModelFileError, UsageError
from metrichmsr.export.atomic import atomic_file
from metrichmsr.synthetic.card import grouped
from metrichmsr.weights import file_hash


def refuse_the_shipped_itself(candidate: Path, shipped: Path) -> None:
    """A network does not take its own place.

    Raises:
        UsageError: both are one file.
    """
    if shipped.is_file() and candidate.resolve() == shipped.resolve():
        raise UsageError(f"{candidate}: is the shipped checkpoint itself")


def round_as_shipped(network: nn.Module, candidate: Path) -> None:
    """Round the weights to float16, in place: what is shipped is rounded, and is measured so.

    Raises:
        ModelFileError: a weight is no number, or too large.
    """
    rounded = {name: tensor.half().float() for name, tensor in network.state_dict().items()}
    broken = [name for name, tensor in rounded.items() if not bool(torch.isfinite(tensor).all())]
    if broken:
        raise ModelFileError(f"{candidate}: {broken[0]} holds what is no number, or too large for float16")
    network.load_state_dict(rounded)


def comparison(new: Mapping[str, float], shipped: Mapping[str, float] | None) -> str:
    """Both networks' figures side by side, as Markdown."""
    old = shipped or {}
    lines = ["| figure | new | shipped |", "| --- | ---: | ---: |"]
    lines += [f"| {name} | {value:.3f} | {f'{old[name]:.3f}' if name in old else '–'} |" for name, value in new.items()]
    return "\n".join(lines)


def outcome(table: str, reasons: Sequence[str], shipped: Path, *, dry_run: bool) -> tuple[str, int]:
    """What a gate prints, and its exit status: 0 where the network wins, else 1."""
    if reasons:
        return f"{table}\nit does not win: {'; '.join(reasons)}\n", 1
    return f"{table}\nit wins{'' if dry_run else f': {shipped} is written'}\n", 0


def write_card(
    shipped: Path,
    network: nn.Module,
    *,
    about: str,
    evidence: Mapping[str, str],
    notes: Mapping[str, str],
    licence: str,
    heading: str,
    table: str,
    attributions: Sequence[str],
) -> None:
    """Write the card beside a network that has just been put in its place.

    Args:
        shipped: the package's file, written already.
        network: that is in it.
        about: what it is and who wrote the card.
        evidence: rows for the card: recipe, data, commit…
        notes: of the checkpoint it comes from.
        licence: the row about it.
        heading: over the figures.
        table: the figures.
        attributions: a line for each work that its training pictures hold.
    """
    rows = {
        "parameters": f"{sum(p.numel() for p in network.parameters()):,}",
        **evidence,
        "steps": notes.get("step", "unknown"),
        "licence": licence,
        "size": f"{shipped.stat().st_size:,} bytes, float16",
        "date": datetime.date.today().isoformat(),
        "SHA-256": f"`{file_hash(shipped)}`",
    }
    listed = "\n".join(f"| {key} | {value} |" for key, value in rows.items())
    credit = "\n".join(f"- {line}" for line in grouped(attributions)) or "- procedural appearance of this package only"
    card = f"""# {shipped.name}

{about}

| | |
| --- | --- |
{listed}

## {heading}

{table}

## Training config

`{notes.get("training", "unknown")}`

## Credits of what its training pictures show

{credit}
"""
    with atomic_file(shipped.with_suffix(".md")) as temporary:
        temporary.write_text(card, encoding="utf-8")
