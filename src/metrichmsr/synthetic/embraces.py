"""People who hold each other: an arm round a shoulder, hand in hand, a hug, a child on the arm."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from metrichmsr.bodies.anny import AnnyBody
from metrichmsr.bodies.protocol import BodyOutput
from metrichmsr.synthetic.arms import LEFT, RIGHT, Arms

Embrace = Literal["none", "arm_round", "hand_in_hand", "hug", "carry"]
"""none: they merely touch."""

EMBRACES: tuple[Embrace, ...] = get_args(Embrace)


@dataclass(frozen=True)
class EmbraceMix:
    """What people who touch do: weights for those side by side and for those face to face."""

    row: tuple[float, float, float, float, float] = (0.35, 0.4, 0.25, 0.0, 0.0)
    pair: tuple[float, float, float, float, float] = (0.25, 0.0, 0.0, 0.45, 0.3)

    def weights(self) -> Float[Tensor, "2 5"]:
        """Side by side, face to face; in the order of ``EMBRACES``."""
        return torch.tensor(astuple(self))


class Embracer:
    """Brings arms where an embrace has them.

    Args:
        body: Anny.
        arms: moves its arms.
    """

    def __init__(self, body: AnnyBody, arms: Arms) -> None:
        names = body.bone_names
        self._arms = arms
        self._shoulders = [names.index("upperarm01.L"), names.index("upperarm01.R")]
        self._wrists = [names.index("wrist.L"), names.index("wrist.R")]
        self._low, self._high = names.index("spine04"), names.index("spine02")

    def hold(
        self,
        pose: Float[Tensor, "B J 3 3"],
        out: BodyOutput,
        partner: BodyOutput,
        embrace: Int64[Tensor, "B"],
        *,
        comes: Bool[Tensor, "B"],
    ) -> Float[Tensor, "B J 3 3"]:
        """Poses of B people whose arms do their part of an embrace.

        Args:
            pose: theirs.
            out: their bodies, in the world.
            partner: the bodies they hold, row by row, in the world.
            embrace: rows of ``EMBRACES``.
            comes: True for the one who was put beside the other, False for the other.
        """
        mine, other = _Trunk.of(out, self), _Trunk.of(partner, self)
        to = torch.nn.functional.normalize(_flat(other.middle - mine.middle), dim=-1)
        up = to.new_tensor([0.0, 1.0, 0.0]).expand_as(to)
        near = torch.where(((mine.left * to).sum(-1) > 0), LEFT, RIGHT)
        people = torch.arange(len(pose), device=pose.device)
        my_shoulder = out.joints_m[:, self._shoulders][people, near]
        their = partner.joints_m[:, self._shoulders]
        their_far = torch.where(((their[:, 0] - their[:, 1]) * to).sum(-1) > 0, 0, 1)
        far, close = their[people, their_far], their[people, 1 - their_far]
        my_arm, their_arm = (self._arm_length(who) for who in (out, partner))
        back = 0.9 * self._arms.girth(partner) + 0.03

        def is_a(name: Embrace) -> Tensor:
            return embrace == EMBRACES.index(name)

        # Arm round: over the far shoulder's back; round the waist of taller ones; on the near shoulder of small ones.
        rise = (close - my_shoulder)[:, 1:2]
        round_target = far - back * other.front + 0.02 * up
        waist = other.low - (back + 0.02) * other.front + 0.10 * to
        small = close + 0.08 * up - 0.05 * other.front
        round_target = torch.where(rise > 0.10, waist, torch.where(rise < -0.25, small, round_target))
        round_pole = -other.front - 0.5 * up
        # Hand in hand: half way, hanging.
        lower = torch.maximum(my_shoulder[:, 1:2] - 0.88 * my_arm, close[:, 1:2] - 0.88 * their_arm)
        between = 0.5 * (my_shoulder + close)
        hands = torch.cat([between[:, :1], lower, between[:, 2:]], dim=-1) - 0.035 * to + 0.04 * mine.front
        target = torch.where(is_a("arm_round")[:, None], round_target, hands)
        pole = torch.where(is_a("arm_round")[:, None], round_pole, -mine.front)
        single = is_a("arm_round") & comes | is_a("hand_in_hand")
        pose = torch.where(single[:, None, None, None], self._arms.reach(pose, out, near, target, pole), pose)
        # Both arms: low round the back, or over the shoulders; under and behind a child.
        both = is_a("hug") | is_a("carry") & ~comes
        for side in (LEFT, RIGHT):
            sign = 1.0 if side == LEFT else -1.0
            outward = sign * mine.left
            spine = torch.where(comes[:, None], other.low, other.high)
            hug = spine - (back + 0.03) * other.front + 0.03 * outward
            under = partner.joints_m[:, 0] - (back + 0.05) * up + 0.04 * to + 0.05 * outward
            behind = other.high + (back + 0.03) * to + 0.02 * outward
            carry = under if side == LEFT else behind
            target = torch.where(is_a("hug")[:, None], hug, carry)
            pole = outward - 0.6 * up
            which = torch.full_like(near, side)
            moved = self._arms.reach(pose, out, which, target, pole)
            pose = torch.where(both[:, None, None, None], moved, pose)
        return pose

    def moved(
        self, out: BodyOutput, partner: BodyOutput, embrace: Int64[Tensor, "B"], *, comes: Bool[Tensor, "B"]
    ) -> Bool[Tensor, "B 2"]:
        """Left and right arms that :meth:`hold` moves; arguments as there."""
        mine, other = _Trunk.of(out, self), _Trunk.of(partner, self)
        near = torch.where(((other.middle - mine.middle) * mine.left).sum(-1) > 0, LEFT, RIGHT)

        def is_a(name: Embrace) -> Tensor:
            return embrace == EMBRACES.index(name)

        single = is_a("arm_round") & comes | is_a("hand_in_hand")
        both = is_a("hug") | is_a("carry") & ~comes
        return both[:, None] | single[:, None] & torch.nn.functional.one_hot(near, 2).bool()

    def _arm_length(self, out: BodyOutput) -> Float[Tensor, "B 1"]:
        return (out.joints_m[:, self._wrists] - out.joints_m[:, self._shoulders]).norm(dim=-1).amax(1, keepdim=True)


@dataclass(frozen=True)
class _Trunk:
    """Where B trunks are and which way they face."""

    middle: Float[Tensor, "B 3"]
    low: Float[Tensor, "B 3"]
    high: Float[Tensor, "B 3"]
    left: Float[Tensor, "B 3"]
    front: Float[Tensor, "B 3"]

    @staticmethod
    def of(out: BodyOutput, rig: Embracer) -> _Trunk:
        shoulders = out.joints_m[:, rig._shoulders]
        left = torch.nn.functional.normalize(_flat(shoulders[:, 0] - shoulders[:, 1]), dim=-1)
        up = left.new_tensor([0.0, 1.0, 0.0]).expand_as(left)
        front = torch.linalg.cross(left, up)
        return _Trunk(shoulders.mean(1), out.joints_m[:, rig._low], out.joints_m[:, rig._high], left, front)


def _flat(vector: Float[Tensor, "B 3"]) -> Float[Tensor, "B 3"]:
    return vector * vector.new_tensor([1.0, 0.0, 1.0])
