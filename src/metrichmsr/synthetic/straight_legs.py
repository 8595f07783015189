"""Knees as straight as people have them.

Captured poses were brought to this body by matching joints of another one, whose legs are shorter: so even of people
who stand the straighter knee was bent by 28° in the median, measured between hip, knee and ankle, and is by 13° now.
8° of both are this body's: its joints lie so where its leg is straight. From bent knees a network learns that legs are
longer than they look, and puts everybody who stands straight too near.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import roma
import torch
from jaxtyping import Float
from torch import Tensor

EXCESS_DEG = 17.0
"""By how much knees that are nearly straight are bent too far…"""
FADES_DEG = 70.0
"""…and the scale over which that fades: who sits or squats bends them as far as they are captured."""


def straightened(rotvec: Float[Tensor, "N D 3"], bones: Sequence[str]) -> Float[Tensor, "N D 3"]:
    """Poses with straighter knees; hip and ankle each take back half, so that feet stay below and soles as they were.

    Args:
        rotvec: rotation vectors of the driven bones, radians; a knee's flexion is about x.
        bones: names of the driven bones.
    """
    changed = rotvec.clone()
    for side in ("L", "R"):
        hip, knee, ankle = (bones.index(f"{bone}.{side}") for bone in ("upperleg01", "lowerleg01", "foot"))
        flexion = rotvec[:, knee, 0].rad2deg()
        excess = EXCESS_DEG * torch.exp(-(flexion / FADES_DEG).square())
        # Nobody's knee is bent backwards by this.
        less = torch.minimum(excess, flexion.clamp_min(0.0)) * (math.pi / 180)
        changed[:, knee] = _turned(rotvec[:, knee], -less)
        changed[:, hip] = _turned(rotvec[:, hip], 0.5 * less)
        changed[:, ankle] = _turned(rotvec[:, ankle], 0.5 * less)
    return changed


def _turned(rotvec: Float[Tensor, "N 3"], angle: Float[Tensor, "N"]) -> Float[Tensor, "N 3"]:
    """Turned about their own x first."""
    about_x = torch.zeros_like(rotvec)
    about_x[:, 0] = angle
    return roma.rotvec_composition((rotvec, about_x))
