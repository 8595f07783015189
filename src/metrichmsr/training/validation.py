"""How good a network is on held-out samples: the figures that choose the best checkpoint, and its calibration."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from metrichmsr.geometry import similarity_align
from metrichmsr.hmr.body_parameters import BodyParameters
from metrichmsr.hmr.image_encoders import CropEvidence
from metrichmsr.hmr.network import MetricBodies, MetricHMR
from metrichmsr.hmr.stature import summary
from metrichmsr.hmr.stature_grid import GROWN_UP_M
from metrichmsr.training.augment import doubtful_up
from metrichmsr.training.samples import Samples

_AT_ONCE = 128
_UP_SIGMA_DEG = 6.0
"""Error of the direction of up that a network is told, as large as that of what is estimated from pictures."""
_BODY = slice(5, 17)
"""COCO-17 without the face: shoulders to ankles."""


@dataclass(frozen=True)
class Validation:
    """Figures over held-out samples; joints are COCO's twelve of the limbs, relative to the middle of the hips."""

    samples: int
    mpjpe_mm: float
    pa_mpjpe_mm: float
    root_angle_deg: float
    """Median error of the global orientation."""
    distance_percent: float
    """Mean relative error of the root's distance."""
    distance_percent_median: float
    distance_bias_percent: float
    """Mean signed one; positive is too far."""
    root_error_m: float
    height_cm: float
    """Mean absolute error of the stature."""
    height_constant_cm: float
    """That of one constant stature, the truth's median."""
    adult_distance_percent: float
    """Of people of 1.45 m and more."""
    adult_height_cm: float
    adult_height_constant_cm: float
    """That of one constant stature, the median of theirs."""
    child_distance_percent: float
    """Of people below 1.45 m."""
    child_height_cm: float
    within_sigma_distance: float
    """Share of distances within one predicted sigma; 0.68 is calibrated."""
    within_sigma_height: float
    within_sigma_joints: float

    @property
    def score(self) -> float:
        """Lower is better: pose and place count alike."""
        return self.mpjpe_mm / 100 + self.pa_mpjpe_mm / 70 + self.distance_percent / 8 + self.height_cm / 30

    def numbers(self) -> dict[str, float]:
        """For logs and cards."""
        return {**{name: float(value) for name, value in asdict(self).items()}, "score": self.score}


def shown(samples: Samples, ray_size: int, *, seed: int = 0) -> CropEvidence:
    """What a network is shown of held-out samples: the truth's intrinsics, and up as an estimate would have it."""
    up_seen = None
    if samples.up is not None:
        generator = torch.Generator().manual_seed(seed)
        up_seen = doubtful_up(samples.up, generator, sigma_deg=_UP_SIGMA_DEG, withheld=0.0)
    return samples.evidence(ray_size, up_seen=up_seen)


@torch.no_grad()
def errors(network: MetricHMR, samples: Samples, parameters: BodyParameters, *, ray_size: int) -> dict[str, Tensor]:
    """Errors of every sample; ``z_*`` are those by the predicted sigma.

    Args:
        network: any mode; left as it was.
        samples: held out, with true intrinsics.
        parameters: body model; a restricted one is fast and gives the same figures.
        ray_size: resolution of the ray map.
    """
    columns: dict[str, list[Tensor]] = {}
    for index in torch.arange(len(samples)).split(_AT_ONCE):
        part = samples[index]
        truth = part.truth(parameters)
        bodies = network.infer(shown(part, ray_size, seed=int(index[0])), part.K_crop, parameters)
        size = _size(bodies)
        joints, translation = bodies.body.coco17_m * size.scale, bodies.translation_m * size.scale[:, 0]
        mine, theirs = _from_hips(joints), _from_hips(truth.joints_m)
        error = (mine - theirs)[:, _BODY].norm(dim=-1).mean(-1)
        aligned = similarity_align(mine[:, _BODY], theirs[:, _BODY]).apply(mine[:, _BODY])
        offsets = (joints - translation[:, None]) - (truth.joints_m - truth.translation_m[:, None])
        distance, true_distance = translation.norm(dim=-1), truth.translation_m.norm(dim=-1)
        # The root of the pose is compared in the camera frame.
        turn = bodies.pose[:, 0].transpose(1, 2) @ parameters.expand(_matrices(part))[:, 0]
        angle = ((turn.diagonal(dim1=1, dim2=2).sum(-1) - 1) / 2).clamp(-1, 1).arccos()
        height = size.height_m - truth.height_m
        rows = {
            "mpjpe": error,
            "pa": (aligned - theirs[:, _BODY]).norm(dim=-1).mean(-1),
            "angle": angle,
            "relative": distance / true_distance - 1,
            "root": (translation - truth.translation_m).norm(dim=-1),
            "height": height,
            "stature": truth.height_m,
            "z_distance": (distance / true_distance).log().abs() / size.distance_sigma,
            "z_height": height.abs() / size.height_sigma_m,
            "z_joints": (offsets.square().mean(-1).sqrt() / bodies.joint_sigma_m).flatten(),
        }
        for name, values in rows.items():
            columns.setdefault(name, []).append(values)
    return {name: torch.cat(values) for name, values in columns.items()}


