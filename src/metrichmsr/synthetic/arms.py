"""Arms that reach for a point, and arms that stay out of the body they hang beside."""

from __future__ import annotations

import roma
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from metrichmsr.bodies.anny import AnnyBody
from metrichmsr.bodies.protocol import BodyOutput
from metrichmsr.synthetic.contact import PARTS, BodyBalls, depth_into_each_other

LEFT, RIGHT = 0, 1
_MAX_REACH = 0.98
_MAX_ASIDE_RAD = 0.6


class Arms:
    """Moves Anny's arms by the shoulder and the elbow.

    Args:
        body: Anny.
        balls: its balls.
    """

    def __init__(self, body: AnnyBody, balls: BodyBalls) -> None:
        device = body.template.device

        def rows(bone: str) -> Tensor:
            return torch.tensor([body.bone_names.index(f"{bone}.{side}") for side in "LR"], device=device)

        self._shoulder, self._elbow, self._wrist = rows("upperarm01"), rows("lowerarm01"), rows("wrist")
        parents = torch.tensor(body.parents, device=device)
        self._above_shoulder, self._above_elbow = parents[self._shoulder], parents[self._elbow]
        self._balls = balls
        # What hangs from the elbow; the upper arm always lies at the trunk.
        self._lower = [
            torch.isin(balls.ball_part, torch.tensor([PARTS.index(f"hand.{side}")], device=device)) for side in "LR"
        ]
        self._arm = [balls.ball_part == PARTS.index(f"arm.{side}") for side in "LR"]
        self._trunk = torch.isin(
            balls.ball_part, torch.tensor([PARTS.index(p) for p in ("trunk", "leg.L", "leg.R")], device=device)
        )

    def reach(
        self,
        pose: Float[Tensor, "B J 3 3"],
        out: BodyOutput,
        side: Int64[Tensor, "B"],
        target_m: Float[Tensor, "B 3"],
        pole: Float[Tensor, "B 3"],
    ) -> Float[Tensor, "B J 3 3"]:
        """The pose with one wrist at a point, or as near as the arm is long.

        Args:
            pose: of B people.
            out: the body in this pose.
            side: LEFT or RIGHT.
            target_m: where the wrist shall be, in the frame of ``out``.
            pole: which way the elbow points, same frame, any length.
        """
        people = torch.arange(len(pose), device=pose.device)
        joint = out.joints_m
        shoulder, elbow, wrist = (joint[people, bone[side]] for bone in (self._shoulder, self._elbow, self._wrist))
        first, second = bend(shoulder, elbow, wrist, target_m, pole)
        return self._turned(pose, out, side, first, second)

    def out_of_body(
        self, pose: Float[Tensor, "B J 3 3"], out: BodyOutput, *, overlap_m: float = 0.01
    ) -> Float[Tensor, "B J 3 3"]:
        """The pose with arms turned away at the shoulder where they go into trunk or thighs.

        Args:
            pose: of B people.
            out: their bodies with the vertices ``BodyBalls.vertex_ids``.
            overlap_m: how much may stay.
        """
        centers, radii = self._balls(out.vertices_m)
        every = torch.ones(len(pose), 2, dtype=torch.bool, device=pose.device)
        return self._out_of(
            pose, out, centers, radii, (centers[:, self._trunk], radii[:, self._trunk]), every, overlap_m
        )

    def out_of_other(
        self,
        pose: Float[Tensor, "B J 3 3"],
        out: BodyOutput,
        other: BodyOutput,
        moved: Bool[Tensor, "B 2"],
        *,
        overlap_m: float = 0.015,
    ) -> Float[Tensor, "B J 3 3"]:
        """The pose with left and right arms, where ``moved``, turned away at the shoulder from another's body."""
        centers, radii = self._balls(out.vertices_m)
        return self._out_of(pose, out, centers, radii, self._balls(other.vertices_m), moved, overlap_m)

    def girth(self, out: BodyOutput) -> Float[Tensor, "B 1"]:
        """Mean radius of the trunk's balls, metres: about half as deep as the trunk."""
        return self._balls(out.vertices_m)[1][:, self._balls.ball_part == PARTS.index("trunk")].mean(1, keepdim=True)

    def _out_of(
        self,
        pose: Float[Tensor, "B J 3 3"],
        out: BodyOutput,
        centers: Float[Tensor, "B M 3"],
        radii: Float[Tensor, "B M"],
        obstacle: tuple[Float[Tensor, "B L 3"], Float[Tensor, "B L"]],
        moved: Bool[Tensor, "B 2"],
        overlap_m: float,
    ) -> Float[Tensor, "B J 3 3"]:
        people = torch.arange(len(pose), device=pose.device)
        for side in (LEFT, RIGHT):
            balls = self._lower[side] | self._arm[side]
            arm, thick = centers[:, balls], radii[:, balls]
            depth = depth_into_each_other(arm, thick, *obstacle)
            lever = arm - out.joints_m[:, self._shoulder[side]][:, None]
            length = lever.norm(dim=-1)
            # Balls near the shoulder lie in the trunk by nature.
            depth = torch.where((length > 0.45 * length.amax(1, keepdim=True))[..., None], depth, -1.0)
            worst = depth.flatten(1).argmax(1)
            mine, theirs = worst // depth.shape[2], worst % depth.shape[2]
            amount = (depth.flatten(1)[people, worst] - overlap_m).clamp_min(0) * moved[:, side]
            lever, length = lever[people, mine], length[people, mine].clamp_min(0.1)
            away = arm[people, mine] - obstacle[0][people, theirs]
            axis = torch.nn.functional.normalize(torch.linalg.cross(lever, away), dim=-1)
            angle = (amount / length).clamp_max(_MAX_ASIDE_RAD)
            turn = roma.rotvec_to_rotmat(axis * angle[:, None])
            pose = self._turned(pose, out, torch.full_like(people, side), turn, None)
        return pose

    def _turned(
        self,
        pose: Float[Tensor, "B J 3 3"],
        out: BodyOutput,
        side: Int64[Tensor, "B"],
        first: Float[Tensor, "B 3 3"],
        second: Float[Tensor, "B 3 3"] | None,
    ) -> Float[Tensor, "B J 3 3"]:
        """Upper arm turned by ``first``, then the forearm by ``second`` beside, both in the frame of ``out``."""
        people = torch.arange(len(pose), device=pose.device)
        pose = pose.clone()
        upper, lower = self._shoulder[side], self._elbow[side]
        above = out.bone_rotations[people, self._above_shoulder[side]]
        pose[people, upper] = above.transpose(1, 2) @ first @ above @ pose[people, upper]
        if second is not None:
            above = first @ out.bone_rotations[people, self._above_elbow[side]]
            pose[people, lower] = above.transpose(1, 2) @ second @ above @ pose[people, lower]
        return pose


