"""Motion to Anny's driven bones: every limb of Anny points where the source's points, and rolls as it rolls.

A bone's rotation in the world is the source's times a constant that takes Anny's limb at the reference pose to the
source's limb at rest: its direction to the direction, and the way its joint bends to the way the source's bends
(elbows bend forward, knees backward, thumbs point forward where palms look down).
"""

from __future__ import annotations

import numpy as np
import roma
import torch
from jaxtyping import Float

from metrichmsr.bodies.anny import AnnyBody
from pose_sources.motion import Motion

_FORWARD = np.array([0.0, -1.0, 0.0])
_MAX_TWIST = 2.0


class Retargeter:
    """Brings motions to Anny.

    Args:
        body: Anny.
    """

    def __init__(self, body: AnnyBody) -> None:
        self._body = body
        joints = body(body.identity_pose(), body.default_shape()[None]).joints_m[0].double().numpy()
        self._at = {name: joints[i] for i, name in enumerate(body.bone_names)}

    def rotvecs(self, motion: Motion) -> Float[np.ndarray, "T D 3"]:
        """Rotation vectors of the driven bones, radians, the root's without heading."""
        world = self._world(motion)
        names, parents = self._body.bone_names, self._body.parents
        turns = []
        for bone in self._body.driven_bones:
            above = parents[names.index(bone)]
            # Bones that are not driven go with the bone above them.
            while above >= 0 and names[above] not in world:
                above = parents[above]
            turn = world[bone]
            turns.append(turn if above < 0 else world[names[above]].transpose(0, 2, 1) @ turn)
        local = torch.from_numpy(np.stack(turns, axis=1))
        local[:, 0] = _without_heading(local[:, 0])
        return roma.rotmat_to_rotvec(local).numpy()

    def _world(self, motion: Motion) -> dict[str, np.ndarray]:
        source = dict(motion.rotations)
        for role, instead in (
            ("spine1", "pelvis"),
            ("spine2", "spine1"),
            ("spine3", "spine2"),
            ("neck", "spine3"),
            ("head", "neck"),
        ):
            source.setdefault(role, source[instead])
        world = {
            "root": source["pelvis"],
            "spine05": _between(source["pelvis"], source["spine1"], 0.5),
            "spine04": source["spine1"],
            "spine03": _between(source["spine1"], source["spine2"], 0.5),
            "spine02": source["spine2"],
            "spine01": source["spine3"],
            "neck01": _between(source["spine3"], source["neck"], 0.6),
            "neck02": source["neck"],
            "neck03": _between(source["neck"], source["head"], 0.5),
            "head": source["head"],
        }
        for side in "LR":
            self._arm(world, source, motion.rest_m, side)
            self._leg(world, source, motion.rest_m, side)
        return world

    def _arm(self, world: dict, source: dict, rest: dict, side: str) -> None:
        at = {name[:-2]: place for name, place in self._at.items() if name.endswith(f".{side}")}
        upper_role, fore_role, hand_role = (f"{role}.{side}" for role in ("upperarm", "forearm", "hand"))
        upper = rest[fore_role] - rest[upper_role]
        fore = rest[hand_role] - rest[fore_role] if hand_role in rest else upper
        our_upper, our_fore = at["lowerarm01"] - at["upperarm01"], at["wrist"] - at["lowerarm01"]
        hinge = np.cross(our_upper, our_fore)
        arm = source[upper_role] @ _align(our_upper, hinge, upper, np.cross(upper, _FORWARD))
        forearm = source[fore_role] @ _align(our_fore, hinge, fore, np.cross(fore, _FORWARD))
        along = at["finger3-1"] - at["wrist"]
        hand = source.get(hand_role, source[fore_role]) @ _align(
            along, at["finger2-1"] - at["finger5-1"], fore, _FORWARD
        )
        clavicle = source.get(f"collar.{side}", source["spine3"])
        axis = our_upper / np.linalg.norm(our_upper)
        twist = _twist(clavicle.transpose(0, 2, 1) @ arm, axis)
        swing = clavicle.transpose(0, 2, 1) @ arm @ _about(axis, -twist)
        world[f"clavicle.{side}"] = clavicle
        world[f"shoulder01.{side}"] = clavicle @ _share(swing, 0.35)
        world[f"upperarm01.{side}"] = arm @ _about(axis, -0.5 * twist)
        world[f"upperarm02.{side}"] = arm
        axis = our_fore / np.linalg.norm(our_fore)
        twist = _twist(forearm.transpose(0, 2, 1) @ hand, axis).clip(-_MAX_TWIST, _MAX_TWIST)
        world[f"lowerarm01.{side}"] = forearm @ _about(axis, 0.15 * twist)
        world[f"lowerarm02.{side}"] = forearm @ _about(axis, 0.6 * twist)
        world[f"wrist.{side}"] = hand

    def _leg(self, world: dict, source: dict, rest: dict, side: str) -> None:
        at = {name[:-2]: place for name, place in self._at.items() if name.endswith(f".{side}")}
        thigh_role, shin_role, foot_role, toe_role = (f"{role}.{side}" for role in ("thigh", "shin", "foot", "toe"))
        thigh, shin = rest[shin_role] - rest[thigh_role], rest[foot_role] - rest[shin_role]
        our_thigh, our_shin = at["lowerleg01"] - at["upperleg01"], at["foot"] - at["lowerleg01"]
        leg = source[thigh_role] @ _align(our_thigh, np.cross(our_thigh, _FORWARD), thigh, np.cross(thigh, _FORWARD))
        calf = source[shin_role] @ _align(our_shin, np.cross(our_shin, _FORWARD), shin, np.cross(shin, _FORWARD))
        toes = rest[toe_role] - rest[foot_role] if toe_role in rest else _FORWARD
        our_toes = at["toe2-1"] - at["foot"]
        # Soles are level in both; only where toes point differs.
        yaw = np.arctan2(toes[0], -toes[1]) - np.arctan2(our_toes[0], -our_toes[1])
        level = _about(np.array([0.0, 0.0, 1.0]), np.array([yaw]))[0]
        foot = source[foot_role] @ level
        axis = our_thigh / np.linalg.norm(our_thigh)
        twist = _twist(world["root"].transpose(0, 2, 1) @ leg, axis)
        world[f"upperleg01.{side}"] = leg @ _about(axis, -0.5 * twist)
        world[f"upperleg02.{side}"] = leg
        axis = our_shin / np.linalg.norm(our_shin)
        twist = _twist(calf.transpose(0, 2, 1) @ foot, axis).clip(-0.6, 0.6)
        world[f"lowerleg01.{side}"] = calf
        world[f"lowerleg02.{side}"] = calf @ _about(axis, 0.5 * twist)
        world[f"foot.{side}"] = foot
        world[f"toe2-1.{side}"] = source[toe_role] @ level if toe_role in source else foot


