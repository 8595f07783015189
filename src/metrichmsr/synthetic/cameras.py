"""Cameras of a batch of shots."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float, Int64
from torch import Tensor


@dataclass(frozen=True)
class Cameras:
    """S pinhole cameras in each shot's world frame (y up, ground at y = 0, metres)."""

    K: Float[Tensor, "S 3 3"]
    """Intrinsics of the full picture, continuous pixels, float32."""
    width: Int64[Tensor, "S"]
    """Columns of the full picture."""
    height: Int64[Tensor, "S"]
    camera_from_world: Float[Tensor, "S 4 4"]
    """World to OpenCV camera frame."""

    @property
    def position_m(self) -> Float[Tensor, "S 3"]:
        """Camera centre in the world."""
        rotation = self.camera_from_world[:, :3, :3]
        return -(rotation.transpose(1, 2) @ self.camera_from_world[:, :3, 3:]).squeeze(-1)

    def only(self, row: int) -> Cameras:
        """One of them."""
        part = slice(row, row + 1)
        return Cameras(self.K[part], self.width[part], self.height[part], self.camera_from_world[part])
