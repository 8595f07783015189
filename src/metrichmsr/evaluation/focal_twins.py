"""Focal twins: the same people framed alike at several focal lengths. What changes between them is the method's.

A method that guesses the focal length, or ignores it, sees the same person in each and puts them at the wrong distance,
or gives them another height and another pose. None of these measures compares with the truth but for the size that the
distance implies, so a method can be consistent and wrong.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
import torch
from jaxtyping import Float

from metrichmsr.evaluation.metrics import pa_mpjpe_mm


@dataclass(frozen=True)
class TwinSpread:
    """How much one person changes between their twins; NaN where fewer than two were found."""

    twins: int
    """How many were found."""
    height_m: float
    """Standard deviation of the predicted height among the twins."""
    pose_mm: float
    """Mean PA-MPJPE between all pairs of twins, both ways."""
    size_percent: float
    """Standard deviation of the size that the predicted distance implies, in percent of the mean size."""


def implied_size_m(
    predicted_root_m: Float[np.ndarray, "*B 3"],
    true_root_m: Float[np.ndarray, "*B 3"],
    height_m: Float[np.ndarray, "*B"],
) -> Float[np.ndarray, "*B"]:
    """How tall somebody who looks as large in the picture would be at the predicted distance.

    The picture fixes height over distance, so this is the true height times predicted over true distance: whatever the
    camera, it should be the height.
    """
    distance = np.linalg.norm(predicted_root_m, axis=-1) / np.linalg.norm(true_root_m, axis=-1)
    return height_m * distance


def pose_spread_mm(joints_m: Float[np.ndarray, "T J 3"]) -> float:
    """Mean over all ordered pairs of PA-MPJPE between T poses of one person; NaN for fewer than two."""
    pairs = list(permutations(range(len(joints_m)), 2))
    if not pairs:
        return float("nan")
    one, other = (torch.as_tensor(joints_m[[pair[side] for pair in pairs]], dtype=torch.float64) for side in (0, 1))
    return float(pa_mpjpe_mm(one, other).mean())


def twin_spread(
    height_m: Float[np.ndarray, "T"],
    joints_m: Float[np.ndarray, "T J 3"],
    root_m: Float[np.ndarray, "T 3"],
    true_root_m: Float[np.ndarray, "T 3"],
    true_height_m: Float[np.ndarray, "T"],
) -> TwinSpread:
    """The spread among the twins of one scene.

    Args:
        height_m: predicted statures.
        joints_m: predicted joints, any set and frame.
        root_m: predicted pelves, camera frame.
        true_root_m: true pelves, camera frame.
        true_height_m: true statures (the same for all).
    """
    if len(height_m) < 2:
        return TwinSpread(len(height_m), *3 * [float("nan")])
    size = implied_size_m(root_m, true_root_m, true_height_m)
    return TwinSpread(
        twins=len(height_m),
        height_m=float(np.std(height_m)),
        pose_mm=pose_spread_mm(joints_m),
        size_percent=float(100 * np.std(size) / np.mean(size)),
    )


def scenes_of(names: Sequence[Hashable]) -> list[list[int]]:
    """Which samples belong to each scene, by the scene's name; in order of first appearance."""
    scenes: dict[Hashable, list[int]] = {}
    for index, name in enumerate(names):
        scenes.setdefault(name, []).append(index)
    return list(scenes.values())
