"""How heads speak to a body model: which bones they turn, and what its shape parameters may be."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from metrichmsr.bodies.protocol import BodyModel
from metrichmsr.errors import UsageError

_SMPL_BODY_BONES = {"smpl": 24, "smplh": 22, "smplx": 22}


@dataclass(frozen=True)
class BodySizes:
    """Numbers that the heads of a network need to know before any body model is at hand."""

    bones: int
    """Bones that are predicted, the root first."""
    shapes: int
    """Shape parameters."""
    limits: tuple[tuple[float, float], ...] | None = None
    """Range of each shape parameter; None where it is unbounded (SMPL's betas)."""
    age: int | None = None
    """Which of them is age, where one is."""


SIZES = {
    "anny": BodySizes(36, 6, ((0, 1), (-1 / 3, 1), (0, 1), (0, 1), (0, 1), (0, 1)), age=1),
    "smpl": BodySizes(24, 10),
    "smplx": BodySizes(22, 10),
}


class BodyParameters(nn.Module):
    """Predicted rotations of some bones to a whole pose of a body model.

    Args:
        body: the model whose poses are made.
        sizes: the numbers of the network's heads, which must fit.
    """

    def __init__(self, body: BodyModel, sizes: BodySizes) -> None:
        super().__init__()
        driven: tuple[str, ...] = getattr(body, "driven_bones", body.bone_names[: _SMPL_BODY_BONES.get(body.name, 0)])
        if len(driven) != sizes.bones or len(body.shape_names) != sizes.shapes:
            raise UsageError(
                f"the network predicts {sizes.bones} bones and {sizes.shapes} shape parameters; body model "
                f"{body.name!r} has {len(driven)} and {len(body.shape_names)}"
            )
        self.body = body
        self.driven = driven

    def expand(self, rotations: Float[Tensor, "B D 3 3"]) -> Float[Tensor, "B J 3 3"]:
        """All bones' rotations from the predicted ones; others keep the identity (Anny's toes follow the second)."""
        if hasattr(self.body, "expand_pose"):
            return self.body.expand_pose(rotations)  # pyright: ignore[reportCallIssue]
        rest = torch.eye(3, dtype=rotations.dtype, device=rotations.device)
        more = rest.expand(len(rotations), self.body.num_bones - rotations.shape[1], 3, 3)
        return torch.cat([rotations, more], dim=1)
