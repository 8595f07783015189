"""``metrichmsr evaluate real``: every real set with ground truth, one report."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from metrichmsr import datasets
from metrichmsr.errors import InputError, UsageError
from metrichmsr.evaluation.depth_sensor import evaluate_rgbd
from metrichmsr.evaluation.height_video import evaluate_height_video
from metrichmsr.evaluation.keypoints import evaluate_lspet, evaluate_mmpose_mini
from metrichmsr.evaluation.pedestrians import evaluate_pedestrians
from metrichmsr.evaluation.pictures import write_contact_sheet
from metrichmsr.evaluation.pose import Landmarks3d, evaluate_mpi3dhp
from metrichmsr.evaluation.report import SetResult, to_json, to_markdown
from metrichmsr.evaluation.session import Gallery, Predictor, Session

if TYPE_CHECKING:
    from metrichmsr.people import People

Evaluate = Callable[[Path, Session, Mapping[str, Landmarks3d]], SetResult]


def _rgbd(folder: Path, session: Session, others: Mapping[str, Landmarks3d]) -> SetResult:
    return evaluate_rgbd(datasets.read_rgbd(folder, session.name), session)


EVALUATIONS: Mapping[str, Evaluate] = {
    "kp2d_lspet": lambda folder, session, others: evaluate_lspet(datasets.read_lspet(folder), session),
    "kp2d_mmpose_mini": lambda folder, session, others: evaluate_mmpose_mini(
        datasets.read_mmpose_mini(folder), session
    ),
    "mpi3dhp_mini": lambda folder, session, others: evaluate_mpi3dhp(
        datasets.read_mpi3dhp(folder), session, others=dict(others)
    ),
    "rgbd_uc3m_height": _rgbd,
    "rgbd_pcl_five_people": _rgbd,
    "rgbd_tum_fr3_walking": _rgbd,
    "rgbd_uva_turnaround": _rgbd,
    "kitti_pedestrians": lambda folder, session, others: evaluate_pedestrians(datasets.read_kitti(folder), session),
    "nuscenes_pedestrians": lambda folder, session, others: evaluate_pedestrians(
        datasets.read_nuscenes(folder), session
    ),
    "video_sports2d": lambda folder, session, others: evaluate_height_video(datasets.read_sports2d(folder), session),
}
"""What is evaluated, by the name of the set's folder. ``rgbd_deepdeform`` hides its people: it is for scene depth."""


@dataclass(frozen=True)
class EvaluateRealOptions:
    """Measure the recovery of people on real photos with ground truth: keypoints, joints, distances, heights."""

    out: Path
    """Folder for evaluation.json and evaluation.md."""
    data: Path | None = None
    """Folder that holds the sets; the environment variable METRICHMSR_REAL_DATA where it is left out."""
    sets: tuple[str, ...] = ()
    """Names of the sets to evaluate (their folders' names); all that are there where left out."""
    max_frames: int | None = None
    """At most so many pictures of each set, evenly spread."""
    method: Literal["network", "fit"] = "network"
    """How bodies are found: see metrichmsr recover --help."""
    checkpoint: Path | None = None
    """Network to use instead of the shipped one."""
    refine: bool = True
    """Polish the network's answer."""
    fit: bool = True
    """Measure the fit on the same finds as well (slow)."""
    pictures: int = 0
    """Write a contact sheet of so many worst cases per set (worst_<set>.png)."""
    quiet: bool = False
    """No progress on stderr."""

    def __post_init__(self) -> None:
        if self.max_frames is not None and self.max_frames < 1:
            raise UsageError(f"--max-frames must be at least 1, not {self.max_frames}")
        if self.pictures < 0:
            raise UsageError(f"--pictures must not be negative, not {self.pictures}")
        unknown = [name for name in self.sets if name not in EVALUATIONS]
        if unknown:
            raise UsageError(f"--sets: unknown set {unknown[0]!r} (known: {', '.join(EVALUATIONS)})")


def evaluate_real(
    predict: Predictor,
    folder: Path,
    *,
    sets: tuple[str, ...] = (),
    max_frames: int | None = None,
    gallery: Gallery | None = None,
    others: Mapping[str, Landmarks3d] | None = None,
    show_progress: bool = False,
    on_result: Callable[[SetResult], None] | None = None,
) -> list[SetResult]:
    """Evaluate a method on the real sets.

    Args:
        predict: the method: image and camera (None where the set knows none) to Recovery. Where it raises a
            :class:`~metrichmsr.errors.MetricHMSRError` the picture counts as nobody found; other errors pass through.
        folder: holds the sets, each in the folder of its name.
        sets: which; all that are there where empty.
        max_frames: at most so many pictures of each.
        gallery: keeps pictures of the worst cases.
        others: named sources of 3D landmarks to stand beside the body's joints.
        show_progress: a bar on stderr for each set.
        on_result: told of every set as it is done.

    Raises:
        InputError: a named set is not there, none is, or one is damaged.
    """
    present = [name for name in EVALUATIONS if (folder / name).is_dir()]
    missing = [name for name in sets if name not in present]
    if missing:
        raise InputError(f"{folder / missing[0]}: no such set")
    if not present:
        raise InputError(f"{folder}: none of the known sets is here ({', '.join(EVALUATIONS)})")
    results = []
    for name in sets or present:
        session = Session(
            predict=predict,
            name=name,
            max_frames=max_frames,
            gallery=gallery if gallery is not None else Gallery(0),
            show_progress=show_progress,
        )
        results.append(EVALUATIONS[name](folder, session, others or {}))
        if on_result is not None:
            on_result(results[-1])
    return results


