"""The SynFocal benchmark: which seeds it is made of, and whether what somebody made is the same.

Two sets of focal twins, made from assets that are never trained on: ``test`` (400 scenes, each at five focal lengths)
and ``validation`` (200). Each comes in two variants: ``synfocal`` with the asset folder, and ``synfocal-plain`` without
any. Floating point differs between machines, so sameness is told twice: by a digest of each scene's truth, rounded, and
where that differs by a table of expected truth that comes with the package, within tolerances.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float32, UInt8

from metrichmsr.datasets.shards import ShardIndex
from metrichmsr.errors import InputError, UsageError
from metrichmsr.synthetic.shots import Shot
from metrichmsr.synthetic.splits import Split
from metrichmsr.synthetic.writer import TWIN_FOVS_DEG, SetPlan, Source, stream_shots, write_set

BenchmarkName = Literal["test", "validation"]
Variant = Literal["synfocal", "synfocal-plain"]

EXPECTED = Path(__file__).parent / "expected"
"""Tables of expected truth, ``<variant>_<name>.npz``."""
_DIGEST_BYTES = 8
_CROP_PX = 256


@dataclass(frozen=True)
class Benchmark:
    """A fixed set."""

    name: BenchmarkName
    split: Split
    scenes: int
    fovs_deg: tuple[float, ...] = TWIN_FOVS_DEG

    @property
    def pictures(self) -> int:
        """In the whole set."""
        return self.scenes * len(self.fovs_deg)

    @property
    def plan(self) -> SetPlan:
        """Seeds from 0, a scene each; pictures without loss."""
        return SetPlan(kind="twins", count=self.pictures, fovs_deg=self.fovs_deg, shard_size=500, picture="png")

    def source(self, assets: Path | None, *, device: str = "cpu") -> Source:
        """The generator that makes it."""
        return Source(assets, split=self.split, device=device)


BENCHMARKS: Mapping[BenchmarkName, Benchmark] = {
    "test": Benchmark("test", split="test", scenes=400),
    "validation": Benchmark("validation", split="val", scenes=200),
}


def variant_of(source: Source) -> Variant:
    """With assets or without."""
    return "synfocal-plain" if source.describe()["assets"] is None else "synfocal"


def write_benchmark(folder: Path, benchmark: Benchmark, source: Source, **options: Any) -> ShardIndex:
    """Make the set (or what is missing of it) as shards; ``options`` as for ``write_set``."""
    extra = {"benchmark": f"{variant_of(source)} {benchmark.name}"}
    return write_set(folder, benchmark.plan, source, extra=extra, **options)


# ── what a scene must be ────────────────────────────────────────────────────────────────────────────────────────────


def scene_digest(twins: Sequence[Shot]) -> bytes:
    """SHA-256 over the truth of one scene's pictures, rounded: positions and sizes to 2 mm, pixels to half ones.

    Pixels of the picture are not in it: they differ in the last bit between processors.
    """
    digest = hashlib.sha256()
    for shot in twins:
        people = shot.people
        for values, step in (
            (shot.K, 0.5),
            (shot.crop_from_full, 0.01),
            (people.translation_m, 0.002),
            (people.height_m, 0.002),
            (people.joints_m, 0.002),
            (people.shape, 0.001),
        ):
            rounded = np.round(np.asarray(values, dtype=np.float64) / step).astype("<i4")
            digest.update(str(rounded.shape).encode() + rounded.tobytes())
    return digest.digest()


def fingerprint(scenes: Iterable[Sequence[Shot]]) -> str:
    """One hash of a whole set: SHA-256 over the digests of its scenes."""
    digest = hashlib.sha256()
    for twins in scenes:
        digest.update(scene_digest(twins)[:_DIGEST_BYTES])
    return digest.hexdigest()


@dataclass(frozen=True)
class ExpectedTruth:
    """A few numbers for each of N scenes of T twins, and what they were made with."""

    focal_px: Float32[np.ndarray, "N T"]
    """Of the full picture."""
    pelvis_m: Float32[np.ndarray, "N T 3"]
    """The subject's, camera frame."""
    joints_mean_m: Float32[np.ndarray, "N T 3"]
    """Mean of the subject's joints, camera frame."""
    stature_m: Float32[np.ndarray, "N"]
    picture_mean: Float32[np.ndarray, "N T"]
    """Mean of all pixels and channels, 0 to 255."""
    depth_median_m: Float32[np.ndarray, "N T"]
    """Over the subject's visible pixels; NaN where there is none."""
    digest: UInt8[np.ndarray, "N 8"]
    """First bytes of :func:`scene_digest`."""
    made_with: Mapping[str, Any]
    """Settings, asset fingerprint and version."""

    @property
    def fingerprint(self) -> str:
        """As :func:`fingerprint` of these scenes."""
        return hashlib.sha256(self.digest.tobytes()).hexdigest()

    @classmethod
    def of(cls, scenes: Iterable[Sequence[Shot]], made_with: Mapping[str, Any]) -> ExpectedTruth:
        """Take them from the shots themselves."""
        rows = [_numbers(twins) for twins in scenes]
        if not rows:
            raise ValueError("no scenes")
        columns = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
        return cls(**columns, made_with=made_with)

    def holds(self, number: int, twins: Sequence[Shot]) -> bool:
        """Whether these are the pictures of a scene, within the tolerances."""
        if number >= len(self.digest):
            return False
        return scene_digest(twins)[:_DIGEST_BYTES] == self.digest[number].tobytes() or not _differences(
            twins, self, number
        )

    def save(self, path: Path) -> None:
        """As npz."""
        arrays = {name: getattr(self, name) for name in (*_TOLERANCES, "digest")}
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(path, made_with=np.array(json.dumps(self.made_with)), **arrays)

    @classmethod
    def load(cls, path: Path) -> ExpectedTruth:
        """Read an npz of :meth:`save`.

        Raises:
            InputError: It is missing or something else.
        """
        try:
            with np.load(path, allow_pickle=False) as raw:
                arrays = {name: raw[name] for name in (*_TOLERANCES, "digest")}
                return cls(**arrays, made_with=json.loads(str(raw["made_with"])))
        except FileNotFoundError as error:
            raise InputError(f"{path}: no expected truth for this benchmark") from error
        except (OSError, ValueError, KeyError) as error:
            raise InputError(f"{path}: cannot be read as expected truth: {error}") from error