def _frame(along: np.ndarray, aside: np.ndarray) -> np.ndarray:
    along = along / np.linalg.norm(along)
    aside = aside - along * (aside @ along)
    aside = aside / np.linalg.norm(aside)
    return np.stack([along, aside, np.cross(along, aside)], axis=1)


def _align(along: np.ndarray, aside: np.ndarray, to_along: np.ndarray, to_aside: np.ndarray) -> np.ndarray:
    """The rotation that takes one direction to another and a second one as near as it can."""
    return _frame(to_along, to_aside) @ _frame(along, aside).T


def _about(axis: np.ndarray, angle: np.ndarray) -> np.ndarray:
    return roma.rotvec_to_rotmat(torch.from_numpy(np.outer(angle, axis))).numpy()


def _twist(rotation: np.ndarray, axis: np.ndarray) -> np.ndarray:
    """Angle of the part of a rotation that turns about an axis, −π to π."""
    quaternion = roma.rotmat_to_unitquat(torch.from_numpy(rotation)).numpy()
    angle = 2 * np.arctan2(quaternion[:, :3] @ axis, quaternion[:, 3])
    return (angle + np.pi) % (2 * np.pi) - np.pi


def _share(rotation: np.ndarray, share: float) -> np.ndarray:
    return roma.rotvec_to_rotmat(roma.rotmat_to_rotvec(torch.from_numpy(rotation)) * share).numpy()


def _between(start: np.ndarray, end: np.ndarray, share: float) -> np.ndarray:
    return start @ _share(start.transpose(0, 2, 1) @ end, share)


def _without_heading(root: torch.Tensor) -> torch.Tensor:
    """What is left of rotations R = Rz(yaw)·S when the turn about the vertical is taken away."""
    heading = _twist(root.numpy(), np.array([0.0, 0.0, 1.0]))
    return torch.from_numpy(_about(np.array([0.0, 0.0, 1.0]), -heading)) @ root
