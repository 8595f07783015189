"""Whole sets of shots in a folder: which seeds make which shard, the work on several processes, and the card."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from metrichmsr.datasets.shards import ShardError, ShardIndex, ShardWriter
from metrichmsr.errors import InputError, UsageError
from metrichmsr.synthetic.assets import PARTS, VARIABLE
from metrichmsr.synthetic.card import CARD, dataset_card
from metrichmsr.synthetic.shot_files import Picture, encode_shot, read_shots
from metrichmsr.synthetic.shots import Shot
from metrichmsr.synthetic.splits import Split
from metrichmsr.synthetic.statistics import SetStatistics, write_statistics
from metrichmsr.synthetic.streaming import stream

if TYPE_CHECKING:
    from metrichmsr.synthetic.generator import SynthSettings

Kind = Literal["crops", "scenes", "twins"]

TWIN_FOVS_DEG = (20.0, 35.0, 55.0, 80.0, 110.0)
"""Horizontal fields of view of focal twins."""
BATCH = 16
"""Crops made at once: the unit of seeding."""
SEEDS = 1_000_000
"""Seeds a set may take: set number s counts from s · SEEDS, so that sets share none."""
_MAX_SET = 2000  # the generator keeps seeds in 31 bits
_ASSET_SUFFIXES = (".npz", ".webp", ".tsv", ".json")
_CHUNK = 256


class ShotMaker(Protocol):
    """What makes shots: :class:`metrichmsr.synthetic.generator.SynFocal`."""

    @property
    def problems(self) -> list[str]:
        """Assets that could not be used, a line each."""
        ...

    def crops(self, seed: int, *, batch: int = BATCH) -> list[Shot]:
        """256×256 crops around one person each."""
        ...

    def scene(self, seed: int) -> Shot:
        """One full picture."""
        ...

    def twins(self, seed: int, *, fovs_deg: Sequence[float]) -> list[Shot]:
        """The same people framed alike at several fields of view."""
        ...

    def attributions(self, shots: Sequence[Shot]) -> list[str]:
        """Name, author and licence of every asset in these shots."""
        ...


@dataclass(frozen=True)
class Source:
    """How to get a generator, in this process or in another."""

    assets: Path | None = None
    """Asset folder; that of the environment if left out, else none."""
    split: Split = "train"
    device: str = "cpu"
    settings: SynthSettings | None = None
    """The generator's own defaults if left out."""

    def load(self) -> ShotMaker:
        """Read assets and body model.

        Raises:
            MetricHMSRError: An asset folder or file is missing or broken.
        """
        from metrichmsr.synthetic.generator import SynFocal  # late: it needs torch and takes its time

        return SynFocal.load(self.assets, split=self.split, device=self.device, settings=self.settings)

    def describe(self) -> dict[str, Any]:
        """What decides the shots, as JSON values: split, the assets' fingerprint, all settings, version."""
        from metrichmsr import __version__
        from metrichmsr.synthetic.generator import SynthSettings

        named = self.assets or os.environ.get(VARIABLE)
        return {
            "split": self.split,
            "assets": assets_fingerprint(Path(named)) if named else None,
            "version": __version__,
            "generator": dataclasses.asdict(self.settings or SynthSettings()),
        }


@dataclass(frozen=True)
class Job:
    """What one seed makes."""

    kind: Kind
    seed: int
    batch: int = BATCH
    fovs_deg: tuple[float, ...] = TWIN_FOVS_DEG

    @property
    def shots(self) -> int:
        """How many."""
        return {"crops": self.batch, "scenes": 1, "twins": len(self.fovs_deg)}[self.kind]

    def do(self, generator: ShotMaker) -> list[Shot]:
        """Make them."""
        if self.kind == "crops":
            return generator.crops(self.seed, batch=self.batch)
        if self.kind == "scenes":
            return [generator.scene(self.seed)]
        return generator.twins(self.seed, fovs_deg=self.fovs_deg)

    def __str__(self) -> str:
        return f"{self.kind} of seed {self.seed}"


