"""``evaluate depth``: which pictures, which sources, and the report."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from metrichmsr import datasets
from metrichmsr.errors import UsageError
from metrichmsr.evaluation.report import SetResult, to_markdown
from metrichmsr.evaluation.scene_depth import FARTHEST_M, DepthCase, SceneOf, evaluate_depth, measure
from metrichmsr.evaluation.session import spread
from metrichmsr.scene.depth.protocol import DepthEstimate
from metrichmsr.scene.recover_scene import SceneRecoverer
from metrichmsr.structures import Camera, Recovery

SIMULATED = "simulated"
"""Initial depth made of the truth by the corruptions that the refinement network is trained on."""
Item = TypeVar("Item")


@dataclass(frozen=True)
class EvaluateDepthOptions:
    """Measure the scene's depth: initial, closed form and refined, beside trivial baselines.

    On SynFocal scenes (--scenes), on the real sets with a depth sensor (--data), or both. People are recovered by the
    default of metrichmsr recover; K is given.
    """

    out: Path
    """Folder for evaluation.json and evaluation.md."""
    scenes: Path | None = None
    """Folder that metrichmsr synth --kind scenes wrote; of a split that was not trained on, to be fair."""
    data: Path | None = None
    """Folder of the real sets (rgbd_*)."""
    sources: tuple[str, ...] = (SIMULATED, "embedded")
    """Initial depths: simulated, and whatever --depth of metrichmsr recover takes."""
    refiner: Path | None = None
    """Refinement network instead of the shipped one."""
    depth_network: Path | None = None
    """Embedded depth network instead of the shipped one."""
    count: int | None = None
    """At most so many pictures of each set, evenly spread."""
    quiet: bool = False
    """No progress on stderr."""

    def __post_init__(self) -> None:
        if self.scenes is None and self.data is None:
            raise UsageError("evaluate depth on what? Give --scenes DIR, --data DIR, or both")
        if self.count is not None and self.count < 1:
            raise UsageError(f"--count must be at least 1, not {self.count}")


def main_evaluate_depth(options: EvaluateDepthOptions) -> int:
    """Run ``evaluate depth``; 1 where some pictures failed (each is named in the report), else 0."""
    from metrichmsr.evaluation.real import write_report
    from metrichmsr.recover import Recoverer, RecoverOptions
    from metrichmsr.scene.refine import WEIGHTS, DepthRefiner
    from metrichmsr.weights import file_hash

    recoverer = Recoverer(RecoverOptions(depth="none"))
    refiner = DepthRefiner.load(options.refiner or WEIGHTS)
    sources = {name: _source(name, refiner, options.depth_network) for name in options.sources}
    versions = {"refinement network": file_hash(options.refiner or WEIGHTS)[:8]}
    options.out.mkdir(parents=True, exist_ok=True)

    def recover(image: np.ndarray, camera: Camera) -> Recovery:
        recovery = recoverer(image, camera=camera)
        versions.update(recovery.versions)
        return recovery

    results: list[SetResult] = []
    for name, cases in _sets(options):
        found, failures = measure(cases, recover, sources, progress=_progress(name, quiet=options.quiet))
        for source, answers in found.items():
            result = evaluate_depth(f"{name}, {source}", answers, protocol=_PROTOCOL)
            results.append(replace(result, failures=tuple(failures)))
        # After every set: what is done should not hang on the last picture.
        write_report(results, options.out, versions)
    sys.stdout.write(to_markdown(results))
    return 1 if any(result.failures for result in results) else 0


_PROTOCOL = (
    f"All methods over the same pixels: truth up to {FARTHEST_M:g} m for which the source has an answer (their share "
    "is in the table). Means over pictures. People are recovered with K given; the ring is what lies within 3 % of the "
    "picture's long side of them. The constant is the median of all the set's pixels, which no method knows beforehand."
)


def _sets(options: EvaluateDepthOptions) -> Iterator[tuple[str, Sequence[DepthCase]]]:
    if options.scenes is not None:
        yield "SynFocal scenes", spread(synfocal_cases(options.scenes), options.count)
    if options.data is not None:
        folder = datasets.real_data_folder(options.data)
        for name in datasets.RGBD_SETS:
            if (folder / name).is_dir():
                yield name, spread(rgbd_cases(folder, name), options.count)


def synfocal_cases(folder: Path) -> list[DepthCase]:
    """The scenes of a folder of shards."""
    from metrichmsr.synthetic.shot_files import read_shots
    from metrichmsr.synthetic.shots import NOBODY

    cases = []
    for number, shot in enumerate(read_shots(folder, fields=("image", "depth", "person"))):
        height, width = shot.depth_m.shape
        camera = Camera(K=shot.K.astype(np.float64), width=width, height=height, source="given")
        cases.append(DepthCase(f"scene {number}", shot.image, camera, shot.depth_m, shot.person_id != NOBODY))
    return cases


def rgbd_cases(folder: Path, name: str) -> list[DepthCase]:
    """The frames of a real set that have depth at the picture's size."""
    cases = []
    for frame in datasets.read_rgbd(folder, name):
        image, depth, camera = frame.photo.read(), frame.read_depth(), frame.photo.camera
        if camera is None:
            continue
        masks = [mask for person in frame.people if (mask := frame.read_mask(person)) is not None]
        everybody = np.logical_or.reduce(masks) if masks and frame.people_complete else None
        cases.append(DepthCase(f"{name}/{frame.name}", image, camera, depth, everybody))
    return cases


