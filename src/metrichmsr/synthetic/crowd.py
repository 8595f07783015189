"""People of a batch of shots, before clothes, room and camera."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float, Int64
from torch import Tensor

Support = Literal["ground", "seat", "lying", "air"]
"""What carries a person: feet (hands, knees) on the ground; something to sit on; the ground under the back; nothing."""


@dataclass(frozen=True)
class Crowd:
    """P people standing about in S shots, in each shot's world frame (y up, ground at y = 0, metres).

    People are ordered by shot. All tensors are on one device.
    """

    pose: Float[Tensor, "P J 3 3"]
    """Parent-relative rotations of all of Anny's bones, fingers included; the root's takes body frame to world."""
    shape: Float[Tensor, "P 6"]
    """Anny's shape parameters, in the order of ``AnnyBody.shape_names``."""
    translation_m: Float[Tensor, "P 3"]
    """The pelvis joint in the world."""
    shot: Int64[Tensor, "P"]
    """Which shot each person is in; ascending."""
    support: tuple[Support, ...]
    """What carries each person."""
    pose_source: tuple[str, ...]
    """Where each pose comes from: name of clip and frame, or ``prior``."""
    n_shots: int
    """S."""

    def __len__(self) -> int:
        return len(self.pose)