# Absolute tolerance, and tolerance relative to the expected value's norm.
_TOLERANCES: Mapping[str, tuple[float, float]] = {
    "stature_m": (0.001, 0.0),
    "focal_px": (0.05, 0.0005),
    "pelvis_m": (0.003, 0.0005),
    "joints_mean_m": (0.003, 0.0005),
    "depth_median_m": (0.02, 0.005),
    "picture_mean": (2.5, 0.0),
}


def expected_path(name: BenchmarkName, variant: Variant) -> Path:
    """Where the package keeps the table of a benchmark."""
    return EXPECTED / f"{variant}_{name}.npz"


# ── the check ───────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class CheckReport:
    """How scenes compare with the expected ones."""

    equal: int = 0
    """Scenes of the same digest."""
    close: int = 0
    """Scenes of another digest, within the tolerances: the same but for floating point."""
    differing: list[str] = field(default_factory=list)
    """A line for each scene that is another, and for what it was made with."""

    @property
    def same(self) -> bool:
        """Whether this is the benchmark."""
        return not self.differing

    def __str__(self) -> str:
        if self.same:
            rest = f", {self.close} within rounding" if self.close else ""
            return f"the same: {self.equal + self.close} scenes ({self.equal} equal{rest})"
        more = f" (and {len(self.differing) - 1} more)" if len(self.differing) > 1 else ""
        return f"differs: {self.differing[0]}{more}"


def check_scenes(
    scenes: Iterable[Sequence[Shot]], expected: ExpectedTruth, made_with: Mapping[str, Any] | None = None
) -> CheckReport:
    """Compare scenes, in order and from the first one, with the expected truth.

    Args:
        scenes: all of them; or some, then the report says how many are missing.
        expected: the package's table, or another.
        made_with: settings and assets of the scenes, where known: what differs there is told first.
    """
    report = CheckReport()
    made = None if made_with is None else json.loads(json.dumps(made_with))
    for name in ("assets", "generator"):
        if made is not None and made.get(name) != expected.made_with.get(name):
            what = {"assets": "the asset folder", "generator": "the generator's settings"}[name]
            report.differing.append(f"{what}: not what the expected truth was made with")
    number = -1
    for number, twins in enumerate(scenes):
        if number >= len(expected.digest):
            report.differing.append(f"scene {number}: one too many, {len(expected.digest)} are expected")
            break
        if scene_digest(twins)[:_DIGEST_BYTES] == expected.digest[number].tobytes() and not _differences(
            twins, expected, number
        ):
            report.equal += 1
        elif differences := _differences(twins, expected, number):
            report.differing.append(f"scene {number}: {'; '.join(differences)}")
        else:
            report.close += 1
    if number + 1 < len(expected.digest):
        report.differing.append(f"{len(expected.digest) - number - 1} of {len(expected.digest)} scenes are missing")
    return report


