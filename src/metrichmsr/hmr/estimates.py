"""Bodies of a picture's people with their doubt: what every method of recovery gives."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from metrichmsr.bodies.protocol import BodyOutput


@dataclass(frozen=True)
class BodyEstimates:
    """B bodies in the camera frame, each with its doubt."""

    body: BodyOutput
    pose: Float[Tensor, "B J 3 3"]
    """Parent-relative rotations, root first (body to camera frame)."""
    shape: Float[Tensor, "B S"]
    height_std_m: Float[Tensor, "B"]
    """One sigma of the stature."""
    log_depth_std: Float[Tensor, "B"]
    """One sigma of the distance as a fraction, intrinsics taken as exact."""
    joint_std_m: Float[Tensor, "B 17"] | None = None
    """One sigma (per axis) of the COCO-17 joints relative to the pelvis; None where a method does not tell."""
