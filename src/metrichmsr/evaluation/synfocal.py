"""``metrichmsr evaluate synfocal``: the network, the fit and baselines on SynFocal's focal twins, in one run.

Pictures are made from the benchmark's seeds and looked at as photographs are; every method gets the same landmarks.
"""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from metrichmsr.bodies.anny import AnnyBody
from metrichmsr.errors import InputError, UsageError
from metrichmsr.evaluation.real import write_report
from metrichmsr.evaluation.report import Case, Row, SetResult, Table, Value
from metrichmsr.evaluation.session import spread
from metrichmsr.evaluation.synfocal_methods import (
    Answer,
    Method,
    blazepose_world,
    from_fit,
    from_network,
    named_checkpoints,
    of_constant_stature,
    standing,
)
from metrichmsr.evaluation.synfocal_metrics import SubjectTruth, SynfocalResult, evaluate_synfocal
from metrichmsr.evaluation.synfocal_sight import Regions, Sight, sight
from metrichmsr.hmr.fitting.fit import Fitter
from metrichmsr.hmr.regress import WEIGHTS, Regressor
from metrichmsr.hmr.stature_grid import GROWN_UP_M
from metrichmsr.people.faces import FaceReader
from metrichmsr.people.landmarks import Landmarks
from metrichmsr.synthetic.benchmark import BENCHMARKS, Benchmark, ExpectedTruth, expected_path, variant_of
from metrichmsr.synthetic.shots import Shot
from metrichmsr.synthetic.writer import Source, stream_shots

NETWORK, REFINED, NO_K, CONSTANT = "network", "network, refined", "network, K withheld", "network, everybody 1.69 m"
NO_UP, NO_FACES = "network, up withheld", "network, faces not looked at"
FIT, WORLD, STANDING = "fit", "BlazePose's own 3D landmarks", "standing figure of 1.69 m in the box"


@dataclass(frozen=True)
class EvaluateSynfocalOptions:
    """Measure the recovery of people on SynFocal: pose, distance, height, and what focal twins agree on."""

    out: Path
    """Folder for evaluation.json and evaluation.md."""
    assets: Path | None = None
    """Asset folder, or the variable METRICHMSR_SYNTH_ASSETS; without any it is synfocal-plain that is measured."""
    split: Literal["validation", "test"] = "validation"
    """Which benchmark."""
    scenes: int | None = None
    """At most so many of its scenes, evenly spread, each with its five focal lengths."""
    checkpoint: Path | None = None
    """Network to measure instead of the shipped one."""
    compare: tuple[str, ...] = ()
    """More networks, as NAME=FILE."""
    regions: Regions = "detected"
    """Look at subjects where the detector finds them, as in photographs, or around their true keypoints with the errors
    of a detector (in half the time)."""
    refine: bool = True
    """Measure the network's answer as recover gives it as well: polished against landmarks and mask."""
    fit: bool = True
    """Measure the fit as well (slow)."""
    quiet: bool = False
    """No progress on stderr."""

    def __post_init__(self) -> None:
        if self.scenes is not None and self.scenes < 1:
            raise UsageError(f"--scenes must be at least 1, not {self.scenes}")
        wrong = [entry for entry in self.compare if "=" not in entry]
        if wrong:
            raise UsageError(f"--compare: {wrong[0]!r} is not NAME=FILE")


def main_evaluate_synfocal(options: EvaluateSynfocalOptions) -> int:
    """Run the benchmark and write the report; returns the exit status."""
    from metrichmsr.evaluation.report import to_markdown

    if options.checkpoint is not None and not options.checkpoint.is_file():
        raise InputError(f"{options.checkpoint}: no such checkpoint")
    benchmark = BENCHMARKS[options.split]
    source = benchmark.source(options.assets)
    methods = build_methods(options)
    options.out.mkdir(parents=True, exist_ok=True)
    expected = ExpectedTruth.load(expected_path(options.split, variant_of(source)))
    same: list[bool] = []
    look = sight(options.regions)
    results, truth = evaluate_twins(
        benchmark,
        source,
        methods,
        look,
        scenes=options.scenes,
        show_progress=not options.quiet,
        on_scene=lambda number, twins: same.append(expected.holds(number, twins)),
    )
    if not all(same):
        sys.stderr.write(
            f"{same.count(False)} of {len(same)} scenes are not those of the benchmark: other assets or version\n"
        )
    report = to_set(results, truth, benchmark=f"{variant_of(source)} {options.split}", regions=options.regions)
    counts = {"scenes": len(same), "scenes equal to the package's table": sum(same), **report.counts}
    counts |= {"not found, looked at where they are": look.missed} if options.regions == "detected" else {}
    report = dataclasses.replace(report, counts=counts)
    write_report([report], options.out, _versions(options, source))
    sys.stdout.write(to_markdown([report]))
    return 0


