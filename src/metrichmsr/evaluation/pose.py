"""3D joints against a multi-camera system: MPJPE and PA-MPJPE on frames of MPI-INF-3DHP."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from jaxtyping import Float, UInt8

from metrichmsr.datasets import LIMBS12, Pose3dFrame
from metrichmsr.evaluation import metrics
from metrichmsr.evaluation.baselines import POPULATION_STATURE_M, standing_figure
from metrichmsr.evaluation.distances import DistanceCase, distance_table
from metrichmsr.evaluation.matching import person_at
from metrichmsr.evaluation.pictures import case_picture
from metrichmsr.evaluation.report import Case, Row, SetResult, Table
from metrichmsr.evaluation.session import Session
from metrichmsr.structures import COCO17, Camera, Person

MIN_IOU = 0.1

Landmarks3d = Callable[[UInt8[np.ndarray, "H W 3"], Person, Camera], Float[np.ndarray, "17 3"]]
"""A second opinion on a found person: COCO-17 in metres in camera axes, from any origin."""

_LIMBS = [COCO17.index(name) for name in LIMBS12]
_MID_HIP = [LIMBS12.index("left_hip"), LIMBS12.index("right_hip")]

BODY, FIGURE = "recovered body", f"standing figure of {POPULATION_STATURE_M} m (constant)"


def evaluate_mpi3dhp(
    frames: Sequence[Pose3dFrame], session: Session, *, others: dict[str, Landmarks3d] | None = None
) -> SetResult:
    """Joint errors of the recovered body, of other landmark sources, and of a constant; distance errors beside them.

    Args:
        frames: pictures of one person each.
        session: the method under test.
        others: named sources of 3D landmarks, evaluated on the people that were found.
    """
    others = others or {}
    errors: dict[str, list[tuple[float, float]]] = {name: [] for name in (BODY, *others, FIGURE)}
    distances: list[DistanceCase] = []
    cases: list[Case] = []
    count = 0
    for frame in session.frames(frames):
        count += 1
        label, image = frame.photo.path.name, frame.photo.read()
        recovery = session.recover(image, frame.photo.camera, label)
        person = person_at(frame.box_xyxy, recovery, min_iou=MIN_IOU)
        picture = partial(case_picture, image, truth_box=frame.box_xyxy, truth_px=frame.joints_px)
        if recovery is None or person is None:
            cases.append(Case(label, {"found": 0}))
            session.gallery.offer(session.name, math.inf, partial(picture, (label, "not found")))
            continue
        truth = frame.coco_m[_LIMBS]
        estimates = {BODY: person.keypoints_3d_m, FIGURE: standing_figure()}
        estimates |= {name: source(image, person, recovery.camera) for name, source in others.items()}
        for name, estimate in estimates.items():
            errors[name].append(_joint_errors(estimate[_LIMBS], truth))
        true_m, predicted_m = (_mid_hip_distance(points) for points in (truth, person.keypoints_3d_m[_LIMBS]))
        distances.append(DistanceCase(label, true_m, predicted_m, person.distance_std_m, person.height_m))
        mpjpe, pa_mpjpe = errors[BODY][-1]
        cases.append(
            Case(label, {"found": 1, "mpjpe_mm": mpjpe, "pa_mpjpe_mm": pa_mpjpe, **distances[-1].values()}),
        )
        caption = (label, f"MPJPE {mpjpe:.0f}, PA {pa_mpjpe:.0f} mm")
        draw = partial(picture, caption, camera=recovery.camera, person=person)
        session.gallery.offer(session.name, pa_mpjpe, draw)
    return SetResult(
        name=session.name,
        protocol=(
            "12 limb joints with COCO names (shoulders, elbows, wrists, hips, knees, ankles), relative to the middle "
            "of the hips; PA after the best similarity. No regressor is fitted to the set's own joint definitions. "
            "Distance: from the camera to the middle of the hips. K given. Found people only; the mean over frames."
        ),
        counts={"frames": count, "found": len(distances)},
        tables=(
            Table("3D joints", tuple(_row(name, pairs) for name, pairs in errors.items())),
            distance_table("Distance to the middle of the hips", distances),
        ),
        cases=tuple(cases),
        failures=tuple(session.failures),
        seconds_per_image=session.seconds_per_image,
    )


def _joint_errors(estimate: Float[np.ndarray, "12 3"], truth: Float[np.ndarray, "12 3"]) -> tuple[float, float]:
    predicted, target = torch.as_tensor(estimate, dtype=torch.float64), torch.as_tensor(truth, dtype=torch.float64)
    return (
        metrics.mpjpe_mm(predicted, target, root=_MID_HIP).item(),
        metrics.pa_mpjpe_mm(predicted, target).item(),
    )


def _mid_hip_distance(limbs: Float[np.ndarray, "12 3"]) -> float:
    return float(np.linalg.norm(limbs[_MID_HIP].mean(axis=0)))


def _row(name: str, pairs: Sequence[tuple[float, float]]) -> Row:
    mpjpe, pa_mpjpe = np.array(pairs).T.tolist() if pairs else ([], [])
    return Row(
        name,
        {
            "n": len(pairs),
            "mpjpe_mm": float(np.mean(mpjpe)) if pairs else math.nan,
            "pa_mpjpe_mm": float(np.mean(pa_mpjpe)) if pairs else math.nan,
        },
    )
