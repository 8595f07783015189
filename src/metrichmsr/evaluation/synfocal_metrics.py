"""Metrics of the SynFocal benchmark: pose, position, height, focal-twin consistency and depth, in all and by slices.

Everything is about the subject of each picture. Pose errors are relative to the pelvis (``translation_m``), over
whatever joints both sides give: COCO-17 unless told otherwise. Positions are in the camera frame, metres.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float

from metrichmsr.evaluation.focal_twins import TwinSpread, scenes_of, twin_spread
from metrichmsr.evaluation.metrics import depth_errors, mpjpe_mm, pa_mpjpe_mm, pve_mm
from metrichmsr.evaluation.report import Case, Row, SetResult, Table, Value
from metrichmsr.synthetic.shots import OUTSIDE, Shot
from metrichmsr.synthetic.statistics import age_years, root_tilt_deg


def root_distance_error(
    predicted_m: Float[np.ndarray, "*B 3"], target_m: Float[np.ndarray, "*B 3"]
) -> Float[np.ndarray, "*B"]:
    """Signed relative error of the distance to the pelvis, (‖t̂‖ − ‖t‖) / ‖t‖; RDE is the mean of its absolute value."""
    true = np.linalg.norm(target_m, axis=-1)
    return (np.linalg.norm(predicted_m, axis=-1) - true) / true


def root_position_error_m(
    predicted_m: Float[np.ndarray, "*B 3"], target_m: Float[np.ndarray, "*B 3"]
) -> Float[np.ndarray, "*B"]:
    """How far the pelvis is from where it should be, metres."""
    return np.linalg.norm(predicted_m - target_m, axis=-1)


class DepthScores(NamedTuple):
    """Errors of one depth map over its valid pixels; NaN where there is none."""

    abs_rel: float
    """Mean of |d − d*| / d*."""
    rmse_m: float
    """Root of the mean squared error, metres."""
    delta1: float
    """Share of pixels with max(d/d*, d*/d) < 1.25."""


def depth_scores(
    predicted_m: Float[np.ndarray, "H W"],
    target_m: Float[np.ndarray, "H W"],
    mask: Bool[np.ndarray, "H W"] | None = None,
) -> DepthScores:
    """AbsRel, RMSE and δ1 where the truth is a positive number (and the mask holds).

    A predicted NaN there makes the means NaN and counts as wrong in δ1.
    """
    valid = target_m > 0 if mask is None else (target_m > 0) & mask
    predicted, target = (torch.as_tensor(np.asarray(depth, np.float64)) for depth in (predicted_m, target_m))
    errors = depth_errors(predicted, target, torch.as_tensor(valid))
    return DepthScores(float(errors.abs_rel), float(errors.rmse_m), float(errors.delta1))


@dataclass(frozen=True)
class SubjectTruth:
    """The subject of one picture as it is, and what it is sliced by."""

    key: str
    scene: str
    """The same for focal twins."""
    translation_m: Float[np.ndarray, "3"]
    height_m: float
    joints_m: Float[np.ndarray, "J 3"]
    fov_x_deg: float
    age_years: float
    visible_share: float
    support: str
    root_tilt_deg: float
    outside_share: float
    """Share of the COCO-17 joints that are outside the picture."""
    vertices_m: Float[np.ndarray, "V 3"] | None = None
    depth_m: Float[np.ndarray, "H W"] | None = None

    @classmethod
    def of(cls, shot: Shot, *, scene: str, vertices_m: Float[np.ndarray, "V 3"] | None = None) -> SubjectTruth:
        """Of a shot's first person."""
        people = shot.people
        up = shot.camera_from_world[:3, 1]
        return cls(
            key=shot.key,
            scene=scene,
            translation_m=people.translation_m[0],
            height_m=float(people.height_m[0]),
            joints_m=people.coco17_m[0],
            fov_x_deg=shot.fov_x_deg,
            age_years=float(age_years(people.shape[:1, 1])[0]),
            visible_share=float(people.visible_share[0]),
            support=people.support[0],
            root_tilt_deg=float(root_tilt_deg(people.pose[:1, 0], up)[0]),
            outside_share=float((people.visibility[0] == OUTSIDE).mean()),
            vertices_m=vertices_m,
            depth_m=shot.depth_m if shot.depth_m.size else None,
        )