def build_methods(options: EvaluateSynfocalOptions) -> dict[str, Method]:
    """The methods that options name, by name; the network is left out, and said to be, where none is shipped."""
    body = AnnyBody.load()
    methods: dict[str, Method] = {}
    checkpoint, faces = options.checkpoint or WEIGHTS, FaceReader()
    fitter = Fitter.load(body) if options.fit or options.refine else None
    if checkpoint.is_file():
        regressor = Regressor.load(body, checkpoint)
        methods[NETWORK] = from_network(regressor, faces=faces)
        if options.refine:
            methods[REFINED] = from_network(regressor, fitter, faces=faces)
        methods[NO_FACES] = from_network(regressor)
        methods[NO_K] = from_network(regressor, faces=faces, K_known=False)
        if regressor.config.gravity:
            methods[NO_UP] = from_network(regressor, faces=faces, up_known=False)
        methods[CONSTANT] = of_constant_stature(methods[NETWORK])
    else:
        sys.stderr.write("no network is shipped and --checkpoint names none: it is left out\n")
    for name, other in named_checkpoints(options.compare, body).items():
        methods[name] = from_network(other, faces=faces)
        methods[f"{name}, K withheld"] = from_network(other, faces=faces, K_known=False)
    if options.fit and fitter is not None:
        methods[FIT] = from_fit(fitter)
    methods[WORLD] = blazepose_world
    methods[STANDING] = standing
    return methods


def evaluate_twins(
    benchmark: Benchmark,
    source: Source,
    methods: Mapping[str, Method],
    look: Sight,
    *,
    scenes: int | None = None,
    show_progress: bool = False,
    on_scene: Callable[[int, Sequence[Shot]], None] | None = None,
) -> tuple[dict[str, SynfocalResult], list[SubjectTruth]]:
    """Results of every method, and the truth of every picture.

    Args:
        benchmark: whose seeds are taken.
        source: of the pictures.
        methods: by name.
        look: how the subjects are looked at.
        scenes: at most so many, evenly spread.
        show_progress: a bar on stderr.
        on_scene: told of every scene's number and pictures.
    """
    from tqdm import tqdm

    jobs = spread(benchmark.plan.jobs(), scenes)
    body = AnnyBody.load()
    truth: list[SubjectTruth] = []
    answers: dict[str, list[Answer]] = {name: [] for name in methods}
    stream = stream_shots(source, jobs, workers=0)
    with closing(stream), tqdm(total=len(jobs), unit="scene", disable=not show_progress, file=sys.stderr) as progress:
        for job, twins in stream:
            if on_scene is not None:
                on_scene(job.seed, twins)
            generator = np.random.default_rng(job.seed)
            for shot, landmarks in zip(twins, look(twins, generator), strict=True):
                truth.append(dataclasses.replace(_truth(shot, body), scene=str(job.seed)))
                for name, method in methods.items():
                    answers[name].append(_checked(method, shot, landmarks))
            progress.update()
    return {name: _scored(said, truth) for name, said in answers.items()}, truth


def _truth(shot: Shot, body: AnnyBody) -> SubjectTruth:
    import torch

    people = shot.people
    with torch.no_grad():
        output = body(
            _matrices(people.pose[:1]),
            torch.from_numpy(people.shape[:1]).float(),
            torch.from_numpy(people.translation_m[:1]).float(),
        )
    # Depth is another stage's: not kept, a benchmark's maps would fill the memory.
    subject = SubjectTruth.of(shot, scene="", vertices_m=output.vertices_m[0].numpy())
    return dataclasses.replace(subject, depth_m=None)


def _matrices(rotvecs: np.ndarray):
    import roma
    import torch

    return roma.rotvec_to_rotmat(torch.from_numpy(rotvecs).float())


def _checked(method: Method, shot: Shot, landmarks: Landmarks) -> Answer:
    answer = method(shot, landmarks)
    if not np.isfinite(answer.prediction.joints_m).all():
        raise ValueError(f"{shot.key}: joints that are not finite")
    return answer


def _scored(answers: Sequence[Answer], truth: Sequence[SubjectTruth]) -> SynfocalResult:
    placed = [a.prediction for a in answers]
    # A pose without a place is compared from the middle of the hips, which stands in for the root on both sides.
    if any(np.isnan(p.translation_m).any() for p in placed):
        placed = [dataclasses.replace(p, translation_m=p.joints_m[11:13].mean(0)) for p in placed]
        hips = [dataclasses.replace(t, translation_m=t.joints_m[11:13].mean(0)) for t in truth]
        result = evaluate_synfocal(placed, hips)
        kept = tuple(
            None if s is None else {k: v if k in ("mpjpe_mm", "pa_mpjpe_mm") else math.nan for k, v in s.items()}
            for s in result.scores
        )
        return SynfocalResult(tuple(truth), kept, ())
    result = evaluate_synfocal(placed, truth)
    scores = []
    for row, said, true in zip(result.scores, answers, truth, strict=True):
        assert row is not None
        distance = math.log(_norm(said.prediction.translation_m) / _norm(true.translation_m))
        height = said.prediction.height_m - true.height_m
        scores.append(
            {
                **row,
                "rde_within_sigma_percent": _within(distance, said.distance_sigma),
                "height_within_sigma_percent": _within(height, said.height_sigma_m),
            }
        )
    return dataclasses.replace(result, scores=tuple(scores))


