"""A body model's rig as plain arrays: parents and skin weights, for formats that carry a skeleton."""

from __future__ import annotations

import numpy as np

from metrichmsr.bodies.protocol import BodyModel
from metrichmsr.structures import Rig


def rig_of(body: BodyModel) -> Rig:
    """Parents, skin weights and axes of a body model; of a restricted model, for the vertices it shows."""
    dense = body.skin[:, : body.num_vertices].detach().cpu().numpy().astype(np.float64)
    most = max(1, int((dense > 0).sum(axis=0).max(initial=0)))
    bones = np.argsort(-dense, axis=0, kind="stable")[:most].T
    weights = np.take_along_axis(dense.T, bones, axis=1)
    weights /= weights.sum(axis=1, keepdims=True)
    return Rig(
        parents=tuple(body.parents),
        skin_bones=np.where(weights > 0, bones, 0).astype(np.int64),
        skin_weights=weights.astype(np.float32),
        front=body.front,
        up=body.up,
    )


def strongest(rig: Rig, count: int) -> Rig:
    """The rig with at most ``count`` bones a vertex: the weightiest, their weights stretched to add up to 1."""
    weights = rig.skin_weights[:, :count].astype(np.float64)
    weights /= weights.sum(axis=1, keepdims=True)
    return Rig(rig.parents, rig.skin_bones[:, :count], weights.astype(np.float32), rig.front, rig.up)
