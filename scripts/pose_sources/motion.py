"""What every source of motion is reduced to before it is retargeted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

Y_UP_TO_Z_UP = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
"""From axes with y up and the body facing +z to Anny's: z up, facing −y, its left +x in both."""

ROLES = ("pelvis", "spine1", "spine2", "spine3", "neck", "head") + tuple(
    f"{role}.{side}"
    for side in "LR"
    for role in ("thigh", "shin", "foot", "toe", "collar", "upperarm", "forearm", "hand")
)
"""Joints that retargeting knows. A source needs pelvis, thighs, shins, feet, upper arms and forearms."""

NEEDED = ("pelvis",) + tuple(
    f"{role}.{side}" for side in "LR" for role in ("thigh", "shin", "foot", "upperarm", "forearm")
)


@dataclass(frozen=True)
class Motion:
    """T frames of one clip, in Anny's axes (z up; at rest facing −y, left +x)."""

    name: str
    rotations: dict[str, Float[np.ndarray, "T 3 3"]]
    """For each role how its joint is turned in the world from its rest."""
    rest_m: dict[str, Float[np.ndarray, "3"]]
    """For each role where its joint is at rest; any unit of length will do."""
    frame_rate: float

    def __len__(self) -> int:
        return len(self.rotations["pelvis"])

    def frames(self, index: np.ndarray) -> Motion:
        """Some of its frames."""
        rotations = {role: turn[index] for role, turn in self.rotations.items()}
        return Motion(self.name, rotations, self.rest_m, self.frame_rate)
