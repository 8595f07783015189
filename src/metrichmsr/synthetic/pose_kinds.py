"""What a pose is: standing, sitting on something, lying…, told from where its joints are."""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from metrichmsr.bodies.anny import AnnyBody
from metrichmsr.bodies.kinematics import KinematicTree

PoseKind = Literal["standing", "gesturing", "dynamic", "sitting", "ground", "kneeling", "lying", "acrobatic"]
"""standing: also walking, arms hanging; gesturing: the same with arms bent, stretched or raised; dynamic: running,
kicking, dancing, bending, with a leg or the trunk far from upright; sitting: on something as high as a chair; ground:
sitting, squatting or crawling there; acrobatic: upside down."""

KINDS: tuple[PoseKind, ...] = get_args(PoseKind)
UPRIGHT = tuple(KINDS.index(kind) for kind in ("standing", "gesturing"))
"""Rows of ``KINDS`` of people who stand on their feet."""


@dataclass(frozen=True)
class PoseMix:
    """How often each kind of pose is drawn: weights of any scale, none negative."""

    standing: float = 0.24
    gesturing: float = 0.17
    dynamic: float = 0.20
    sitting: float = 0.17
    ground: float = 0.08
    kneeling: float = 0.06
    lying: float = 0.08
    acrobatic: float = 0.03

    def weights(self) -> Float[Tensor, "8"]:
        """In the order of ``KINDS``."""
        return torch.tensor(astuple(self), dtype=torch.float32)


@dataclass(frozen=True)
class PoseTraits:
    """What the joints of N poses tell, on an average adult."""

    kind: Int64[Tensor, "N"]
    """Rows of ``KINDS``."""
    lean_m: Float[Tensor, "N"]
    """How far the weight is, seen from above, from what touches the floor."""
    unsupported: Bool[Tensor, "N"]
    """The weight is far from above what is lowest: a jump, a swing, or something that held the person is missing."""


class PoseReader:
    """Joints of an average adult from the driven bones' rotations alone: cheap enough for tens of thousands of poses.

    Args:
        body: Anny.
    """

    def __init__(self, body: AnnyBody) -> None:
        names = body.driven_bones
        place = {name: i for i, name in enumerate(names)}
        row = [body.bone_names.index(name) for name in names]
        parents = []
        for index in row:
            above = body.parents[index]
            while above >= 0 and body.bone_names[above] not in place:
                above = body.parents[above]
            parents.append(-1 if above < 0 else place[body.bone_names[above]])
        heads = body(body.identity_pose(), body.default_shape()[None]).joints_m[0, row].cpu()
        self.tree = KinematicTree(tuple(parents))
        self.offsets = heads - heads[self.tree.safe_parents]
        self._place = place

    def joints(self, rotations: Float[Tensor, "N D 3 3"]) -> Float[Tensor, "N D 3"]:
        """Heads of the driven bones, metres, z up, the pelvis at the origin."""
        return self.tree.joints(self.tree.rotations(rotations), self.offsets)

    def traits(self, rotations: Float[Tensor, "N D 3 3"]) -> PoseTraits:
        """What kind each pose is of, from rotations of the driven bones without heading (z up)."""
        joints = self.joints(rotations)
        at = {name: joints[:, i] for name, i in self._place.items()}
        ankles = torch.stack([at["foot.L"], at["foot.R"]], dim=1)
        toes = torch.stack([at["toe2-1.L"], at["toe2-1.R"]], dim=1)
        knees = torch.stack([at["lowerleg01.L"], at["lowerleg01.R"]], dim=1)
        hips = torch.stack([at["upperleg01.L"], at["upperleg01.R"]], dim=1)
        wrists = torch.stack([at["wrist.L"], at["wrist.R"]], dim=1)
        shoulders = torch.stack([at["upperarm01.L"], at["upperarm01.R"]], dim=1)
        head = at["head"][:, None]
        # Skin lies lower than bone heads: ankles 7 cm, toes and wrists 3 cm, knees 5 cm, the bottom and the back 12 cm.
        carriers = torch.cat([ankles, toes, knees, wrists, hips, shoulders, head], dim=1)
        flesh = carriers.new_tensor([0.07] * 2 + [0.03] * 2 + [0.05] * 2 + [0.03] * 2 + [0.12] * 4 + [0.08])
        height = carriers[..., 2] - flesh
        floor = height.amin(1)
        pelvis_up = -floor
        trunk = at["neck01"] - at["root"]
        tilt = _angle_to_up(trunk)
        thighs = knees - hips
        flexion = torch.rad2deg(torch.acos(_cosine(thighs, -trunk[:, None].expand_as(thighs)).clamp(-1, 1)))
        thigh_swing = _angle_to_up(-thighs).amax(1)
        knee_up = knees[..., 2] - 0.05 - floor[:, None]
        foot_up = torch.minimum(ankles[..., 2] - 0.07, toes[..., 2] - 0.03) - floor[:, None]
        wrist_below = ankles[..., 2].amin(1) - wrists[..., 2].amin(1)
        # Weight: half in the trunk, the rest in limbs and head.
        weight = (
            0.5 * (at["root"] + at["neck01"]) * 0.5
            + 0.08 * head[:, 0]
            + 0.27 * (hips + knees + ankles).mean((1,)) / 3
            + 0.15 * (shoulders + wrists).mean(1) / 2
        )
        touching = (height - floor[:, None] < 0.06).float()
        middle = (carriers * touching[..., None]).sum(1) / touching.sum(1, keepdim=True)
        spread = ((carriers - middle[:, None])[..., :2].norm(dim=-1) * touching).amax(1)
        lean = (weight - middle)[:, :2].norm(dim=-1) - spread
        unsupported = lean > 0.22
        seated = (flexion.amin(1) > 55) & (tilt < 45) & (lean > 0.08) & (knee_up.amin(1) > 0.2) & (pelvis_up < 0.75)
        kind = torch.full((len(joints),), KINDS.index("dynamic"))

        def claim(name: PoseKind, where: Tensor) -> None:
            kind[where] = KINDS.index(name)

        upright = (tilt < 28) & (thigh_swing < 32) & (foot_up.amax(1) < 0.2)
        hands_low = (wrists[..., 2].amax(1) < 0.1) & ((wrists - hips)[..., :2].norm(dim=-1).amax(1) < 0.4)
        claim("gesturing", upright)
        claim("standing", upright & hands_low)
        claim("sitting", seated)
        claim("kneeling", (knee_up.amax(1) < 0.10) & (tilt < 60))
        claim("ground", (pelvis_up < 0.42) & (tilt < 100))
        claim("lying", (pelvis_up < 0.36) & (tilt > 55))
        claim("acrobatic", ((tilt > 100) & (foot_up.amax(1) > 0.35) | (wrist_below > 0.15)) & (pelvis_up > 0.42))
        return PoseTraits(kind, lean, unsupported)


def _angle_to_up(direction: Float[Tensor, "*N 3"]) -> Float[Tensor, "*N"]:
    return torch.atan2(direction[..., :2].norm(dim=-1), direction[..., 2]) * (180 / math.pi)


def _cosine(a: Tensor, b: Tensor) -> Tensor:
    return torch.nn.functional.cosine_similarity(a, b, dim=-1)
