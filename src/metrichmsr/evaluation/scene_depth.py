"""Depth of the scene: what people make of it, on SynFocal scenes and on real pictures with a depth sensor.

Initial depth, the closed form and the refined depth, beside two trivial baselines: one constant depth, and a ground
plane through the people's feet. All over the same pixels: those with truth for which the source has an answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8

from metrichmsr.evaluation.metrics import depth_errors
from metrichmsr.evaluation.report import Case, Row, SetResult, Table, Value
from metrichmsr.geometry import ray_map
from metrichmsr.scene.ground import find_ground
from metrichmsr.scene.surface import segmented
from metrichmsr.structures import Camera, Person, Recovery, Scene
from metrichmsr.training.depth.figures import RING_SHARE, around

FARTHEST_M = 60.0
"""Truth beyond it is not measured: the sources say 'unknown' there."""
LEAST_PIXELS = 50
"""Regions with fewer pixels are not measured."""

INITIAL, CLOSED, REFINED = "initial", "closed form", "refined"
CONSTANT, PLANE = "one constant depth, the best for the set", "ground plane through the people's feet"


class DepthCase(NamedTuple):
    """One picture, its truth, and its people."""

    label: str
    image: UInt8[np.ndarray, "H W 3"]
    camera: Camera
    depth_m: Float[np.ndarray, "H W"]
    """True z-depth, metres; NaN where it is not known."""
    person: Bool[np.ndarray, "H W"] | None
    """Where people are seen, if the set knows; else their recovered masks are taken."""


@dataclass(frozen=True)
class DepthAnswers:
    """Depths of one picture by method, and the regions of it."""

    label: str
    depths_m: Mapping[str, Float[np.ndarray, "H W"]]
    truth_m: Float[np.ndarray, "H W"]
    known: Bool[np.ndarray, "H W"]
    """Truth and initial depth are both there."""
    person: Bool[np.ndarray, "H W"]
    measurable: int
    """Pixels with truth."""


def answers(case: DepthCase, scene: Scene, people: Sequence[Person]) -> DepthAnswers:
    """All methods' depth of one picture.

    Args:
        case: the picture.
        scene: recovered from it, with its initial depth.
        people: recovered from it.
    """
    assert scene.initial_depth_m is not None
    truth = np.where(case.depth_m < FARTHEST_M, case.depth_m, np.nan)
    initial = scene.initial_depth_m
    depths = {INITIAL: initial}
    if scene.residuals is not None:
        closed = scene.residuals.scale * initial + scene.residuals.shift_m
        depths[CLOSED] = np.maximum(closed, 0.05)
    else:
        depths[CLOSED] = initial
    # A shift may take a pixel behind the camera, which the result leaves out: the nearest there is, to be counted.
    depths[REFINED] = np.where(np.isfinite(initial) & ~np.isfinite(scene.depth_m), 0.05, scene.depth_m)
    depths[PLANE] = plane_depth(case.camera, people)
    person = segmented(people, truth.shape) if case.person is None else case.person
    measurable = truth > 0
    return DepthAnswers(
        label=case.label,
        depths_m=depths,
        truth_m=truth,
        known=measurable & np.isfinite(initial),
        person=person,
        measurable=int(measurable.sum()),
    )


def plane_depth(camera: Camera, people: Sequence[Person]) -> Float[np.ndarray, "H W"]:
    """z-depth of the ground that the people stand on; at and above its horizon, and beyond, three times their distance.

    A level plane 1.5 m below the camera where nobody is found.
    """
    ground = find_ground(None, camera, people) if people else None
    normal = np.array([0.0, -1.0, 0.0]) if ground is None else ground.normal
    offset = 1.5 if ground is None else ground.offset_m
    reach = 3 * (np.median([person.translation_m[2] for person in people]) if people else 3.0)
    rays = ray_map(torch.from_numpy(camera.K), height=camera.height, width=camera.width).numpy()
    down = -np.tensordot(normal, rays, 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        depth = np.where(down > 1e-6, offset / down, np.inf)
    return np.minimum(depth, reach).astype(np.float32)


def evaluate_depth(name: str, found: Sequence[DepthAnswers], *, protocol: str) -> SetResult:
    """Figures of one set, pictures weighing the same.

    Args:
        name: of the set and the source.
        found: answers of its pictures.
        protocol: how it was measured.
    """
    truths = np.concatenate([one.truth_m[one.known] for one in found]) if found else np.zeros(0)
    constant = float(np.median(truths)) if len(truths) else 1.0
    rows, cases = [], []
    per_picture: dict[str, list[dict[str, float]]] = {}
    for one in found:
        depths = {**one.depths_m, CONSTANT: np.full_like(one.truth_m, constant)}
        values: dict[str, Value] = {}
        for method, depth in depths.items():
            figures = picture_figures(depth, one)
            per_picture.setdefault(method, []).append(figures)
            if method in (INITIAL, CLOSED, REFINED):
                values[f"{method.replace(' ', '_')}_abs_rel_percent"] = figures["abs_rel_percent"]
        cases.append(Case(one.label, values))
    for method, figures in per_picture.items():
        mean: dict[str, Value] = {"n": len(figures)}
        for key in figures[0]:
            column = [row[key] for row in figures if np.isfinite(row[key])]
            mean[key] = float(np.mean(column)) if column else float("nan")
        mean["abs_rel_median_percent"] = float(np.nanmedian([row["abs_rel_percent"] for row in figures]))
        rows.append(Row(method, mean))
    return SetResult(
        name=name,
        protocol=protocol,
        counts={"pictures": len(found)},
        tables=(Table("Depth", tuple(rows)),),
        cases=tuple(cases),
    )


def picture_figures(depth_m: Float[np.ndarray, "H W"], answer: DepthAnswers) -> dict[str, float]:
    """Errors of one method in one picture: whole, inside people, and in the ring around them."""

    def errors(mask: Bool[np.ndarray, "H W"]):
        if mask.sum() < LEAST_PIXELS:
            mask = np.zeros_like(mask)
        predicted, truth = (torch.from_numpy(np.asarray(m, np.float64)) for m in (depth_m, answer.truth_m))
        return depth_errors(predicted, truth, torch.from_numpy(mask))

    whole = errors(answer.known)
    return {
        "abs_rel_percent": 100 * float(whole.abs_rel),
        "people_abs_rel_percent": 100 * float(errors(answer.known & answer.person).abs_rel),
        "ring_abs_rel_percent": 100 * float(errors(answer.known & ring(answer.person)).abs_rel),
        "depth_mae_m": float(whole.mae_m),
        "depth_rmse_m": float(whole.rmse_m),
        "delta1_percent": 100 * float(whole.delta1),
        "delta2_percent": 100 * float(whole.delta2),
        "delta3_percent": 100 * float(whole.delta3),
        "known_percent": 100 * float(answer.known.sum()) / max(1, answer.measurable),
    }


def ring(person: Bool[np.ndarray, "H W"]) -> Bool[np.ndarray, "H W"]:
    """What is near people in the picture, and not people."""
    pixels = max(1, round(RING_SHARE * max(person.shape)))
    return around(torch.from_numpy(person)[None], pixels)[0].numpy() & ~person


SceneOf = Callable[[Recovery, DepthCase], Scene]
"""The depth stage on recovered people: a source's initial depth, refined."""


def measure(
    cases: Sequence[DepthCase],
    recover: Callable[[UInt8[np.ndarray, "H W 3"], Camera], Recovery],
    sources: Mapping[str, SceneOf],
    *,
    progress: Callable[[Sequence[DepthCase]], Iterable[DepthCase]] = lambda cases: cases,
) -> tuple[dict[str, list[DepthAnswers]], list[str]]:
    """Answers of every source on every picture, people being recovered once; and the pictures that failed.

    Args:
        cases: the pictures.
        recover: finds the people, without any depth stage.
        sources: depth stages by name.
        progress: wraps the pictures.
    """
    from metrichmsr.errors import MetricHMSRError

    found: dict[str, list[DepthAnswers]] = {name: [] for name in sources}
    failures = []
    for case in progress(cases):
        try:
            recovery = recover(case.image, case.camera)
            for name, scene_of in sources.items():
                found[name].append(answers(case, scene_of(recovery, case), recovery.people))
        except MetricHMSRError as error:
            failures.append(f"{case.label}: {error}")
    return found, failures
