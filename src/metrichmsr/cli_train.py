"""The verb ``train``: samples from renderings or simulation, the network from samples. Ablations: cli_ablate."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from metrichmsr.errors import InputError, UsageError
from metrichmsr.training.config import TrainConfig

if TYPE_CHECKING:
    from torch import Tensor

    from metrichmsr.datasets import KeypointFrame
    from metrichmsr.hmr.config import NetworkConfig
    from metrichmsr.training.data import TrainingData
    from metrichmsr.training.samples import Samples

SIMULATED_SHARD, RENDERED_SHARD, PHOTO_SHARD = 5000, 1000, 250
_VALIDATION_SEEDS = 900_000_000


@dataclass(frozen=True)
class SampleArgs:
    """Make training samples: what the frozen landmark network sees of synthetic people, with the truth, or of people in
    photographs, with their labelled keypoints.

    Samples go to OUT/<split>_<kind>_<number>.safetensors; shards that are there already are kept.
    """

    out: Path
    """Folder for the shards."""
    kind: Literal["rendered", "simulated", "photos"] = "rendered"
    """Render SynFocal crops and look at them, simulate landmarks without pictures (forty times as fast), or look at
    photographs with labelled keypoints."""
    count: int = 20_000
    """Samples (of photos: pictures), rounded up to whole shards."""
    labels: Path | None = None
    """Of photos: the label file, in COCO's format of keypoints."""
    pictures: Path | None = None
    """Of photos: the folder below which the pictures lie."""
    split: Literal["train", "val", "test"] = "train"
    """Share of the assets."""
    seed: int = 0
    """Number of the set: sets of different numbers share no picture."""
    assets: Path | None = None
    """Folder with poses, clothes, backgrounds… (metrichmsr synth --fetch-assets)."""
    rendered: Path | None = None
    """Folder of rendered samples, whose landmarks' errors the simulated ones take over."""
    looks: int = 1
    """Of rendered people: crops of each picture, as different detectors would cut them, each a sample; looking takes as
    long as rendering."""
    workers: int = 1
    """Processes."""

    def __post_init__(self) -> None:
        if min(self.count, self.looks, self.workers) < 1:
            raise UsageError("--count, --looks and --workers must be at least 1")
        if self.looks > 1 and self.kind != "rendered":
            raise UsageError("--looks goes with --kind rendered")
        if (self.kind == "photos") != (self.labels is not None and self.pictures is not None):
            raise UsageError("--kind photos goes with --labels and --pictures, and they with it")


@dataclass(frozen=True)
class TrainHmrArgs:
    """Train MetricHMR on samples. The same command again continues a run that was stopped, to the bit."""

    data: tuple[Path, ...]
    """Folders (or shards) of training samples."""
    validation: Path
    """Folder (or shard) of held-out samples."""
    out: Path
    """Folder of the run: state, best and last checkpoint, log."""
    initial: Path | None = None
    """Checkpoint to start from, as after pretraining on simulated landmarks."""
    minutes: float = math.inf
    """Stop after so long, with everything saved."""
    config: TrainConfig = field(default_factory=TrainConfig)


