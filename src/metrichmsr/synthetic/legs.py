"""Legs that bring both feet to the floor where a pose nearly does."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from metrichmsr.bodies.anny import AnnyBody
from metrichmsr.bodies.protocol import BodyOutput
from metrichmsr.synthetic.arms import bend
from metrichmsr.synthetic.contact import PARTS, BodyBalls

_REACH = 0.9995
"""People stand on straight legs, if not on stretched ones."""


class Legs:
    """Bends Anny's legs.

    Captured poses were taken from other bodies, and noise is added to them: of two feet that stood, one ends up a
    little above the other. Bending the knee of the longer leg mends that.

    Args:
        body: Anny.
        balls: its balls.
    """

    def __init__(self, body: AnnyBody, balls: BodyBalls) -> None:
        names, parents = body.bone_names, body.parents

        def rows(bone: str) -> list[int]:
            return [names.index(f"{bone}.{side}") for side in "LR"]

        self._hip, self._knee, self._foot = rows("upperleg01"), rows("lowerleg01"), rows("foot")
        self._above = {bone: parents[bone] for bone in (*self._hip, *self._knee, *self._foot)}
        self._sole = [balls.part == PARTS.index(f"foot.{side}") for side in "LR"]

    def settled(
        self, pose: Float[Tensor, "B J 3 3"], out: BodyOutput, which: Bool[Tensor, "B"], *, most_m: float = 0.04
    ) -> Float[Tensor, "B J 3 3"]:
        """The pose with the soles equally low, where one is at most ``most_m`` above the other.

        Args:
            pose: of B people.
            out: their bodies with the vertices ``BodyBalls.vertex_ids``, y up.
            which: whose feet both stand.
            most_m: legs that differ by more are lifted on purpose.
        """
        low = torch.stack([out.vertices_m[:, sole, 1].amin(1) for sole in self._sole], dim=1)
        above = (low.amax(1, keepdim=True) - low).clamp_min(0)
        above = torch.where((which & (above.amax(1) <= most_m))[:, None], above, 0.0)
        pose = pose.clone()
        for side in (0, 1):
            hip, knee, foot = self._hip[side], self._knee[side], self._foot[side]
            at = out.joints_m
            lift = torch.zeros_like(at[:, foot])
            lift[:, 1] = above[:, side]
            # Knees bend the way they do, or else to where the toes point.
            toes = out.vertices_m[:, self._sole[side]].mean(1) - at[:, foot]
            pole = at[:, knee] - 0.5 * (at[:, hip] + at[:, foot]) + 0.2 * toes
            first, second = bend(at[:, hip], at[:, knee], at[:, foot], at[:, foot] + lift, pole, reach=_REACH)
            turned = (lift[:, 1] > 1e-4)[:, None, None]
            eye = torch.eye(3, device=pose.device).expand_as(first)
            first, second = torch.where(turned, first, eye), torch.where(turned, second, eye)
            rotation = out.bone_rotations
            over_hip, over_knee, over_foot = (rotation[:, self._above[bone]] for bone in (hip, knee, foot))
            pose[:, hip] = over_hip.mT @ first @ over_hip @ pose[:, hip]
            over_knee = first @ over_knee
            pose[:, knee] = over_knee.mT @ second @ over_knee @ pose[:, knee]
            # The foot itself keeps its turn in the world.
            pose[:, foot] = (second @ first @ over_foot).mT @ rotation[:, foot]
        return pose
