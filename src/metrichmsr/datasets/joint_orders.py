"""Joint orders of the data sets, in one vocabulary.

COCO's names are used wherever a joint means the same thing; joints that COCO lacks keep a name of their own
(``neck``, ``head_top``, ``pelvis``…). Comparing two sets is then a matter of names, never of index tables.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from metrichmsr.structures import COCO17

LIMBS12 = COCO17[5:]
"""Shoulders, elbows, wrists, hips, knees, ankles: the joints that nearly all sets share, in COCO's order."""

# fmt: off
LSP14 = (
    "right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle",
    "right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist",
    "neck", "head_top",
)
"""Leeds Sports Pose and its extension."""

MPI3DHP17 = (
    "head_top", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist",
    "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle", "pelvis", "spine", "head",
)
"""MPI-INF-3DHP, the 17 joints of its test set."""

MPII16 = (
    "right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle", "pelvis", "thorax",
    "upper_neck", "head_top", "right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow",
    "left_wrist",
)
"""MPII Human Pose."""

AIC14 = (
    "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist",
    "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle", "head_top", "neck",
)
"""AI Challenger."""

CROWDPOSE14 = (*LIMBS12, "head", "neck")
"""CrowdPose, and ExLPose after it."""

JHMDB15 = (
    "neck", "belly", "head", "right_shoulder", "left_shoulder", "right_hip", "left_hip", "right_elbow", "left_elbow",
    "right_knee", "left_knee", "right_wrist", "left_wrist", "right_ankle", "left_ankle",
)
"""JHMDB."""

POSETRACK17 = ("nose", "head_bottom", "head_top", *COCO17[3:])
"""PoseTrack 2018: COCO with the eyes replaced."""
# fmt: on

_SHORT_SIDES = {"r": "right_", "l": "left_"}
_PARTS = ("ankle", "knee", "hip", "wrist", "elbow", "shoulder")


def canonical_name(name: str) -> str:
    """A set's own joint name in the common vocabulary: ``rankle`` and ``Right Ankle`` are both ``right_ankle``."""
    name = name.strip().lower().replace(" ", "_")
    if name[:1] in _SHORT_SIDES and name[1:] in _PARTS:
        return _SHORT_SIDES[name[0]] + name[1:]
    return name


def select_joints(
    joints: Float[np.ndarray, "J D"], names: Sequence[str], wanted: Sequence[str]
) -> Float[np.ndarray, "W D"]:
    """The wanted joints in the wanted order; NaN rows for those that ``names`` lacks."""
    if len(joints) != len(names):
        raise ValueError(f"{len(joints)} joints but {len(names)} names")
    selected = np.full((len(wanted), joints.shape[1]), np.nan)
    index = {name: i for i, name in enumerate(names)}
    for row, name in enumerate(wanted):
        if name in index:
            selected[row] = joints[index[name]]
    return selected


def present(joints: Float[np.ndarray, "*B J D"]) -> Bool[np.ndarray, "*B J"]:
    """Which joints are there at all (no NaN coordinate)."""
    return np.asarray(np.isfinite(joints).all(axis=-1))
