"""The verb ``synth``: options, and what is made of them: shards, a contact sheet, statistics, the benchmark."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TextIO

from metrichmsr.errors import MetricHMSRError, UsageError
from metrichmsr.synthetic.assets import VARIABLE

if TYPE_CHECKING:
    from metrichmsr.synthetic.benchmark import CheckReport
    from metrichmsr.synthetic.shots import Shot
    from metrichmsr.synthetic.writer import SetPlan, Source

DEFAULT_ASSETS = "synfocal-assets"
"""Where ``--fetch-assets`` puts them if it is not told."""


@dataclass(frozen=True)
class WhatOptions:
    """What is made."""

    kind: Literal["crops", "scenes", "twins"] = "crops"
    """256×256 crops of one person each; full pictures; or focal twins (the same people framed alike at 5 focal
    lengths)."""
    long_side: int = 640
    """Long side of scenes in pixels."""
    count: int = 1000
    """Pictures, rounded up to what one seed makes: 16 crops, 1 scene, 5 twins."""
    seed: int = 0
    """Number of the set: sets of different numbers share no picture."""
    split: Literal["train", "val", "test"] = "train"
    """Which share of the assets is used; no asset belongs to two."""
    assets: Path | None = None
    """Folder with poses, clothes, backgrounds… (default: the environment variable METRICHMSR_SYNTH_ASSETS; without
    either, everything is procedural)."""
    no_assets: bool = False
    """Procedural, whatever the environment says."""
    benchmark: Literal["test", "validation"] | None = None
    """Make a fixed set of the SynFocal benchmark; the options above but the assets are settled then."""
    check: bool = False
    """Say whether the benchmark (in --out, or made now and not kept) is what it should be."""


@dataclass(frozen=True)
class ShardOptions:
    """How it is stored and made."""

    out: Path | None = None
    """Folder for the shards. What is finished in it is kept: the same command again goes on where one stopped."""
    shard_size: int = 1000
    """Pictures a shard."""
    picture: Literal["jpg", "png"] = "jpg"
    """JPEG of quality 95, or lossless."""
    normals: bool = False
    """Store surface normals too."""
    workers: int | None = None
    """Processes, each with a thread; 0: in this process (default: the cores there are; 0 on other devices)."""
    device: str = "cpu"
    """Where pictures are made: cpu, cuda, cuda:1."""


@dataclass(frozen=True)
class LookOptions:
    """What there is to look at."""

    preview: Path | None = None
    """Write a contact sheet: pictures, joints, masks, depth. Without --out nothing else is kept."""
    preview_count: int = 24
    """Pictures on it."""
    statistics: bool = False
    """Print the distributions. A set in --out always gets them as statistics.json and .png."""
    fetch_assets: Path | None = None
    """Get the open assets into this folder (./synfocal-assets if none is named), and do nothing else."""
    debug: bool = False
    """Show where in the program an error arose."""


@dataclass(frozen=True)
class SynthArgs:
    """Make synthetic people with exact metric truth: training sets, previews, the SynFocal benchmark.

    Exit status: 0 all done; 1 the benchmark is not what it should be; 2 the run could not start or not go on.
    """

    what: WhatOptions = field(default_factory=WhatOptions)
    shards: ShardOptions = field(default_factory=ShardOptions)
    look: LookOptions = field(default_factory=LookOptions)

    def __post_init__(self) -> None:
        what, shards, look = self.what, self.shards, self.look
        if look.preview_count < 1:
            raise UsageError(f"--preview-count must be at least 1, not {look.preview_count}")
        if shards.workers is not None and shards.workers < 0:
            raise UsageError(f"--workers must be at least 0, not {shards.workers}")
        if not 32 <= what.long_side <= 8192:
            raise UsageError(f"--long-side must be 32 to 8192 pixels, not {what.long_side}")
        if what.check and what.benchmark is None:
            raise UsageError("--check what? It goes with --benchmark test or --benchmark validation")
        if what.no_assets and what.assets is not None:
            raise UsageError("--assets and --no-assets contradict each other")
        if look.preview is not None and look.preview.suffix.lower() not in (".png", ".jpg", ".jpeg", ".webp"):
            raise UsageError(f"--preview {look.preview}: give a .png, .jpg or .webp")
        if not (shards.out or look.preview or look.statistics or look.fetch_assets or what.check):
            raise UsageError("nothing to do: give --out DIR, --preview FILE.png, --statistics or --fetch-assets")

    @property
    def assets(self) -> Path | None:
        """Asset folder by option or environment."""
        if self.what.no_assets:
            return None
        named = os.environ.get(VARIABLE)
        return self.what.assets or (Path(named) if named else None)

    @property
    def workers(self) -> int:
        """Processes; the default follows cores and device."""
        if self.shards.workers is not None:
            return self.shards.workers
        if self.shards.device != "cpu":
            return 0
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def with_default_folder(argv: Sequence[str]) -> list[str]:
    """The arguments with a folder after ``--fetch-assets`` where none is named."""
    argv = list(argv)
    for place, word in enumerate(argv):
        if word == "--fetch-assets" and (place + 1 == len(argv) or argv[place + 1].startswith("-")):
            return [*argv[: place + 1], DEFAULT_ASSETS, *argv[place + 1 :]]
    return argv


def run_synth(args: SynthArgs) -> int:
    """Do what the command line asks for; returns the exit status.

    Raises:
        MetricHMSRError: The run cannot start, or cannot go on; finished shards are whole.
    """
    if args.look.fetch_assets is not None:
        return _fetch(args.look.fetch_assets, sys.stdout)
    if args.shards.out is None and args.look.preview is not None:
        _check_parent(args.look.preview)
    if args.what.no_assets:
        os.environ.pop(VARIABLE, None)  # of this process and its workers: the generator looks there too
    run = _Run(args)
    stdout = sys.stdout
    # Whatever a library prints goes to stderr: stdout belongs to the results.
    with contextlib.redirect_stdout(sys.stderr):
        if args.shards.out is not None:
            try:
                run.write(args.shards.out, stdout)
            except KeyboardInterrupt:
                _tell_interrupted(args.shards.out)
                raise
        if args.look.preview is not None or args.look.statistics:
            run.look(stdout)
        if args.what.check:
            report = run.check()
            stdout.write(f"{run.title}: {report}\n")
            stdout.writelines(f"  {line}\n" for line in report.differing[1:20])
            return 0 if report.same else 1
    return 0


class _Run:
    """Source and plan of a command line, and what is done with them."""

    def __init__(self, args: SynthArgs) -> None:
        from metrichmsr.synthetic.benchmark import BENCHMARKS, variant_of
        from metrichmsr.synthetic.writer import SetPlan

        self.args = args
        self.benchmark = None if args.what.benchmark is None else BENCHMARKS[args.what.benchmark]
        self.source: Source
        self.plan: SetPlan
        if self.benchmark is not None:
            self.source = self.benchmark.source(args.assets, device=args.shards.device)
            self.plan = self.benchmark.plan
            self.title = f"{variant_of(self.source)} {self.benchmark.name}"
        else:
            self.source = _source(args)
            what, shards = args.what, args.shards
            self.plan = SetPlan(
                kind=what.kind,
                count=what.count,
                set_number=what.seed,
                shard_size=shards.shard_size,
                picture=shards.picture,
                normals=shards.normals,
            )
            self.title = f"{what.kind}, {what.split}"

    def write(self, folder: Path, stream: TextIO) -> None:
        from tqdm import tqdm

        from metrichmsr.synthetic.benchmark import write_benchmark
        from metrichmsr.synthetic.writer import write_set

        with tqdm(total=self.plan.seeds * self.plan.shots_of_seed, unit="picture", file=sys.stderr) as bar:
            options: dict[str, Any] = {"workers": self.args.workers, "on_shots": bar.update}
            if self.benchmark is not None:
                index = write_benchmark(folder, self.benchmark, self.source, **options)
            else:
                index = write_set(folder, self.plan, self.source, **options)
        size = sum(shard.bytes for shard in index.shards)
        stream.write(
            f"{self.title}: {index.samples} pictures in {_shards(len(index.shards))}, {size / 1e6:.0f} MB\n"
            f"written to {folder}: index.json  README.md  statistics.json  statistics.png\n"
        )

    def shots(self, *, pixels: bool = True) -> Generator[Shot, None, None]:
        """All of the plan, from the folder where they are in one, else made now and not kept."""
        from metrichmsr.synthetic.shot_files import FIELDS, read_shots
        from metrichmsr.synthetic.writer import stream_shots

        if self.args.shards.out is not None:
            yield from read_shots(self.args.shards.out, fields=FIELDS if pixels else ())
            return
        with contextlib.closing(stream_shots(self.source, self.plan.jobs(), workers=self.args.workers)) as results:
            for _, shots in results:
                yield from shots

    def look(self, stream: TextIO) -> None:
        """Contact sheet and statistics."""
        from metrichmsr.synthetic.card import distribution
        from metrichmsr.synthetic.preview import write_preview
        from metrichmsr.synthetic.statistics import SetStatistics

        look = self.args.look
        wanted = look.preview_count if look.preview is not None else 0
        shown: list[Shot] = []
        statistics = SetStatistics()
        with contextlib.closing(self.shots(pixels=wanted > 0)) as shots:
            for shot in shots:
                if len(shown) < wanted:
                    shown.append(shot)
                if look.statistics:
                    statistics.add(shot)
                elif len(shown) == wanted:
                    break
        if look.preview is not None:
            try:
                write_preview(shown, look.preview, columns=5 if self.plan.kind == "twins" else 2)
            except OSError as error:
                raise UsageError(f"--preview {look.preview}: cannot be written: {error.strerror or error}") from error
            stream.write(f"{len(shown)} pictures on {look.preview}\n")
        if look.statistics:
            summary = statistics.summary()
            stream.write(f"{summary['shots']} pictures, {summary['people_seen']} people seen\n")
            stream.write("\n".join(distribution(summary)) + "\n")

    def check(self) -> CheckReport:
        from tqdm import tqdm

        from metrichmsr.synthetic.benchmark import (
            ExpectedTruth,
            check_crops,
            check_scenes,
            expected_path,
            grouped,
            variant_of,
        )

        assert self.benchmark is not None
        expected = ExpectedTruth.load(expected_path(self.benchmark.name, variant_of(self.source)))
        scenes = map(check_crops, grouped(self.shots(), len(self.benchmark.fovs_deg)))
        bar = tqdm(scenes, total=self.benchmark.scenes, unit="scene", file=sys.stderr)
        return check_scenes(bar, expected, self.source.describe())


def _source(args: SynthArgs) -> Source:
    from metrichmsr.synthetic.generator import SynthSettings
    from metrichmsr.synthetic.writer import Source

    settings = SynthSettings(scene_px=args.what.long_side)
    return Source(args.assets, split=args.what.split, device=args.shards.device, settings=settings)


def _fetch(folder: Path, stream: TextIO) -> int:
    try:
        from metrichmsr.synthetic.fetch_assets import fetch_assets
    except ImportError as error:
        raise MetricHMSRError(f"--fetch-assets: not in this installation: {error}") from error

    with contextlib.redirect_stdout(sys.stderr):
        fetch_assets(folder)
    stream.write(f"assets are in {folder}: use them with --assets {folder}, or set {VARIABLE}\n")
    return 0


def _tell_interrupted(folder: Path) -> None:
    from metrichmsr.datasets.shards import ShardIndex

    count = 0
    with contextlib.suppress(MetricHMSRError):
        count = len(ShardIndex.read(folder).shards)
    sys.stderr.write(f"metrichmsr: interrupted; {_shards(count)} finished and whole: the same command goes on there\n")


def _shards(count: int) -> str:
    return "1 shard" if count == 1 else f"{count} shards"


def _check_parent(path: Path) -> None:
    if not path.absolute().parent.is_dir():
        raise UsageError(f"--preview {path}: there is no folder {path.absolute().parent}")
