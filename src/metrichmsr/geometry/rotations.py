"""The 6D rotation representation (Zhou et al., CVPR 2019), on top of `roma`.

Everything else about rotations (rotation vectors, quaternions, slerp, geodesic distance) is used from `roma` directly.
"""

from __future__ import annotations

import roma
from jaxtyping import Float
from torch import Tensor


def matrix_to_rotation_6d(rotation: Float[Tensor, "*B 3 3"]) -> Float[Tensor, "*B 6"]:
    """First two columns of the matrix, column after column."""
    return rotation[..., :2].transpose(-1, -2).flatten(-2)


def rotation_6d_to_matrix(rotation_6d: Float[Tensor, "*B 6"]) -> Float[Tensor, "*B 3 3"]:
    """Gram–Schmidt on the two columns; any six numbers whose columns are not parallel give a rotation."""
    columns = rotation_6d.unflatten(-1, (2, 3)).transpose(-1, -2)
    return roma.special_gramschmidt(columns)