@dataclass(frozen=True)
class SetPlan:
    """What a set consists of."""

    kind: Kind = "crops"
    count: int = 1000
    """Pictures, rounded up to whole seeds (16 crops, or a scene's twins)."""
    set_number: int = 0
    """Sets of different numbers share no seed."""
    shard_size: int = 1000
    """Pictures a shard, rounded up to whole seeds."""
    batch: int = BATCH
    fovs_deg: tuple[float, ...] = TWIN_FOVS_DEG
    picture: Picture = "jpg"
    normals: bool = False

    def __post_init__(self) -> None:
        for name, value in (("count", self.count), ("shard size", self.shard_size), ("batch", self.batch)):
            if value < 1:
                raise UsageError(f"a {name} of {value}: at least 1")
        if not 0 <= self.set_number <= _MAX_SET:
            raise UsageError(f"set number {self.set_number}: from 0 to {_MAX_SET}")
        if not self.fovs_deg or not all(1 <= fov <= 170 for fov in self.fovs_deg):
            raise UsageError(f"fields of view {self.fovs_deg}: at least one, each from 1 to 170 degrees")
        if self.seeds > SEEDS:
            raise UsageError(f"{self.count} pictures: at most {SEEDS * self.shots_of_seed} in one set")

    @property
    def shots_of_seed(self) -> int:
        """Pictures that one seed makes."""
        return Job(self.kind, 0, self.batch, self.fovs_deg).shots

    @property
    def seeds(self) -> int:
        """How many seeds the set takes."""
        return -(-self.count // self.shots_of_seed)

    def jobs(self) -> list[Job]:
        """One for each seed, in order."""
        first = self.set_number * SEEDS
        return [Job(self.kind, first + i, self.batch, self.fovs_deg) for i in range(self.seeds)]

    def shards(self) -> list[list[Job]]:
        """The jobs of each shard."""
        jobs, size = self.jobs(), -(-self.shard_size // self.shots_of_seed)
        return [jobs[start : start + size] for start in range(0, len(jobs), size)]

    def settings(self, source: Source) -> dict[str, Any]:
        """What decides the content of every shard, as JSON values: the count does not, so that a set can grow."""
        of_kind = {"crops": {"batch": self.batch}, "scenes": {}, "twins": {"fovs_deg": list(self.fovs_deg)}}
        return {
            "kind": self.kind,
            "set_number": self.set_number,
            **of_kind[self.kind],
            "shard_size": self.shard_size,
            "picture": self.picture,
            "normals": self.normals,
            **source.describe(),
        }


def assets_fingerprint(folder: Path) -> str:
    """SHA-256 over names and sizes of the asset files: tells one collection of assets from another, quickly.

    Raises:
        InputError: There is no such folder, or nothing known in it.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such asset folder; metrichmsr synth --fetch-assets {folder} gets what is open")
    files = (path for part in PARTS for path in (folder / part).rglob("*") if path.suffix in _ASSET_SUFFIXES)
    lines = sorted(f"{path.relative_to(folder).as_posix()} {path.stat().st_size}\n" for path in files)
    if not lines:
        raise InputError(f"{folder}: none of the asset folders {', '.join(PARTS)} in it holds anything")
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def plan_name(jobs: Sequence[Job]) -> str:
    """How the index names what a shard was made of."""
    return f"seeds {jobs[0].seed} to {jobs[-1].seed}"


def stream_shots(source: Source, jobs: Iterable[Job], *, workers: int) -> Generator[tuple[Job, list[Shot]], None, None]:
    """Shots of these jobs in order, made by ``workers`` processes (0: by this one)."""
    return stream(partial(_make_shots, source), jobs, workers=workers)


def write_set(
    folder: Path,
    plan: SetPlan,
    source: Source,
    *,
    workers: int = 0,
    extra: Mapping[str, Any] | None = None,
    on_shots: Callable[[int], None] | None = None,
) -> ShardIndex:
    """Make a set, or what is missing of it, and write its card.

    Args:
        folder: for the shards.
        plan: what is made.
        source: of the generator.
        workers: processes; 0 works in this one.
        extra: more settings that tell this set from others.
        on_shots: told of every few pictures that are done or were found finished, by their number.

    Raises:
        UsageError: The folder holds a set of other settings, or a larger one.
        ShardError: It cannot be written.
        MetricHMSRError: Assets are missing or broken.
    """
    writer = ShardWriter(folder, {**(extra or {}), **plan.settings(source)})
    shards = plan.shards()
    if len(writer.index.shards) > len(shards):
        raise UsageError(f"{folder}: holds {writer.index.samples} pictures already, more than {plan.count}")
    generator = source.load()  # here too: its licences are needed, and faults show before any process starts
    tell = on_shots or (lambda count: None)
    missing: list[tuple[int, list[Job]]] = []
    for number, jobs in enumerate(shards):
        if writer.has(number, plan_name(jobs)):
            tell(sum(job.shots for job in jobs))
        else:
            missing.append((number, jobs))
    encode = partial(encode_shot, picture=plan.picture, normals=plan.normals)
    factory = partial(_make_samples, source if workers else _Loaded(generator), encode)
    results = stream(factory, chain.from_iterable(jobs for _, jobs in missing), workers=workers)
    with closing(results):
        for number, jobs in missing:
            writer.write(number, plan_name(jobs), _told(islice(results, len(jobs)), tell))
    finish_set(folder, generator)
    return writer.index


def finish_set(folder: Path, generator: ShotMaker) -> dict[str, Any]:
    """Write the statistics and the card of the shards in a folder; returns the statistics."""
    statistics = SetStatistics()
    lines: dict[str, None] = {}
    shots = iter(read_shots(folder, fields=()))
    while chunk := list(islice(shots, _CHUNK)):
        for shot in chunk:
            statistics.add(shot)
        lines |= dict.fromkeys(generator.attributions(chunk))
    summary = statistics.summary()
    card = dataset_card(ShardIndex.read(folder), summary, sorted(lines), generator.problems)
    try:
        write_statistics(summary, folder)
        (folder / CARD).write_text(card, encoding="utf-8")
    except OSError as error:
        raise ShardError(f"{folder}: its card cannot be written: {error.strerror or error}") from error
    return summary


@dataclass(frozen=True)
class _Loaded:
    generator: ShotMaker

    def load(self) -> ShotMaker:
        return self.generator


def _told(results: Iterator[tuple[Job, list[Any]]], tell: Callable[[int], None]) -> Iterator[Any]:
    for _, samples in results:
        yield from samples
        tell(len(samples))


def _make_shots(source: Source) -> Callable[[Job], list[Shot]]:
    generator = source.load()
    return lambda job: job.do(generator)


def _make_samples(source: Source | _Loaded, encode: Callable[[Shot], Any]) -> Callable[[Job], list[Any]]:
    # Encoded where they are made: what travels between processes is a tenth of the pixels.
    generator = source.load()
    return lambda job: [encode(shot) for shot in job.do(generator)]