def make_samples(args: SampleArgs) -> int:
    """Run ``train samples``."""
    from functools import partial

    from tqdm import tqdm

    from metrichmsr.synthetic.streaming import stream

    size = {"simulated": SIMULATED_SHARD, "rendered": RENDERED_SHARD, "photos": PHOTO_SHARD}[args.kind]
    count = args.count if args.kind != "photos" else min(args.count, len(_photos(args)))
    args.out.mkdir(parents=True, exist_ok=True)
    names = {
        number: args.out / f"{args.split}_{args.kind}_{args.seed:02d}_{number:05d}.safetensors"
        for number in range(-(-count // size))
    }
    missing = [(number, path) for number, path in names.items() if not path.exists()]
    factory = partial(_shard_maker, args)
    with tqdm(total=len(names), initial=len(names) - len(missing), unit="shard", file=sys.stderr) as progress:
        for _ in stream(factory, missing, workers=0 if args.workers == 1 else args.workers, ordered=False):
            progress.update()
    return 0


class _shard_maker:  # noqa: N801 - used as a function
    """Makes one shard after the other in a process of its own."""

    def __init__(self, args: SampleArgs) -> None:
        self.args = args
        if args.kind == "simulated":
            from metrichmsr.training.data import shards
            from metrichmsr.training.simulated import SimulatedLandmarks

            rendered = shards([args.rendered], args.split) if args.rendered is not None else []
            self.simulated = SimulatedLandmarks.load(args.assets, split=args.split, rendered=rendered)
        elif args.kind == "photos":
            from metrichmsr.bodies.anny import AnnyBody
            from metrichmsr.people import Landmarker

            self.frames, self.body = _photos(args), AnnyBody.load()
            self.landmarker = Landmarker()
        else:
            from metrichmsr.people import Landmarker
            from metrichmsr.synthetic.generator import SynFocal

            self.source = SynFocal.load(args.assets, split=args.split)
            self.landmarker = Landmarker(batch_size=16)

    def __call__(self, job: tuple[int, Path]) -> int:
        from metrichmsr.training.samples import write_samples

        number, path = job
        seed = self.args.seed * 1_000_000 + number * 1000
        if self.args.kind == "photos":
            samples = self._look_at_photos(number)
        else:
            samples = self._simulate(seed) if self.args.kind == "simulated" else self._render(seed)
        write_samples(path, samples, kind=self.args.kind, split=self.args.split, seed=str(seed))
        return len(samples)

    def _simulate(self, seed: int) -> Samples:
        import torch

        from metrichmsr.training.samples import Samples

        generators = [torch.Generator().manual_seed(seed + k) for k in range(SIMULATED_SHARD // 250)]
        return Samples.concatenate([self.simulated.sample(250, generator) for generator in generators])

    def _look_at_photos(self, number: int) -> Samples:
        import numpy as np

        from metrichmsr.training.photos import samples_from_photo
        from metrichmsr.training.samples import Samples

        first = number * PHOTO_SHARD
        parts = []
        for k, frame in enumerate(self.frames[first : first + PHOTO_SHARD], first):
            made = samples_from_photo(frame, self.landmarker, self.body, np.random.default_rng((self.args.seed, k)))
            parts += [made] if made is not None else []
        return Samples.concatenate(parts)

    def _render(self, seed: int) -> Samples:
        import numpy as np

        from metrichmsr.training.from_shots import samples_from_shots
        from metrichmsr.training.samples import Samples

        parts: list[Samples] = []
        for k in range(1000):
            shots = self.source.crops(seed + k)
            generator = np.random.default_rng(seed + k)
            made = samples_from_shots(shots, self.landmarker, self.source.body, generator, looks=self.args.looks)
            parts += [made] if made is not None else []
            if sum(len(part) for part in parts) >= RENDERED_SHARD:
                break
        return Samples.concatenate(parts)


def _photos(args: SampleArgs) -> list[KeypointFrame]:
    """Photographs that show somebody who can be learned from."""
    from metrichmsr.datasets import read_coco
    from metrichmsr.training.photos import usable

    assert args.labels is not None
    assert args.pictures is not None
    frames = [frame for frame in read_coco(args.labels, args.pictures) if any(map(usable, frame.people))]
    if not frames:
        raise InputError(f"{args.labels}: nobody in it has keypoints enough to learn from")
    return frames


def train_hmr(args: TrainHmrArgs) -> int:
    """Run ``train hmr``."""
    from metrichmsr.training.watched import train

    data = read_data(args.data, args.validation)
    initial = None if args.initial is None else _initial(args.initial, args.config.network)
    figures, _ = train(args.config, data, args.out, initial=initial, until=deadline(args.minutes))
    if _is_first_process():
        print(json.dumps(dataclasses.asdict(figures)))
    return 0


def read_data(data: tuple[Path, ...], validation: Path) -> TrainingData:
    """Samples to learn from and to be measured on; says what they are."""
    from metrichmsr.training.data import TrainingData
    from metrichmsr.training.samples import describe

    read = TrainingData.read(data, validation)
    for pool in read.pools:
        say(f"training {describe(pool)}")
    say(f"validation {describe(read.validation)}")
    return read


def deadline(minutes: float) -> float | None:
    """``time.time()`` in so many minutes; None where there is no end."""
    return None if math.isinf(minutes) else time.time() + 60 * minutes


def _initial(path: Path, config: NetworkConfig) -> dict[str, Tensor]:
    """Weights to start from; one that lacks the feature map, up, bins of stature or tuned stages lends the rest."""
    from metrichmsr.hmr.checkpoint import load_network
    from metrichmsr.hmr.network import build

    network, there, _ = load_network(path)
    lent = {name: getattr(config, name) for name in ("features", "feature_dropout", "gravity", "stature_bins", "tuned")}
    if dataclasses.replace(there, **lent) != config:
        raise InputError(f"{path}: its network is not the one to be trained; give the same --config.network")
    weights = dict(build(config).state_dict())
    weights |= {name: tensor for name, tensor in network.state_dict().items() if name in weights}
    return weights


def say(line: str) -> None:
    """Tell the user, beside what goes to stdout."""
    if _is_first_process():
        print(line, file=sys.stderr, flush=True)


def _is_first_process() -> bool:
    """Of those that accelerate launch starts."""
    return os.environ.get("RANK", "0") == "0"