def main_evaluate_real(options: EvaluateRealOptions) -> int:
    """Run the recovery over the real sets and write the report; returns the exit status.

    1 where the method gave up on some pictures (each is named in the report), else 0.
    """
    from metrichmsr.evaluation.blazepose_world import BlazePoseWorld
    from metrichmsr.recover import Recoverer, RecoverOptions

    finds = _Finds()
    recoverer = Recoverer(
        RecoverOptions(method=options.method, checkpoint=options.checkpoint, refine=options.refine, depth="none"),
        find=finds,
    )
    finds.find = recoverer.find
    fitter = None
    if options.fit and options.method != "fit":
        fitter = Recoverer(RecoverOptions(method="fit", depth="none"), find=finds)
    versions: dict[str, str] = {}

    def predict(image, camera, /):
        recovery = recoverer(image, camera=camera)
        versions.update(recovery.versions)
        return recovery

    def fit(image, camera, /):
        assert fitter is not None
        return fitter(image, camera=camera)

    folder = datasets.real_data_folder(options.data)
    _make_folder(options.out)
    gallery = Gallery(options.pictures)
    others = {"BlazePose's own 3D landmarks": BlazePoseWorld()}
    results: list[SetResult] = []

    def keep(result: SetResult) -> None:
        if fitter is not None:
            (fitted,) = evaluate_real(
                fit, folder, sets=(result.name,), max_frames=options.max_frames, show_progress=not options.quiet
            )
            result = beside(result, fitted, "fit")
        finds.forget()
        # After every set: an hour of work should not hang on the last picture.
        results.append(result)
        write_report(results, options.out, versions)

    evaluate_real(
        predict,
        folder,
        sets=options.sets,
        max_frames=options.max_frames,
        gallery=gallery,
        others=others,
        show_progress=not options.quiet,
        on_result=keep,
    )
    for result in results:
        pictures = gallery.pictures(result.name)
        if pictures:
            write_contact_sheet(pictures, options.out / f"worst_{result.name}.png")
    sys.stdout.write(to_markdown(results))
    return 1 if any(result.failures for result in results) else 0


class _Finds:
    """Finds the people of a picture once for several methods."""

    find: Callable[[np.ndarray, Path], People]

    def __init__(self) -> None:
        self._found: dict[bytes, People] = {}

    def __call__(self, image: np.ndarray, path: Path, /) -> People:
        key = hashlib.sha256(image.tobytes()).digest()
        if key not in self._found:
            self._found[key] = self.find(image, path)
        return self._found[key]

    def forget(self) -> None:
        """Free the memory."""
        self._found.clear()


def beside(result: SetResult, other: SetResult, name: str) -> SetResult:
    """A result with the rows of another method's in its tables, under its name; rows that are the same are not doubled.

    Args:
        result: of one method.
        other: of the same pictures by another.
        name: of the other.
    """
    theirs = {table.title: table for table in other.tables}
    tables = []
    for table in result.tables:
        # As text, in which what is no number equals itself.
        mine = {str((row.method, dict(row.values))) for row in table.rows}
        found = theirs[table.title].rows if table.title in theirs else ()
        more = [row for row in found if str((row.method, dict(row.values))) not in mine]
        tables.append(
            replace(table, rows=(*table.rows, *(replace(row, method=f"{name}: {row.method}") for row in more)))
        )
    failures = (*result.failures, *(f"{name}: {line}" for line in other.failures))
    return replace(result, tables=tuple(tables), failures=tuple(failures))


def write_report(results: list[SetResult], out: Path, versions: Mapping[str, str]) -> None:
    """Write ``evaluation.json`` and ``evaluation.md``, whole or not at all."""
    from metrichmsr.export.atomic import atomic_file

    text = json.dumps(to_json(results, versions), indent=1, ensure_ascii=False) + "\n"
    for name, content in (("evaluation.json", text), ("evaluation.md", to_markdown(results))):
        with atomic_file(out / name) as temporary:
            temporary.write_text(content, encoding="utf-8")


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be made ({error.strerror or error})") from error