def _source(name: str, refiner: object, depth_network: Path | None) -> SceneOf:
    from metrichmsr.scene.depth.embedded import EmbeddedDepth
    from metrichmsr.scene.depth.registry import load_depth_source
    from metrichmsr.stopwatch import Stopwatch

    loaded = None
    if name == "embedded" and depth_network is not None:
        loaded = EmbeddedDepth.load(depth_network)
    elif name != SIMULATED:
        loaded = load_depth_source(name)

    def scene_of(recovery: Recovery, case: DepthCase):
        source = loaded if loaded is not None else SimulatedDepth(case, recovery)
        stages = SceneRecoverer(source, refiner)  # pyright: ignore[reportArgumentType]
        return stages(
            case.image, case.camera, recovery.people, path=Path(case.label), stage=Stopwatch().stage, warnings=[]
        )

    return scene_of


class SimulatedDepth:
    """A depth source that knows the truth of one picture and spoils it; the picture's name decides how."""

    name = SIMULATED

    def __init__(self, case: DepthCase, recovery: Recovery) -> None:
        self._case, self._people = case, recovery.people

    def __call__(self, image: np.ndarray, camera: Camera, **_: object) -> DepthEstimate:
        """The spoilt depth."""
        from metrichmsr.training.depth.corruptions import Corruption, corrupted
        from metrichmsr.training.depth.samples import NOBODY, SceneSamples

        case = self._case
        height, width = case.depth_m.shape
        truth = np.where(case.depth_m < FARTHEST_M, case.depth_m, 0).astype(np.float32)
        person = np.full(truth.shape, NOBODY, np.uint8)
        for row, one in enumerate(self._people[:30]):
            if one.mask is not None:
                person[one.mask] = row
        maps = torch.zeros(1, height, width)
        samples = SceneSamples(
            image=torch.from_numpy(np.array(image)).permute(2, 0, 1)[None],  # a copy: decoders give read-only pictures
            depth_m=torch.from_numpy(truth)[None],
            far=maps.to(torch.uint8),
            person=torch.from_numpy(person)[None],
            body_m=maps,
            body=torch.full((1, height, width), NOBODY, dtype=torch.uint8),
            K=torch.from_numpy(camera.K).float()[None],
        )
        seed = int.from_bytes(case.label.encode()[-6:], "little")
        how = Corruption(blur_px=Corruption.blur_px * max(height, width) / 256)
        spoilt, known = corrupted(samples, torch.Generator().manual_seed(seed), how)
        depth = torch.where(known, spoilt, torch.nan)[0].numpy().astype(np.float32)
        return DepthEstimate(depth_m=depth, metric=True)


def _progress(name: str, *, quiet: bool) -> Callable[[Sequence[Item]], Iterable[Item]]:
    def progress(items: Sequence[Item]) -> Iterable[Item]:
        from tqdm import tqdm

        return tqdm(items, desc=name, unit="picture", disable=quiet, file=sys.stderr)

    return progress