def _norm(vector: np.ndarray) -> float:
    return float(np.linalg.norm(vector))


def _within(error: float, sigma: float) -> float:
    return math.nan if math.isnan(sigma) else 100.0 * (abs(error) <= sigma)


_MAIN = (
    "n",
    "mpjpe_mm",
    "pa_mpjpe_mm",
    "pve_mm",
    "rde_percent",
    "rde_signed_percent",
    "root_error_m",
    "height_mae_cm",
    "rde_within_sigma_percent",
    "height_within_sigma_percent",
)
_PROTOCOL = (
    "Subjects of focal twins, five pictures each (20, 35, 55, 80, 110° of horizontal field of view); K given, except "
    "where it is withheld and 60° are assumed. {regions}; every method gets the same landmarks. MPJPE and PVE relative "
    "to the pelvis (BlazePose's: to the middle of the hips); RDE: error of the pelvis's distance by the distance. "
    "'network, refined' is what recover gives."
)
_REGIONS: Mapping[Regions, str] = {
    "detected": "Subjects are looked at where the detector finds them, with second looks, as in photographs",
    "true": "Regions from the true keypoints with a detector's errors, one look each",
}


def to_set(
    results: Mapping[str, SynfocalResult], truth: Sequence[SubjectTruth], *, benchmark: str, regions: Regions
) -> SetResult:
    """One table for every question, a row for every method."""
    every = range(len(truth))
    grown = [i for i in every if truth[i].height_m >= GROWN_UP_M]
    small = [i for i in every if truth[i].height_m < GROWN_UP_M]
    parts = {"All pictures": every, "People of 1.45 m and more": grown, "Children below 1.45 m": small}
    tables = [
        *(_methods(title, results, indices) for title, indices in parts.items() if indices),
        Table("All pictures, medians", tuple(Row(name, _medians(result)) for name, result in results.items())),
        Table(
            "Spread among focal twins (n: scenes)",
            tuple(Row(name, result.consistency()) for name, result in results.items() if result.twins),
        ),
    ]
    for name in (NETWORK, REFINED, FIT):
        if name in results:
            cut = results[name].slices().values()
            tables += [Table(f"{table.title}: {name}", tuple(_short(row) for row in table.rows)) for table in cut]
    return SetResult(
        name=benchmark,
        protocol=_PROTOCOL.format(regions=_REGIONS[regions]),
        counts={"pictures": len(truth)},
        tables=tuple(tables),
        cases=tuple(_cases(results, truth)),
    )


def _cases(results: Mapping[str, SynfocalResult], truth: Sequence[SubjectTruth]) -> Iterator[Case]:
    """Every picture by every method: where to look for what goes wrong."""
    for name, result in results.items():
        for true, scores in zip(truth, result.scores, strict=True):
            about: dict[str, Value] = {"method": name, "height_m": true.height_m, "fov_deg": true.fov_x_deg}
            yield Case(f"scene {true.scene}, {true.fov_x_deg:.0f}°", {**about, **(scores or {})})


def _methods(title: str, results: Mapping[str, SynfocalResult], indices: Sequence[int]) -> Table:
    return Table(title, tuple(_short(Row(name, result.mean(indices))) for name, result in results.items()))


def _short(row: Row) -> Row:
    return Row(row.method, {name: row.values.get(name, math.nan) for name in _MAIN})


def _medians(result: SynfocalResult) -> dict[str, Value]:
    rows = [scores for scores in result.scores if scores is not None]
    names = ("mpjpe_mm", "pa_mpjpe_mm", "rde_percent", "rde_signed_percent", "height_mae_cm")
    return {
        name: float(np.nanmedian(column)) if not all(map(math.isnan, column)) else math.nan
        for name in names
        for column in [[row[name] for row in rows]]
    }


def _versions(options: EvaluateSynfocalOptions, source: Source) -> dict[str, str]:
    from metrichmsr import __version__
    from metrichmsr.weights import file_hash

    files = {"network": options.checkpoint or WEIGHTS}
    files |= {name: Path(file) for name, _, file in (entry.partition("=") for entry in options.compare)}
    hashes = {name: file_hash(path)[:12] for name, path in files.items() if path.is_file()}
    return {"metrichmsr": __version__, "assets": str(source.describe()["assets"]), **hashes}
