"""Hands: how far each finger is curled and spread.

Anny's identity pose has a relaxed hand. A hand pose says how each finger departs from straight: bends at its three
joints, its spread, and how far the thumb lies over the palm. Styles (flat, fist, pointing…) are mixed with noise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import roma
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from metrichmsr.bodies.anny import AnnyBody

STYLES = ("relaxed", "flat", "spread", "fist", "pointing", "grip", "victory", "thumb_up", "pinch", "claw")
"""Named hand poses."""

_COMMON = (0.36, 0.14, 0.08, 0.14, 0.06, 0.12, 0.02, 0.02, 0.03, 0.03)
_CARRYING = (0.20, 0.60, 0.18, 0.02, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)

# Degrees at the three joints of thumb, index, middle, ring and little finger, 0 being straight (thumb: as at rest).
_BENDS = {
    "relaxed": ((0, 8, 8), (25, 28, 16), (30, 32, 18), (34, 35, 20), (36, 34, 20)),
    "flat": ((0, 0, 0), (2, 2, 2), (2, 2, 2), (2, 2, 2), (2, 2, 2)),
    "spread": ((-14, -6, -5), (0, 2, 2), (0, 2, 2), (0, 2, 2), (2, 2, 2)),
    "fist": ((12, 30, 42), (76, 92, 52), (80, 94, 54), (82, 94, 54), (82, 90, 52)),
    "pointing": ((12, 28, 35), (2, 4, 2), (74, 90, 50), (80, 92, 52), (82, 90, 50)),
    "grip": ((10, 16, 18), (46, 50, 26), (50, 54, 28), (54, 56, 30), (56, 54, 30)),
    "victory": ((14, 28, 38), (2, 4, 2), (2, 4, 2), (76, 92, 50), (78, 90, 50)),
    "thumb_up": ((-16, -8, -8), (76, 92, 50), (78, 94, 52), (80, 94, 52), (80, 90, 50)),
    "pinch": ((14, 18, 22), (46, 48, 26), (34, 34, 18), (28, 28, 16), (24, 24, 14)),
    "claw": ((-6, 16, 24), (14, 52, 38), (14, 54, 40), (16, 54, 40), (18, 52, 38)),
}
# Degrees between neighbouring fingers beyond rest, and how far the thumb is brought across the palm.
_SPREADS = {"spread": 9.0, "flat": -4.0, "victory": 7.0, "claw": 6.0, "fist": -4.0, "thumb_up": -4.0, "grip": -3.0}
_OPPOSE = {"fist": 34.0, "pointing": 34.0, "grip": 26.0, "pinch": 26.0, "victory": 34.0, "flat": -4.0, "spread": -16.0}


@dataclass(frozen=True)
class HandNoise:
    """Spread of what is added to a style."""

    joint_deg: float = 7.0
    finger_share: float = 0.18
    """How much each finger's bend differs from the style's, as a share of it."""
    mixed: float = 0.35
    """Share of hands that lie between two styles."""


class HandPoser:
    """Poses Anny's fingers.

    Args:
        body: Anny; finger axes come from its joints.
    """

    def __init__(self, body: AnnyBody) -> None:
        device = body.template.device
        names = {name: i for i, name in enumerate(body.bone_names)}
        joints = body(body.identity_pose(), body.default_shape()[None]).joints_m[0].cpu()
        bones, bend_axes, spread_axes, oppose_axes, rest = [], [], [], [], []
        for side in ("L", "R"):
            at = {f: [joints[names[f"finger{f}-{k}.{side}"]] for k in (1, 2, 3)] for f in range(1, 6)}
            wrist = joints[names[f"wrist.{side}"]]
            across = at[2][0] - at[5][0]
            along = at[3][0] - wrist
            palm = _unit(torch.linalg.cross(across, along))
            for finger in range(1, 6):
                first, second, third = at[finger]
                # At rest fingers are a little bent: the plane of their joints is the one they bend in.
                axis = _unit(torch.linalg.cross(second - first, third - second))
                base = first - (wrist if finger > 1 else joints[names[f"metacarpal1.{side}"]])
                bends = [_angle(base, second - first, axis), _angle(second - first, third - second, axis)]
                bends.append(0.7 * bends[1])
                if finger == 1:
                    bends = [0.0, 0.0, 0.0]
                for k in range(3):
                    bones.append(names[f"finger{finger}-{k + 1}.{side}"])
                    bend_axes.append(axis)
                    rest.append(bends[k])
                    spread_axes.append(palm * float(k == 0) * (0.0 if finger == 1 else finger - 3.3))
                    oppose_axes.append(_unit(along) * float(k == 0 and finger == 1) * (1.0 if side == "L" else -1.0))
        self.bones = torch.tensor(bones, device=device)
        self._bend_axes = torch.stack(bend_axes).to(device)
        self._spread_axes = torch.stack(spread_axes).to(device)
        self._oppose_axes = torch.stack(oppose_axes).to(device)
        self._rest = torch.tensor(rest, device=device)
        table = torch.tensor([_BENDS[style] for style in STYLES]).flatten(1)
        self._bends = torch.deg2rad(table.float()).to(device)
        self._spreads = torch.deg2rad(torch.tensor([_SPREADS.get(s, 0.0) for s in STYLES])).to(device)
        self._oppose = torch.deg2rad(torch.tensor([_OPPOSE.get(s, 0.0) for s in STYLES])).to(device)

    def styles(self, bearing: Float[Tensor, "P 2"], generator: torch.Generator) -> Int64[Tensor, "P 2"]:
        """A style for the left and the right hand of each person.

        Args:
            bearing: 1 where the hand rests on the ground, which calls for flat ones, 0 elsewhere.
            generator: of the CPU.
        """
        common, carrying = torch.tensor(_COMMON), torch.tensor(_CARRYING)
        weights = torch.lerp(common, carrying, bearing.cpu()[..., None])
        drawn = torch.multinomial(weights.flatten(0, 1), 1, generator=generator).view(-1, 2)
        # Both hands often do the same.
        same = torch.rand(len(drawn), generator=generator) < 0.35
        drawn[:, 1] = torch.where(same & (bearing.cpu()[:, 0] == bearing.cpu()[:, 1]), drawn[:, 0], drawn[:, 1])
        return drawn.to(bearing.device)

    def rotations(
        self,
        styles: Int64[Tensor, "P 2"],
        generator: torch.Generator | None = None,
        *,
        noise: HandNoise | None = None,
    ) -> Float[Tensor, "P 30 3 3"]:
        """Parent-relative rotations of ``bones``: fifteen of the left hand, fifteen of the right.

        Args:
            styles: rows of ``STYLES`` for left and right hand.
            generator: of the CPU; needed with noise.
            noise: departures from the styles; none if left out.
        """
        people = len(styles)
        bend, spread, oppose = self._bends[styles], self._spreads[styles], self._oppose[styles]
        if noise is not None:
            if generator is None:
                raise ValueError("noise needs a generator")
            u = torch.rand(people, 2, 3, generator=generator).to(bend)
            normal = torch.randn(people, 2, 22, generator=generator).clamp_(-2, 2).to(bend)
            other = torch.multinomial(torch.tensor(_COMMON), people * 2, replacement=True, generator=generator)
            other = other.view(people, 2).to(styles.device)
            blend = torch.where(u[..., 0] < noise.mixed, u[..., 1], torch.zeros_like(u[..., 1]))
            bend = torch.lerp(bend, self._bends[other], blend[..., None])
            spread = torch.lerp(spread, self._spreads[other], blend)
            oppose = torch.lerp(oppose, self._oppose[other], blend)
            share = 1 + noise.finger_share * normal[..., 15:20].repeat_interleave(3, dim=-1)
            jitter = torch.deg2rad(normal[..., :15] * noise.joint_deg)
            jitter = jitter * jitter.new_tensor([1.0, 0.8, 0.5]).repeat(5)
            bend = (bend * share + jitter).clamp(math.radians(-20.0), math.radians(100.0))
            spread = spread + torch.deg2rad(normal[..., 20] * 2.0)
            oppose = oppose + torch.deg2rad(normal[..., 21] * 6.0)
        bend = bend.flatten(1) - self._rest
        # Curled fingers cannot be spread.
        spread, oppose = (value.repeat_interleave(15, dim=1)[..., None] for value in (spread, oppose))
        side = roma.rotvec_to_rotmat(self._spread_axes * spread + self._oppose_axes * oppose)
        return side @ roma.rotvec_to_rotmat(self._bend_axes * bend[..., None])


def _unit(vector: Tensor) -> Tensor:
    return vector / vector.norm()


def _angle(a: Tensor, b: Tensor, axis: Tensor) -> float:
    """Signed angle from a to b about an axis, seen along it."""
    a, b = a - (a @ axis) * axis, b - (b @ axis) * axis
    return float(torch.atan2(torch.linalg.cross(a, b) @ axis, a @ b))
