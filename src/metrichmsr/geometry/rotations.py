"""The few rotations `roma` does not have: the 6D representation (Zhou et al., CVPR 2019) and turning a camera to a ray.

Everything else about rotations (rotation vectors, quaternions, slerp, geodesic distance) is used from `roma` directly.
"""

from __future__ import annotations

import roma
import torch
from jaxtyping import Float
from torch import Tensor


def matrix_to_rotation_6d(rotation: Float[Tensor, "*B 3 3"]) -> Float[Tensor, "*B 6"]:
    """First two columns of the matrix, column after column."""
    return rotation[..., :2].transpose(-1, -2).flatten(-2)


def rotation_6d_to_matrix(rotation_6d: Float[Tensor, "*B 6"]) -> Float[Tensor, "*B 3 3"]:
    """Gram–Schmidt on the two columns; any six numbers whose columns are not parallel give a rotation."""
    columns = rotation_6d.unflatten(-1, (2, 3)).transpose(-1, -2)
    return roma.special_gramschmidt(columns)


def camera_from_view(ray: Float[Tensor, "*B 3"]) -> Float[Tensor, "*B 3 3"]:
    """Smallest rotation that takes the optical axis (0, 0, 1) to the given unit vector, which must not be (0, 0, −1).

    The "view" is a camera in the same place that looks along the ray: in its frame the ray is (0, 0, 1).
    """
    x, y, z = ray.unbind(-1)
    k = 1 / (1 + z)
    rows = [1 - x * x * k, -x * y * k, x, -x * y * k, 1 - y * y * k, y, -x, -y, z]
    return torch.stack(rows, dim=-1).unflatten(-1, (3, 3))
