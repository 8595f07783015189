"""The verb ``explain``: options, the run, and what is told about it in the end."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from metrichmsr.export.atomic import check_writable
from metrichmsr.recover import RecoverOptions


@dataclass(frozen=True)
class ExplainArgs:
    """Show what the network saw of everybody in a photo, and which of its experts worked on what.

    Writes OUT/<photo's name>/: a sheet per person (explain_0.png) with crop, ray map, routing heat maps, expert
    assignment and body, the same pictures one by one, and explain.json.
    """

    photo: Annotated[Path, tyro.conf.Positional]
    """The photo."""
    out: Path = Path("out")
    """Folder for the results; the photo gets a folder of its own in it."""
    options: Annotated[RecoverOptions, tyro.conf.arg(name="")] = field(
        default_factory=lambda: RecoverOptions(method="network")
    )
    device: str | None = None
    """Where the networks that find people run: cpu, cuda, cuda:1, mps (default: cpu)."""
    debug: bool = False
    """Show where in the program an error arose."""


def explain_photo(args: ExplainArgs) -> int:
    """Do what the command line asks for; returns the exit status.

    Raises:
        MetricHMSRError: the photo or the checkpoint cannot be used, or nobody is in the photo.
    """
    from metrichmsr.explain import Explainer
    from metrichmsr.export.explain_write import write_explanation
    from metrichmsr.images import read_image

    explainer = Explainer(args.options, device=args.device)
    photo = read_image(args.photo)
    check_writable(args.out)
    with contextlib.redirect_stdout(sys.stderr):  # whatever a library prints
        explanation = explainer(photo)
        folder, document = write_explanation(explanation, args.out, args.photo.stem)
    lines = [f"note: {note}" for note in document["notes"]]
    lines += [f"warning: {warning}" for warning in document["warnings"]]
    lines += [f"person {person['id']}: {folder / person['files']['sheet']}" for person in document["people"]]
    lines.append(f"routing weights and what each expert matters: {folder / 'explain.json'}")
    sys.stdout.write("\n".join(lines) + "\n")
    return 0
