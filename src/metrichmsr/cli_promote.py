"""``train average``, ``calibrate`` and ``promote``: from runs' checkpoints to the network in the package."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from metrichmsr.errors import InputError, UsageError


@dataclass(frozen=True)
class AverageArgs:
    """Mean of the weights of several runs from one start: better than each of them, and no slower.

    So is the mean of a network with the one that it went on from (Wortsman et al., "Model soups", ICML 2022, and
    "Robust fine-tuning of zero-shot models", CVPR 2022).
    """

    checkpoints: tuple[Path, ...]
    """Networks trained from the same weights, with other seeds or data, or these weights themselves."""
    out: Path
    """File for the mean."""
    shares: tuple[float, ...] = ()
    """Of each in the mean, in their order; all alike if left out."""


@dataclass(frozen=True)
class CalibrateArgs:
    """Scale a network's sigmas so that 68 % of held-out errors lie within one sigma."""

    checkpoint: Path
    """Network to calibrate; it is left as it is."""
    validation: Path
    """Folder (or shard) of held-out samples."""
    out: Path
    """File for the calibrated network."""


@dataclass(frozen=True)
class PromoteArgs:
    """Ship a network: it replaces the one in the package where it wins on the validation samples, and only there.

    Exit status 1, with both networks' figures, where it does not win.
    """

    checkpoint: Path
    """Network of a run, calibrated (metrichmsr train calibrate)."""
    validation: Path
    """Folder (or shard) of the fixed held-out samples."""
    recipe: str = ""
    """How it was trained, in a sentence or two, for the card."""
    assets: Path | None = None
    """Asset folder that its training pictures were made with: whoever made something in it is named on the card."""
    dry_run: bool = False
    """Compare, and change nothing."""


def average(args: AverageArgs) -> int:
    """Run ``train average``."""
    import torch

    from metrichmsr.export.atomic import atomic_file
    from metrichmsr.hmr.checkpoint import load_network, save_network

    if len(args.checkpoints) < 2:
        raise UsageError("--checkpoints: a mean wants two networks or more")
    if any(args.out.resolve() == path.resolve() for path in args.checkpoints):
        raise UsageError(f"{args.out}: --out would overwrite one of the checkpoints")
    shares = args.shares or (1.0,) * len(args.checkpoints)
    if len(shares) != len(args.checkpoints) or not all(share > 0 for share in shares):
        raise UsageError("--shares: one positive number for each of the checkpoints")
    networks, configs, notes = zip(*(load_network(path) for path in args.checkpoints), strict=True)
    for path, config in zip(args.checkpoints, configs, strict=True):
        # What an older network lacks is the first one's alone.
        optional = {"feature_dropout": configs[0].feature_dropout}
        optional |= {part: True for part in ("gravity", "stature_bins") if getattr(configs[0], part)}
        if dataclasses.replace(config, **optional) != configs[0]:
            raise InputError(f"{path}: its network is another than that of {args.checkpoints[0]}")
    states = [network.state_dict() for network in networks]
    mean = {}
    for name, tensor in states[0].items():
        having = [(share, state[name]) for share, state in zip(shares, states, strict=True) if name in state]
        total = sum(share for share, _ in having)
        mean[name] = torch.zeros_like(tensor)
        for share, other in having:
            mean[name] += other * (share / total)
    kept = {**notes[0], "average": json.dumps([path.name for path in args.checkpoints])}
    with atomic_file(args.out) as path:
        save_network(path, networks[0], configs[0], state=mean, dtype=torch.float32, notes=kept)
    return 0


def calibrate(args: CalibrateArgs) -> int:
    """Run ``train calibrate``."""
    import torch

    from metrichmsr.export.atomic import atomic_file
    from metrichmsr.hmr.checkpoint import load_network, save_network
    from metrichmsr.training.calibration import calibrate_sigmas
    from metrichmsr.training.config import TrainConfig
    from metrichmsr.training.data import shards
    from metrichmsr.training.samples import read_samples
    from metrichmsr.training.trainer import training_body

    if args.out.resolve() == args.checkpoint.resolve():
        raise UsageError(f"{args.out}: --out would overwrite the checkpoint itself")
    network, config, notes = load_network(args.checkpoint)
    samples = read_samples(shards([args.validation]))
    found = calibrate_sigmas(network, samples, training_body(TrainConfig()), ray_size=config.ray_size)
    text = json.dumps(dataclasses.asdict(found))
    with atomic_file(args.out) as path:
        save_network(path, network, config, dtype=torch.float32, notes={**notes, "calibration": text})
    sys.stdout.write("| sigma of | factor | within one sigma before | after |\n| --- | ---: | ---: | ---: |\n")
    for kind, factor in found.factors.items():
        row = f"| {kind} | {factor:.2f} | {100 * found.before[kind]:.0f} % | {100 * found.after[kind]:.0f} % |"
        sys.stdout.write(row + "\n")
    return 0


def promote(args: PromoteArgs) -> int:
    """Run ``train promote``."""
    from metrichmsr.hmr.regress import WEIGHTS
    from metrichmsr.synthetic.assets import AssetFolder
    from metrichmsr.training.config import TrainConfig
    from metrichmsr.training.data import shards
    from metrichmsr.training.promotion import promote as take_its_place
    from metrichmsr.training.samples import read_samples
    from metrichmsr.training.shipping import outcome
    from metrichmsr.training.trainer import training_body
    from metrichmsr.weights import file_hash

    paths = shards([args.validation])
    folder = AssetFolder.find(args.assets) if args.assets is not None else None
    evidence = {
        "recipe": args.recipe or "see the config below",
        "validated on": ", ".join(f"{path.name} (SHA-256 `{file_hash(path)[:16]}…`)" for path in paths),
        "commit": commit(),
    }
    verdict = take_its_place(
        args.checkpoint,
        WEIGHTS,
        read_samples(paths),
        training_body(TrainConfig()),
        evidence=evidence,
        attributions=() if folder is None else folder.credits(),
        write=not args.dry_run,
    )
    text, status = outcome(verdict.table(), verdict.reasons, WEIGHTS, dry_run=args.dry_run)
    sys.stdout.write(text)
    return status


def commit() -> str:
    """Of the checkout that the package runs from, for the card."""
    try:
        found = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown (not a git checkout)"
    return found.stdout.strip()
