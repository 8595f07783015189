"""How a rest body bulges with its pose, as a few morph targets: what skinning alone cannot carry to other programs.

SMPL adds to its rest body a displacement that is linear in the pose's rotation matrices (207 to 486 numbers) before the
bones move it. Few of these directions matter in one motion: its displacements are reduced to their principal ones.
Anny has no such displacement.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from metrichmsr.bodies.protocol import BodyModel

WITHIN_M = 0.0002
"""How far a rest vertex may stay off in the frames that the targets are made of."""
_MOST_FRAMES = 512
_CHUNK = 64


def pose_correctives(
    body: BodyModel, pose: Float[Tensor, "N J 3 3"], shape: Float[Tensor, "1 S"]
) -> tuple[Float[np.ndarray, "K V 3"], Float[np.ndarray, "N K"]]:
    """Morph targets in the body frame, metres, and their weight in each pose; K is 0 where the body has none.

    Up to 512 poses, evenly chosen, make the targets; any others are brought as near as these let them.
    """
    none = np.zeros((0, body.num_vertices, 3), np.float32), np.zeros((len(pose), 0), np.float32)
    with torch.no_grad():
        if len(body.skinning(body.identity_pose(2), shape).rest_m) == 1:  # one rest body whatever the pose
            return none
    still = _rest(body, body.identity_pose(), shape)
    chosen = np.unique(np.linspace(0, len(pose) - 1, min(len(pose), _MOST_FRAMES)).round().astype(int))
    bulges = np.concatenate([_rest(body, part, shape) - still for part in pose[chosen].split(_CHUNK)])
    if _worst(bulges) <= WITHIN_M:
        return none
    # Principal directions by way of the Gram matrix: there are fewer poses than coordinates.
    values, vectors = np.linalg.eigh(bulges.astype(np.float64) @ bulges.T.astype(np.float64))
    order = np.argsort(-values)
    order = order[values[order] > 1e-12 * values[order[0]]]
    directions = ((vectors[:, order] / np.sqrt(values[order])).T @ bulges).astype(np.float32)
    kept, left = 0, bulges
    while kept < len(directions) and _worst(left) > WITHIN_M:
        left = left - np.outer(left @ directions[kept], directions[kept])
        kept += 1
    directions = directions[:kept]
    weights = np.concatenate([(_rest(body, part, shape) - still) @ directions.T for part in pose.split(_CHUNK)])
    # A weight of 1 is the most that a target is asked for.
    most = np.abs(weights).max(axis=0)
    return (directions * most[:, None]).reshape(kept, -1, 3), (weights / most).astype(np.float32)


def _rest(body: BodyModel, pose: Float[Tensor, "N J 3 3"], shape: Float[Tensor, "1 S"]) -> Float[np.ndarray, "N 3V"]:
    with torch.no_grad():
        rest = body.skinning(pose, shape).rest_m[..., : body.num_vertices]
    return rest.expand(len(pose), -1, -1).transpose(1, 2).flatten(1).numpy()


def _worst(bulges: Float[np.ndarray, "N 3V"]) -> float:
    return float(np.linalg.norm(bulges.reshape(len(bulges), -1, 3), axis=-1).max(initial=0.0))