def validate(network: MetricHMR, samples: Samples, parameters: BodyParameters, *, ray_size: int) -> Validation:
    """Measure a network; arguments as for :func:`errors`."""
    column = errors(network, samples, parameters, ray_size=ray_size)

    adult = column["stature"] >= GROWN_UP_M
    stature = column["stature"][adult]

    def mean(values: Tensor) -> float:
        return float(values.mean()) if len(values) else math.nan

    return Validation(
        samples=len(samples),
        mpjpe_mm=1e3 * mean(column["mpjpe"]),
        pa_mpjpe_mm=1e3 * mean(column["pa"]),
        root_angle_deg=float(column["angle"].rad2deg().median()),
        distance_percent=100 * mean(column["relative"].abs()),
        distance_percent_median=100 * float(column["relative"].abs().median()),
        distance_bias_percent=100 * mean(column["relative"]),
        root_error_m=mean(column["root"]),
        height_cm=100 * mean(column["height"].abs()),
        height_constant_cm=100 * mean((column["stature"] - column["stature"].median()).abs()),
        adult_distance_percent=100 * mean(column["relative"][adult].abs()),
        adult_height_cm=100 * mean(column["height"][adult].abs()),
        adult_height_constant_cm=100 * mean((stature - stature.median()).abs()),
        child_distance_percent=100 * mean(column["relative"][~adult].abs()),
        child_height_cm=100 * mean(column["height"][~adult].abs()),
        within_sigma_distance=mean((column["z_distance"] < 1).float()),
        within_sigma_height=mean((column["z_height"] < 1).float()),
        within_sigma_joints=mean((column["z_joints"] < 1).float()),
    )


@dataclass(frozen=True)
class _Size:
    """What is believed of N sizes: the network's number, or the median of its distribution where it tells one."""

    scale: Float[Tensor, "N 1 1"]
    """By which its bodies and their distances are to be multiplied."""
    height_m: Float[Tensor, "N"]
    height_sigma_m: Float[Tensor, "N"]
    distance_sigma: Float[Tensor, "N"]


def _size(bodies: MetricBodies) -> _Size:
    height, sigma, distance = bodies.body.height_m, bodies.height_sigma_m, bodies.distance_sigma
    if bodies.stature_logits is None:
        return _Size(torch.ones_like(height)[:, None, None], height, sigma, distance)
    median, spread = summary(bodies.stature_logits.softmax(-1))
    return _Size((median / height)[:, None, None], median, spread, distance)


def _from_hips(joints: Float[Tensor, "B 17 3"]) -> Float[Tensor, "B 17 3"]:
    return joints - joints[:, 11:13].mean(1, keepdim=True)


def _matrices(samples: Samples) -> Float[Tensor, "B D 3 3"]:
    import roma

    return roma.rotvec_to_rotmat(samples.pose.float())