def grouped(shots: Iterable[Shot], size: int) -> Iterable[list[Shot]]:
    """Twins of a scene together, from shots in the order of a set."""
    group: list[Shot] = []
    for shot in shots:
        group.append(shot)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group


def write_expected(benchmark: Benchmark, source: Source, *, workers: int = 0) -> Path:
    """Make all scenes (keeping none) and write the package's table of them; for who changes the generator."""
    with closing(stream_shots(source, benchmark.plan.jobs(), workers=workers)) as results:
        expected = ExpectedTruth.of((check_crops(shots) for _, shots in results), source.describe())
    path = expected_path(benchmark.name, variant_of(source))
    expected.save(path)
    return path


def check_crops(twins: Sequence[Shot]) -> Sequence[Shot]:
    """These shots, if they are what the benchmark consists of: 256×256 crops of full pictures.

    Raises:
        UsageError: They are not.
    """
    for shot in twins:
        if shot.image.shape[:2] != (_CROP_PX, _CROP_PX):
            height, width = shot.image.shape[:2]
            raise UsageError(
                f"{shot.key}: {width}×{height} pixels, a picture of the benchmark has {_CROP_PX}×{_CROP_PX}"
            )
    return twins


def _numbers(twins: Sequence[Shot]) -> dict[str, np.ndarray]:
    float32 = partial(np.array, dtype=np.float32)
    return {
        "focal_px": float32([shot.full_K[0, 0] for shot in twins]),
        "pelvis_m": float32([shot.people.translation_m[0] for shot in twins]),
        "joints_mean_m": float32([shot.people.joints_m[0].mean(axis=0) for shot in twins]),
        "stature_m": float32(twins[0].people.height_m[0]),
        "picture_mean": float32([shot.image.mean() for shot in twins]),
        "depth_median_m": float32([_depth_median(shot) for shot in twins]),
        "digest": np.frombuffer(scene_digest(twins)[:_DIGEST_BYTES], np.uint8),
    }


def _depth_median(shot: Shot) -> float:
    depth = shot.depth_m[(shot.person_id == 0) & np.isfinite(shot.depth_m)]
    return float(np.median(depth)) if len(depth) else float("nan")


def _differences(twins: Sequence[Shot], expected: ExpectedTruth, number: int) -> list[str]:
    if len(twins) != expected.focal_px.shape[1]:
        return [f"{len(twins)} pictures, not {expected.focal_px.shape[1]}"]
    found = _numbers(twins)
    lines: list[str] = []
    for name, (absolute, relative) in _TOLERANCES.items():
        wanted = np.asarray(getattr(expected, name)[number], dtype=np.float64)
        off = np.abs(found[name] - wanted)
        size = np.linalg.norm(wanted, axis=-1, keepdims=True) if wanted.ndim == 2 else np.abs(wanted)
        bad = ~((off <= absolute + relative * size) | (np.isnan(wanted) & np.isnan(found[name])))
        if bad.any():
            lines.append(f"{name} off by {np.nanmax(np.where(bad, off, 0)):.3g}")
    return lines


def main(argv: Sequence[str] | None = None) -> int:
    """``python -m metrichmsr.synthetic.benchmark test --assets DIR --workers 2``: write the table anew."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("name", choices=list(BENCHMARKS))
    parser.add_argument("--assets", type=Path, help="asset folder (default: none, the plain variant)")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args(argv)
    benchmark = BENCHMARKS[options.name]
    path = write_expected(benchmark, benchmark.source(options.assets), workers=options.workers)
    sys.stdout.write(f"{path}: fingerprint {ExpectedTruth.load(path).fingerprint}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
