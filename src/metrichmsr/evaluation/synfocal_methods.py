"""What is measured on SynFocal: the network, the fit, and baselines, all from the same landmarks."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float

from metrichmsr.bodies.anny import AnnyBody
from metrichmsr.calibration import estimate_view
from metrichmsr.evaluation.baselines import POPULATION_STATURE_M, depth_from_box, standing_figure
from metrichmsr.evaluation.blazepose_world import rotation_to_ray
from metrichmsr.evaluation.synfocal_metrics import SubjectPrediction
from metrichmsr.hmr.crop_evidence import UpDirection
from metrichmsr.hmr.estimates import BodyEstimates
from metrichmsr.hmr.fitting.evidence import gather_evidence
from metrichmsr.hmr.fitting.fit import Fitter
from metrichmsr.hmr.regress import Regressor
from metrichmsr.people.faces import FaceReader
from metrichmsr.people.landmarks import COCO17_OF_33, Landmarks
from metrichmsr.structures import Camera
from metrichmsr.synthetic.shots import Shot

ASSUMED_FOV_DEG = 60.0
"""Horizontal field of view of the full picture where K is withheld, as ``recover`` assumes without EXIF."""


@dataclass(frozen=True)
class Answer:
    """What a method says of a picture's subject, and how sure it is; NaN where it does not say."""

    prediction: SubjectPrediction
    distance_sigma: float = math.nan
    """One sigma of the distance as a fraction."""
    height_sigma_m: float = math.nan


Method = Callable[[Shot, Landmarks], Answer]


class UpOfShots:
    """Estimates up in one shot after the other; several methods may ask about the same one."""

    def __init__(self) -> None:
        self._last: tuple[Shot, UpDirection] | None = None

    def __call__(self, shot: Shot) -> UpDirection:
        """By the small network that comes along, which takes a picture for one whose principal point is its middle."""
        if self._last is None or self._last[0] is not shot:
            height, width = shot.image.shape[:2]
            up = estimate_view(shot.image).up
            middle = np.linalg.inv(shot.K.astype(np.float64)) @ (width / 2, height / 2, 1.0)
            self._last = shot, UpDirection(rotation_to_ray(middle) @ up.direction, up.std_deg)
        return self._last[1]


_up_of = UpOfShots()


def from_network(
    regressor: Regressor,
    refiner: Fitter | None = None,
    *,
    faces: FaceReader | None = None,
    K_known: bool = True,
    up_known: bool = True,
) -> Method:
    """The network, polished by ``refiner`` where there is one; with an assumed K where the true one is withheld.

    Up is estimated from the shot, for a network that asks for it, unless it is withheld. Without ``faces`` none are
    looked at.
    """

    def method(shot: Shot, landmarks: Landmarks) -> Answer:
        K = shot.K if K_known else assumed_intrinsics(shot)
        up = _up_of(shot) if regressor.config.gravity and up_known else None
        seen = None if faces is None else faces(shot.image, landmarks)
        estimates = regressor(landmarks, K, up=up, faces=seen)
        if refiner is not None:
            estimates = refiner.refine(gather_evidence(landmarks, camera_of(shot, K)), estimates)
        return _answer(estimates)

    return method


def from_fit(fitter: Fitter) -> Method:
    """The fit of the body to landmarks and mask."""
    return lambda shot, landmarks: _answer(fitter(gather_evidence(landmarks, camera_of(shot, shot.K))).estimates)


def of_constant_stature(method: Method, stature_m: float = POPULATION_STATURE_M) -> Method:
    """Another method's bodies, all scaled to one stature: they look the same in the picture."""

    def scaled(shot: Shot, landmarks: Landmarks) -> Answer:
        said = method(shot, landmarks).prediction
        factor = stature_m / said.height_m
        return Answer(
            replace(
                said,
                translation_m=said.translation_m * factor,
                joints_m=said.joints_m * factor,
                vertices_m=None if said.vertices_m is None else said.vertices_m * factor,
                height_m=stature_m,
            )
        )

    return scaled


def blazepose_world(shot: Shot, landmarks: Landmarks) -> Answer:
    """BlazePose's own 3D landmarks: a pose, without place or stature."""
    size = landmarks.mask_logits.shape[-1]
    middle = np.linalg.inv(landmarks.crop_from_image[0]) @ (size / 2, size / 2, 1.0)
    joints = landmarks.world[0, list(COCO17_OF_33)] @ rotation_to_ray(np.linalg.inv(shot.K) @ middle).T
    # Relative to the middle of its hips, which is put where the body's root would be.
    return Answer(SubjectPrediction(translation_m=np.full(3, np.nan), height_m=math.nan, joints_m=joints))


def standing(shot: Shot, landmarks: Landmarks) -> Answer:
    """Somebody of constant stature who stands upright in the true box, at the distance that its height says."""
    box = shot.people.box_xyxy[0].astype(np.float64)
    depth = depth_from_box(box, camera_of(shot, shot.K))
    middle = np.array([0.5 * (box[0] + box[2]), 0.5 * (box[1] + box[3]), 1.0])
    root = np.linalg.inv(shot.K) @ middle * depth
    figure = standing_figure()
    # It has no face. Where eyes and ears of an adult are: at the nose's height above the hips, within a hand's width.
    figure[np.isnan(figure).any(1)] = (0.0, -0.40 * POPULATION_STATURE_M, -0.08)
    return Answer(SubjectPrediction(translation_m=root, height_m=POPULATION_STATURE_M, joints_m=figure + root))


def camera_of(shot: Shot, K: Float[np.ndarray, "3 3"]) -> Camera:
    """A shot's camera, or another one for its picture."""
    height, width = shot.image.shape[:2]
    return Camera(K=K, width=width, height=height, source="given")


def assumed_intrinsics(shot: Shot) -> Float[np.ndarray, "3 3"]:
    """Intrinsics of a shot as if the full picture's field of view were the assumed one."""
    wrong = math.tan(math.radians(shot.fov_x_deg) / 2) / math.tan(math.radians(ASSUMED_FOV_DEG) / 2)
    return shot.K.astype(np.float64) @ np.diag([wrong, wrong, 1.0])


def named_checkpoints(entries: tuple[str, ...], body: AnnyBody) -> Mapping[str, Regressor]:
    """Networks of ``NAME=FILE`` entries."""
    pairs = [entry.partition("=") for entry in entries]
    return {name: Regressor.load(body, Path(file)) for name, _, file in pairs}


def _answer(estimates: BodyEstimates) -> Answer:
    body = estimates.body
    root = body.joints_m[0, 0]
    return Answer(
        SubjectPrediction(
            translation_m=root.numpy(),
            height_m=float(body.height_m[0]),
            joints_m=body.coco17_m[0].numpy(),
            vertices_m=body.vertices_m[0].numpy(),
        ),
        distance_sigma=float(estimates.log_depth_std[0]),
        height_sigma_m=float(estimates.height_std_m[0]),
    )
