"""Parts of Anny's skin that plain clothes cover: painted on and puffed up, they need no assets."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from metrichmsr.bodies.anny import AnnyBody

SKIN, TORSO, UPPER_ARMS, FOREARMS, PELVIS, THIGHS, SHINS, FEET, SCALP, NAPE = range(10)
REGIONS = 10

_OF_BONE = (
    ("spine05", PELVIS), ("spine", TORSO), ("clavicle", TORSO), ("shoulder", TORSO), ("upperarm", UPPER_ARMS),
    ("lowerarm", FOREARMS), ("root", PELVIS), ("pelvis", PELVIS), ("upperleg", THIGHS), ("lowerleg", SHINS),
    ("foot", FEET), ("toe", FEET),
)  # fmt: skip
_SMOOTHING = 6


class BodyRegions:
    """Which face of the skin belongs to which region, and how gently vertices move with one.

    Args:
        body: Anny, unrestricted.
    """

    def __init__(self, body: AnnyBody) -> None:
        rest = body.rest(body.default_shape()[None])
        place, heads = rest.vertices_m[0], rest.joints_m[0]
        names = body.bone_names
        owner = body.skin.argmax(0)
        of_bone = [next((region for part, region in _OF_BONE if name.startswith(part)), SKIN) for name in names]
        region = torch.tensor(of_bone, device=place.device)[owner]
        head = owner == names.index("head")
        centre = heads[names.index("head")]
        top = place[head, 2].max()
        # Anny faces −y: the back of the head has the larger y.
        behind = place[:, 1] > centre[1] - 0.005
        scalp = head & ((place[:, 2] > top - 0.055) | (behind & (place[:, 2] > centre[2] + 0.03)))
        neck = torch.tensor([name.startswith("neck") for name in names], device=place.device)[owner]
        # Hair on the neck hangs behind the ears, and not down to the collar.
        neck_axis = heads[names.index("neck02"), 1]
        nape = (head & ~scalp & (place[:, 1] > centre[1] + 0.01)) | (
            neck & (place[:, 1] > neck_axis + 0.015) & (place[:, 2] > heads[names.index("neck02"), 2])
        )
        region = torch.where(scalp, SCALP, torch.where(nape, NAPE, region))
        self.share: Float[Tensor, "V R"] = _smooth(
            torch.nn.functional.one_hot(region, REGIONS).float(), body.faces, _SMOOTHING
        )
        """How much of each vertex belongs to each region, blurred over the mesh so that cloth ends softly."""
        # Blurred shares have straighter borders than the bones' own; halves of a quad, which are neighbours in the
        # list, stay together, so that a border follows the mesh's loops instead of their diagonals.
        quads = self.share[body.faces].sum(1).unflatten(0, (-1, 2)).sum(1)
        self.of_face: Int64[Tensor, "F"] = quads.argmax(1).repeat_interleave(2)


def _smooth(values: Float[Tensor, "V C"], faces: Int64[Tensor, "F 3"], rounds: int) -> Float[Tensor, "V C"]:
    """Means over neighbours in the mesh, again and again."""
    a = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    start, end = torch.cat([a, a.flip(1)]).T
    degree = torch.zeros(len(values), 1, device=values.device).index_add_(
        0, start, torch.ones(len(start), 1, device=values.device)
    )
    for _ in range(rounds):
        around = torch.zeros_like(values).index_add_(0, start, values[end])
        values = 0.5 * values + 0.5 * around / degree.clamp_min(1)
    return values
