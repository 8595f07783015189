"""People who just stand: knees straight, trunk over hips.

Motion capture shows people who do something. Of its upright poses one in a hundred had both knees within 6° of straight
and the trunk within 8° of the vertical, and the median trunk leans forward by 7°; of people in photographs most
stand so. A network that never saw anybody stand straight takes a straight leg for a bent one that points at the
camera, and puts its owner too near.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

QUIET_SHARE = 0.5
"""Share of upright poses that are calmed."""
LEAST_AMOUNT = 0.65
"""How much of a pose is taken away at least where it is calmed; at most all of it."""

_CALMED = ("root", "spine", "upperleg", "lowerleg", "foot", "toe")


def calmed(rotvec: Float[Tensor, "N D 3"], amount: Float[Tensor, "N"], bones: Sequence[str]) -> Float[Tensor, "N D 3"]:
    """Poses with legs and trunk nearer to the body's own upright rest; arms and head do what they did.

    Args:
        rotvec: rotation vectors of the driven bones, radians, the root's without heading.
        amount: 0 leaves a pose as it is, 1 has legs and trunk at rest.
        bones: names of the driven bones.
    """
    legs_and_trunk = torch.tensor([bone.startswith(_CALMED) for bone in bones], device=rotvec.device)
    kept = torch.where(legs_and_trunk[None, :], 1 - amount[:, None], 1.0)
    return rotvec * kept[..., None]


def amounts(upright: Tensor, generator: torch.Generator) -> Float[Tensor, "N"]:
    """By how much each pose is calmed: 0 for those that are not upright and for the lively half of those that are.

    Args:
        upright: (N,) whether each pose is of an upright kind.
        generator: of the CPU.
    """
    u = torch.rand(2, len(upright), generator=generator).to(upright.device)
    amount = LEAST_AMOUNT + (1 - LEAST_AMOUNT) * u[1]
    return torch.where(upright & (u[0] < QUIET_SHARE), amount, 0.0)
