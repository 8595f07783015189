"""``train promote-scene``: from a run's checkpoint to the scene's networks in the package."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from metrichmsr.cli_promote import commit
from metrichmsr.errors import InputError


@dataclass(frozen=True)
class PromoteSceneArgs:
    """Ship a network of the scene: it takes the place of the one in the package where it wins on held-out samples.

    Exit status 1, with both networks' figures, where it does not win.
    """

    network: Literal["depth", "refine"]
    """Which of the two."""
    checkpoint: Path
    """Network of a run."""
    validation: tuple[Path, ...]
    """Folders of the held-out samples, each measured by itself."""
    recipe: str = ""
    """How it was trained, in a sentence or two, for the card."""
    assets: Path | None = None
    """Asset folder that its training pictures were made with: whoever made something in it is named on the card."""
    frames: Path | None = None
    """Folder of depth frames it was trained on (index.jsonl): those sets are named on the card too."""
    embedded: Path | None = None
    """For refine: depth network whose output is refined in one of the measurements (default: the package's)."""
    dry_run: bool = False
    """Compare, and change nothing."""


def promote_scene(args: PromoteSceneArgs) -> int:
    """Run ``train promote-scene``."""
    from metrichmsr.scene.depth import embedded
    from metrichmsr.scene.depth_network import load_depth_network
    from metrichmsr.scene.refine import WEIGHTS
    from metrichmsr.scene.refinement_network import load_refinement_network
    from metrichmsr.synthetic.assets import AssetFolder
    from metrichmsr.training.depth.config import DepthRunConfig, RefineRunConfig
    from metrichmsr.training.depth.promotion import promote_scene as take_its_place
    from metrichmsr.training.depth.samples import read_scene_samples
    from metrichmsr.training.depth.tasks import DepthTask, RefineTask
    from metrichmsr.training.shipping import outcome

    if args.network == "depth":
        task, shipped, load = DepthTask(DepthRunConfig()), embedded.WEIGHTS, load_depth_network
        about = (
            "The embedded depth network (`metrichmsr.scene.depth_network`): picture, ray map and recovered people to "
            "metric z-depth, its sigma, and what is out of reach."
        )
    else:
        start = load_depth_network(args.embedded or embedded.WEIGHTS)[0].requires_grad_(False)
        task, shipped, load = RefineTask(RefineRunConfig(), start), WEIGHTS, load_refinement_network
        about = (
            "The refinement network of the paper's §5 (`metrichmsr.scene.refinement_network`): initial depth and "
            "recovered people to a field of scale and shift."
        )
    pools = {folder.name: read_scene_samples([folder]) for folder in args.validation}
    assets = None if args.assets is None else AssetFolder.find(args.assets)
    credit = [] if assets is None else list(assets.credits())
    if args.frames is not None:
        credit += frame_credits(args.frames)
    verdict = take_its_place(
        args.checkpoint,
        shipped,
        task,
        pools,
        load,
        about=about,
        evidence={
            "recipe": args.recipe or "see the config below",
            "validated on": ", ".join(f"{name} ({len(pool)} pictures)" for name, pool in pools.items()),
            "commit": commit(),
        },
        attributions=credit,
        write=not args.dry_run,
    )
    text, status = outcome(verdict.table(), verdict.reasons, shipped, dry_run=args.dry_run)
    sys.stdout.write(text)
    return status


def frame_credits(folder: Path, sets: Iterable[str] | None = None) -> list[str]:
    """A line for each set of depth frames that shipped weights may be trained on: its name, where from, its licence.

    Raises:
        InputError: the folder's index is missing or broken.
    """
    from metrichmsr.cli_train_depth import PERMISSIVE_SETS

    wanted, index = set(PERMISSIVE_SETS if sets is None else sets), folder / "index.jsonl"
    try:
        records = [json.loads(line) for line in index.read_text(encoding="utf-8").splitlines()]
        found = {(r["set"], r["source"].partition("@")[0], r["licence"]) for r in records if r["set"] in wanted}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{index}: cannot be read ({error})") from error
    return [f"depth frames/{name}, github.com/{source}: {licence}" for name, source, licence in sorted(found)]