@dataclass(frozen=True)
class SubjectPrediction:
    """What a method says of the subject."""

    translation_m: Float[np.ndarray, "3"]
    height_m: float
    joints_m: Float[np.ndarray, "J 3"]
    """Camera frame, the joints of the truth in its order."""
    vertices_m: Float[np.ndarray, "V 3"] | None = None
    """Of the truth's topology, for PVE."""
    depth_m: Float[np.ndarray, "H W"] | None = None
    """Of the picture's size, NaN for none."""


def score_subject(prediction: SubjectPrediction, truth: SubjectTruth) -> dict[str, float]:
    """All errors of one picture; NaN where one of the two lacks vertices or depth."""
    roots = [torch.as_tensor(np.asarray(side.translation_m, np.float64)) for side in (prediction, truth)]
    joints = [torch.as_tensor(np.asarray(side.joints_m, np.float64)) for side in (prediction, truth)]
    relative = root_distance_error(prediction.translation_m, truth.translation_m)
    scores = {
        "mpjpe_mm": float(mpjpe_mm(joints[0] - roots[0], joints[1] - roots[1], root=None)),
        "pa_mpjpe_mm": float(pa_mpjpe_mm(*joints)),
        "pve_mm": math.nan,
        "rde_percent": float(100 * abs(relative)),
        "rde_signed_percent": float(100 * relative),
        "root_error_m": float(root_position_error_m(prediction.translation_m, truth.translation_m)),
        "height_mae_cm": 100 * abs(prediction.height_m - truth.height_m),
        "height_signed_cm": 100 * (prediction.height_m - truth.height_m),
        "abs_rel_percent": math.nan,
        "depth_rmse_m": math.nan,
        "delta1_percent": math.nan,
    }
    if prediction.vertices_m is not None and truth.vertices_m is not None:
        vertices = [torch.as_tensor(np.asarray(v, np.float64)) for v in (prediction.vertices_m, truth.vertices_m)]
        scores["pve_mm"] = float(pve_mm(*vertices, *roots))
    if prediction.depth_m is not None and truth.depth_m is not None:
        depth = depth_scores(prediction.depth_m, truth.depth_m)
        scores |= {
            "abs_rel_percent": 100 * depth.abs_rel,
            "depth_rmse_m": depth.rmse_m,
            "delta1_percent": 100 * depth.delta1,
        }
    return scores


class _Slicing(NamedTuple):
    title: str
    value: Callable[[SubjectTruth], float]
    limits: tuple[float, ...]
    """Ends of the slices; each takes its lower one in."""
    labels: tuple[str, ...]


SLICINGS: Mapping[str, _Slicing] = {
    "fov": _Slicing(
        "horizontal field of view",
        lambda truth: truth.fov_x_deg,
        (0, 27.5, 45, 67.5, 95, 180),
        ("below 27.5°", "27.5–45°", "45–67.5°", "67.5–95°", "95° and more"),
    ),
    "age": _Slicing(
        "age",
        lambda truth: truth.age_years,
        (-1, 4, 12, 18, 60, 200),
        ("below 4 years", "4–12 years", "12–18 years", "18–60 years", "60 years and more"),
    ),
    "visible": _Slicing(
        "share of the body that is seen",
        lambda truth: truth.visible_share,
        (0, 0.3, 0.6, 0.9, 1.1),
        ("below 30 %", "30–60 %", "60–90 %", "90 % and more"),
    ),
    "tilt": _Slicing(
        "tilt of the pelvis",
        lambda truth: truth.root_tilt_deg,
        (0, 30, 60, 120, 181),
        ("below 30°", "30–60°", "60–120°", "120° and more"),
    ),
    "truncation": _Slicing(
        "joints outside the picture",
        lambda truth: truth.outside_share,
        (0, 1e-6, 0.25, 0.5, 1.1),
        ("none", "below 25 %", "25–50 %", "50 % and more"),
    ),
}
"""What results are cut by, beside what carries the person."""