def bend(
    root: Float[Tensor, "B 3"],
    middle: Float[Tensor, "B 3"],
    end: Float[Tensor, "B 3"],
    target: Float[Tensor, "B 3"],
    pole: Float[Tensor, "B 3"],
    *,
    reach: float = _MAX_REACH,
) -> tuple[Float[Tensor, "B 3 3"], Float[Tensor, "B 3 3"]]:
    """How to turn a limb of two bones so that its end is at a target, or as near as it is long.

    ``reach``: of the limb, as a share of both bones' lengths.

    Returns:
        The rotation of the whole limb about its root, and what the second bone is turned by after that.
    """
    upper, lower = (middle - root).norm(dim=-1, keepdim=True), (end - middle).norm(dim=-1, keepdim=True)
    to = target - root
    distance = to.norm(dim=-1, keepdim=True)
    direction = to / distance.clamp_min(1e-6)
    distance = torch.minimum(torch.maximum(distance, (upper - lower).abs() + 0.06), reach * (upper + lower))
    along = (upper.square() + distance.square() - lower.square()) / (2 * distance)
    aside = (upper.square() - along.square()).clamp_min(0).sqrt()
    pole = pole - (pole * direction).sum(-1, keepdim=True) * direction
    new_middle = root + direction * along + torch.nn.functional.normalize(pole, dim=-1) * aside
    first = smallest_rotation(middle - root, new_middle - root)
    second = smallest_rotation(
        (first @ (end - middle)[..., None]).squeeze(-1), root + direction * distance - new_middle
    )
    return first, second


def smallest_rotation(a: Float[Tensor, "B 3"], b: Float[Tensor, "B 3"]) -> Float[Tensor, "B 3 3"]:
    """The rotation by the smallest angle that takes the direction of a to that of b; not for opposite ones."""
    cross = torch.linalg.cross(a, b)
    sine = cross.norm(dim=-1, keepdim=True)
    angle = torch.atan2(sine, (a * b).sum(-1, keepdim=True))
    return roma.rotvec_to_rotmat(cross / sine.clamp_min(1e-9) * angle)
