"""The verb ``train``, the scene's part: samples of scenes, the embedded depth network, the refinement network."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import dataclass, field
from pathlib import Path

from metrichmsr.cli_train import deadline, say
from metrichmsr.errors import UsageError
from metrichmsr.training.depth.config import DepthRunConfig, RefineRunConfig

PERMISSIVE_SETS = (
    "tum_fr1",
    "icl_office",
    "redwood_livingroom1",
    "hololens_dvmvs",
    "pcl_mosd",
    "posecnn",
    "nvblox_3dmatch",
)
"""Sets of depth frames under CC BY, MIT, BSD or Apache licences: what shipped weights may be trained on."""
SHARD = 500


@dataclass(frozen=True)
class SceneSampleArgs:
    """Make samples for the scene's networks, from SynFocal scenes or from frames of depth sensors.

    Shards go to OUT/scenes_<number>.safetensors. A folder that has some already is left alone.
    """

    out: Path
    """Folder for the shards."""
    scenes: Path | None = None
    """Folder that metrichmsr synth --kind scenes wrote."""
    frames: Path | None = None
    """Folder of depth frames: index.jsonl, a line each (docs/training.md)."""
    sets: tuple[str, ...] = PERMISSIVE_SETS
    """Sets of those frames that are taken."""
    parts: int = 1
    """Random parts of each frame."""
    zoom: float = 1.0
    """Smallest part, side over the frame's side."""
    limit: int | None = None
    """At most so many scenes."""
    seed: int = 0

    def __post_init__(self) -> None:
        if (self.scenes is None) == (self.frames is None):
            raise UsageError("give one of --scenes DIR and --frames DIR")
        if self.parts < 1 or not 0 < self.zoom <= 1:
            raise UsageError("--parts must be at least 1, --zoom between 0 and 1")


@dataclass(frozen=True)
class TrainDepthArgs:
    """Train the embedded depth network. The same command again continues a run that was stopped."""

    data: tuple[Path, ...]
    """Folders of scene samples."""
    validation: tuple[Path, ...]
    """Folders of held-out ones, each measured by itself."""
    out: Path
    """Folder of the run: state, best and last checkpoint, log."""
    shares: tuple[float, ...] = ()
    """Share of the batches of each folder of --data; by their size if left out."""
    initial: Path | None = None
    """Checkpoint to start from."""
    minutes: float = math.inf
    """Stop after so long, with everything saved."""
    config: DepthRunConfig = field(default_factory=DepthRunConfig)


@dataclass(frozen=True)
class TrainRefineArgs:
    """Train the refinement network (paper §5). The same command again continues a run that was stopped."""

    data: tuple[Path, ...]
    """Folders of scene samples."""
    validation: tuple[Path, ...]
    """Folders of held-out ones, each measured by itself."""
    out: Path
    """Folder of the run: state, best and last checkpoint, log."""
    shares: tuple[float, ...] = ()
    """Share of the batches of each folder of --data; by their size if left out."""
    embedded: Path | None = None
    """Checkpoint of the embedded depth network, from whose output some batches start."""
    initial: Path | None = None
    """Checkpoint to start from."""
    minutes: float = math.inf
    """Stop after so long, with everything saved."""
    config: RefineRunConfig = field(default_factory=RefineRunConfig)


def make_scene_samples(args: SceneSampleArgs) -> int:
    """Run ``train scenes``."""
    from tqdm import tqdm

    from metrichmsr.training.depth.from_scenes import SamplesMaker, intrinsics_of, read_frames
    from metrichmsr.training.depth.samples import SceneSamples, write_scene_samples

    if any(args.out.glob("scenes_*.safetensors")):
        raise UsageError(f"{args.out}: has samples already; give another folder")
    maker = SamplesMaker(seed=args.seed, shard=SHARD)
    written = 0

    def write(shard: SceneSamples) -> None:
        nonlocal written
        write_scene_samples(args.out / f"scenes_{written:05d}.safetensors", shard)
        written += 1

    if args.scenes is not None:
        from metrichmsr.synthetic.shot_files import read_shots

        shots = read_shots(args.scenes, fields=("image", "depth", "person"))
        for number, shot in enumerate(tqdm(shots, unit="scene", file=sys.stderr)):
            if args.limit is not None and number >= args.limit:
                break
            maker.add_shot(shot, number)
            for shard in maker.shards():
                write(shard)
    else:
        assert args.frames is not None
        frames = tqdm(read_frames(args.frames, sets=args.sets), unit="frame", file=sys.stderr)
        for number, (record, image, depth) in enumerate(frames):
            for part in range(args.parts):
                zoom = args.zoom if part else 1.0
                maker.add_frame(image, depth, intrinsics_of(record), number * args.parts + part, zoom=zoom)
    for shard in maker.shards(all_=True):
        write(shard)
    print(f"{written} shards in {args.out}")
    return 0


def train_depth(args: TrainDepthArgs) -> int:
    """Run ``train depth``."""
    from metrichmsr.scene.depth_network import load_depth_network
    from metrichmsr.training.depth.tasks import DepthTask

    initial = None if args.initial is None else load_depth_network(args.initial)[0].state_dict()
    return _train(args, DepthTask(args.config), initial)


def train_refine(args: TrainRefineArgs) -> int:
    """Run ``train refine``."""
    from metrichmsr.scene.depth_network import load_depth_network
    from metrichmsr.scene.refinement_network import load_refinement_network
    from metrichmsr.training.depth.tasks import RefineTask

    embedded = None if args.embedded is None else load_depth_network(args.embedded)[0].requires_grad_(False)
    initial = None if args.initial is None else load_refinement_network(args.initial)[0].state_dict()
    return _train(args, RefineTask(args.config, embedded), initial)


def _train(args: TrainDepthArgs | TrainRefineArgs, task: object, initial: object) -> int:
    from metrichmsr.training.depth.samples import read_scene_samples
    from metrichmsr.training.depth.trainer import SceneTrainer

    if args.shares and len(args.shares) != len(args.data):
        raise UsageError(f"--shares: {len(args.shares)} numbers for {len(args.data)} folders of --data")
    pools = [read_scene_samples([folder]) for folder in args.data]
    shares = args.shares or tuple(float(len(pool)) for pool in pools)
    for folder, pool, share in zip(args.data, pools, shares, strict=True):
        say(f"training {folder}: {len(pool)} pictures, {share / sum(shares):.0%} of the batches")
    held_out = {folder.name: read_scene_samples([folder]) for folder in args.validation}
    for name, pool in held_out.items():
        say(f"validation {name}: {len(pool)} pictures")
    trainer = SceneTrainer(task, list(zip(pools, shares, strict=True)), held_out, args.out, initial=initial)  # pyright: ignore[reportArgumentType]
    figures = trainer.run(until=deadline(args.minutes), report=say)
    print(json.dumps({name: round(value, 5) for name, value in figures.items()}))
    return 0