@dataclass(frozen=True)
class SynfocalResult:
    """Scores of a method on SynFocal."""

    truth: tuple[SubjectTruth, ...]
    scores: tuple[Mapping[str, float] | None, ...]
    """Of each picture; None where nobody was found."""
    twins: tuple[TwinSpread, ...]
    """Of each scene with more than one picture."""

    def mean(self, indices: Iterable[int]) -> dict[str, Value]:
        """Counts and mean scores of these pictures, over those with a score."""
        chosen = list(indices)
        found = [scores for i in chosen if (scores := self.scores[i]) is not None]
        values: dict[str, Value] = {"n": len(chosen), "found": len(found)}
        return values | {name: _mean(scores[name] for scores in found) for name in (found[0] if found else ())}

    def slices(self) -> dict[str, Table]:
        """A table for every slicing, a row for each slice that is not empty."""
        tables = {}
        for name, slicing in SLICINGS.items():
            values = [slicing.value(truth) for truth in self.truth]
            ends = zip(slicing.limits[:-1], slicing.limits[1:], slicing.labels, strict=True)
            chosen = {label: [i for i, v in enumerate(values) if low <= v < high] for low, high, label in ends}
            tables[name] = self._table(f"By {slicing.title}", chosen)
        supports = dict.fromkeys(truth.support for truth in self.truth)
        chosen = {support: [i for i, t in enumerate(self.truth) if t.support == support] for support in supports}
        tables["support"] = self._table("By what carries the person", chosen)
        return tables

    def consistency(self) -> dict[str, Value]:
        """Mean spread among focal twins."""
        return {
            "n": len(self.twins),
            "height_spread_cm": 100 * _mean(twins.height_m for twins in self.twins),
            "pose_spread_mm": _mean(twins.pose_mm for twins in self.twins),
            "size_spread_percent": _mean(twins.size_percent for twins in self.twins),
        }

    def as_set(self, name: str = "synfocal", method: str = "all") -> SetResult:
        """For the report."""
        tables = [Table("All pictures", (Row(method, self.mean(range(len(self.truth)))),))]
        if self.twins:
            tables.append(Table("Spread among focal twins (n: scenes)", (Row(method, self.consistency()),)))
        scored = zip(self.truth, self.scores, strict=True)
        return SetResult(
            name=name,
            protocol=_PROTOCOL,
            counts={"pictures": len(self.truth), "found": sum(s is not None for s in self.scores)},
            tables=(*tables, *self.slices().values()),
            cases=tuple(Case(truth.key, {"found": int(s is not None), **(s or {})}) for truth, s in scored),
        )

    def _table(self, title: str, chosen: Mapping[str, Sequence[int]]) -> Table:
        return Table(title, tuple(Row(label, self.mean(indices)) for label, indices in chosen.items() if indices))


_PROTOCOL = (
    "The subject of each picture; K given. Pose relative to the pelvis; RDE is the error of the distance to the pelvis "
    "by the distance; depth over all pixels with modelled truth. Twins: standard deviation of height, mean PA-MPJPE "
    "between pairs, and standard deviation of the size that the distance implies."
)


def evaluate_synfocal(predictions: Sequence[SubjectPrediction | None], truth: Sequence[SubjectTruth]) -> SynfocalResult:
    """Score a method, picture by picture and twin by twin.

    Args:
        predictions: one for each picture; None where the method found nobody.
        truth: in the same order.
    """
    pairs = list(zip(predictions, truth, strict=True))
    scores = tuple(None if prediction is None else score_subject(prediction, true) for prediction, true in pairs)
    twins = []
    for scene in scenes_of([true.scene for true in truth]):
        if len(scene) > 1:
            found = [(p, t) for p, t in (pairs[i] for i in scene) if p is not None]
            joints = [p.joints_m for p, _ in found]
            twins.append(
                twin_spread(
                    np.array([p.height_m for p, _ in found]),
                    np.stack(joints) if joints else np.zeros((0, 1, 3)),
                    np.array([p.translation_m for p, _ in found]),
                    np.array([t.translation_m for _, t in found]),
                    np.array([t.height_m for _, t in found]),
                )
            )
    return SynfocalResult(tuple(truth), scores, tuple(twins))


def _mean(values: Iterable[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan
