"""Training from nothing: simulate some people, train a tiny network on them, and recover a photo with it.

    pip install 'metrichmsr[train]'
    python examples/06_train_tiny.py

Needs no data: poses and shapes are drawn from the priors that come with the package, and the landmarks that a landmark
network would have seen of them are simulated. About a minute on a CPU. What comes out has learned next to nothing;
docs/training.md has the commands of the real thing, which differ in size alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from metrichmsr.hmr.config import SMALL
from metrichmsr.recover import Recoverer, RecoverOptions
from metrichmsr.structures import Recovery
from metrichmsr.synthetic.splits import Split
from metrichmsr.training.config import TrainConfig
from metrichmsr.training.data import TrainingData
from metrichmsr.training.samples import write_samples
from metrichmsr.training.simulated import SimulatedLandmarks
from metrichmsr.training.watched import train

PHOTO = Path(__file__).parent / "photos" / "street.jpg"
TINY = replace(SMALL, width=48, heads=4, hidden=96, queries=2, slots=2, patch_layers=1, global_layers=1, features=False)
"""The shipped network's parts (ray map, HumanMoE, heads) in small; it reads landmarks alone, no pictures."""


def main(argv: Sequence[str] | None = None) -> tuple[Path, Recovery]:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("photo", nargs="?", type=Path, default=PHOTO)
    parser.add_argument("--samples", type=int, default=64, help="people to learn from")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for samples and run")
    args = parser.parse_args(argv)

    # Other seeds are other people: nobody of those held out is learned from.
    folder = args.out / "tiny"
    splits: list[tuple[Split, int, int]] = [("train", args.samples, 0), ("val", 32, 1)]
    for split, count, seed in splits:
        samples = SimulatedLandmarks.load(None, split=split).sample(count, torch.Generator().manual_seed(seed))
        write_samples(folder / split / f"{split}.safetensors", samples, kind="simulated", split=split, seed=str(seed))

    config = TrainConfig(
        network=TINY,
        steps=args.steps,
        batch=16,
        warmup=args.steps // 10,
        ema=0.95,
        vertices=100,
        validate_every=args.steps,
        log_every=max(args.steps // 10, 1),
    )
    data = TrainingData.read([folder / "train"], folder / "val")
    figures, steps = train(config, data, folder / "run")
    print(f"{steps} steps; held-out people: MPJPE {figures.mpjpe_mm:.0f} mm, PA-MPJPE {figures.pa_mpjpe_mm:.0f} mm")

    checkpoint = folder / "run" / "best.safetensors"
    recovery = Recoverer(RecoverOptions(checkpoint=checkpoint, depth="none"))(args.photo)
    for person in recovery.people:
        print(f"person {person.id}: {person.height_m:.2f} ± {person.height_std_m:.2f} m tall, by {checkpoint}")
    return checkpoint, recovery


if __name__ == "__main__":
    main()
