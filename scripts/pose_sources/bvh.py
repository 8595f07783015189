"""BVH files: y up; at rest (all angles 0) the body stands facing +z, as in CMU's, Mixamo's and most others."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import roma
import torch
from jaxtyping import Float

from metrichmsr.errors import InputError
from pose_sources.motion import NEEDED, Y_UP_TO_Z_UP, Motion

# Names of joints in the usual skeletons, without prefixes, signs and case; {} is left/right or l/r.
_NAMES: dict[str, tuple[str, ...]] = {
    "pelvis": ("hips", "pelvis", "root", "hip"),
    "spine1": ("lowerback", "spine", "spine1", "abdomen", "waist"),
    "spine2": ("spine1", "spine", "spine2", "chest", "spine01"),
    "spine3": ("spine2", "spine1", "spine3", "chest2", "upperchest", "spine02", "chest"),
    "neck": ("neck1", "neck", "necktwist01"),
    "head": ("head",),
    "thigh": ("{}upleg", "{}thigh", "{}hip", "{}upperleg"),
    "shin": ("{}leg", "{}calf", "{}knee", "{}shin", "{}lowerleg"),
    "foot": ("{}foot", "{}ankle"),
    "toe": ("{}toebase", "{}toe", "{}toes"),
    "collar": ("{}shoulder", "{}clavicle", "{}collar"),
    "upperarm": ("{}arm", "{}upperarm", "{}uparm", "{}shoulder"),
    "forearm": ("{}forearm", "{}elbow", "{}lowerarm", "{}lowarm"),
    "hand": ("{}hand", "{}wrist"),
}


@dataclass
class _Skeleton:
    names: list[str] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    offsets: list[list[float]] = field(default_factory=list)
    channels: list[list[str]] = field(default_factory=list)


def read_bvh(path: Path) -> Motion:
    """Read one clip.

    Raises:
        InputError: the file is no BVH, or its skeleton lacks a limb.
    """
    try:
        text = path.read_text(encoding="latin-1")
        head, motion = text.split("MOTION", 1)
        skeleton = _skeleton(head)
        lines = motion.split("\n")
        numbers = " ".join(line for line in lines if not re.match(r"\s*(Frames|Frame Time)\s*:", line)).split()
        seconds = float(next(line for line in lines if "Frame Time" in line).split(":")[1])
        width = sum(len(channels) for channels in skeleton.channels)
        values = np.array(numbers, dtype=np.float64)
        values = values[: len(values) // width * width].reshape(-1, width)
    except (OSError, ValueError, StopIteration, IndexError, ZeroDivisionError) as error:
        raise InputError(f"{path}: not a BVH file ({error})") from error
    if len(values) == 0 or not np.isfinite(values).all() or seconds <= 0:
        raise InputError(f"{path}: no frames, or numbers that are none")
    row = _roles(skeleton.names)
    missing = [role for role in NEEDED if role not in row]
    if missing:
        raise InputError(f"{path}: no joint for {', '.join(missing)} among {', '.join(skeleton.names)}")
    world = _world_rotations(skeleton, values)
    rest = np.zeros((len(skeleton.names), 3))
    for joint, parent in enumerate(skeleton.parents):
        rest[joint] = (rest[parent] + skeleton.offsets[joint]) if parent >= 0 else 0.0
    turn = Y_UP_TO_Z_UP
    return Motion(
        name=path.stem,
        rotations={role: turn @ world[joint] @ turn.T for role, joint in row.items()},
        rest_m={role: turn @ rest[joint] for role, joint in row.items()},
        frame_rate=1 / seconds,
    )


def _skeleton(head: str) -> _Skeleton:
    skeleton = _Skeleton()
    stack: list[int] = []
    in_end_site = False
    for line in head.split("\n"):
        words = line.split()
        if not words:
            continue
        if words[0] in ("ROOT", "JOINT"):
            skeleton.names.append(" ".join(words[1:]))
            skeleton.parents.append(stack[-1] if stack else -1)
            skeleton.offsets.append([0.0, 0.0, 0.0])
            skeleton.channels.append([])
            stack.append(len(skeleton.names) - 1)
        elif words[0] == "End":
            in_end_site = True
        elif words[0] == "OFFSET" and not in_end_site:
            skeleton.offsets[stack[-1]] = [float(word) for word in words[1:4]]
        elif words[0] == "CHANNELS":
            skeleton.channels[stack[-1]] = words[2 : 2 + int(words[1])]
        elif words[0] == "}":
            if in_end_site:
                in_end_site = False
            else:
                stack.pop()
    if not skeleton.names:
        raise ValueError("no skeleton")
    return skeleton


def _world_rotations(skeleton: _Skeleton, values: Float[np.ndarray, "T C"]) -> list[Float[np.ndarray, "T 3 3"]]:
    world: list[np.ndarray] = []
    start = 0
    for parent, channels in zip(skeleton.parents, skeleton.channels, strict=True):
        columns = [(start + i, name[0]) for i, name in enumerate(channels) if name.endswith("rotation")]
        start += len(channels)
        turn = np.tile(np.eye(3), (len(values), 1, 1))
        for column, axis in columns:
            vector = torch.zeros(len(values), 3, dtype=torch.float64)
            vector[:, "XYZ".index(axis)] = torch.from_numpy(np.radians(values[:, column]))
            turn = turn @ roma.rotvec_to_rotmat(vector).numpy()
        world.append(turn if parent < 0 else world[parent] @ turn)
    return world


def _roles(names: list[str]) -> dict[str, int]:
    """Which joint plays which role; a joint plays one only."""
    plain = [re.sub(r"[^a-z0-9]", "", re.sub(r"^.*:|^CC_Base_|^Bip\d+", "", name).lower()) for name in names]
    row: dict[str, int] = {}
    # Limbs first: some skeletons call the upper arm a shoulder.
    for role in ("pelvis", "thigh", "shin", "foot", "toe", "upperarm", "forearm", "hand", "collar"):
        sides = (("", ""),) if role == "pelvis" else ((".L", "left"), (".R", "right"), (".L", "l"), (".R", "r"))
        for suffix, side in sides:
            for pattern in _NAMES[role]:
                found = pattern.format(side)
                if role + suffix not in row and found in plain and plain.index(found) not in row.values():
                    row[role + suffix] = plain.index(found)
    for role in ("spine3", "spine2", "spine1", "neck", "head"):
        for found in _NAMES[role]:
            if role not in row and found in plain and plain.index(found) not in row.values():
                row[role] = plain.index(found)
    return row
