"""Keypoints of a body: weighted sums of mesh vertices and bone heads.

COCO-17 and BlazePose's 33 landmarks are what detectors report, so they are placed where an *annotator* marks them,
which is not where a rig turns its bones. On Anny the limb joints are those of the keypoint regressor published with
it (fitted to COCO-style annotation: the shoulder sits 2–3 cm above the rig's pivot, the elbow 2 cm up the arm). Its
hips hang on the thigh and would rise 4–5 cm when a person sits; annotators mark them between there and the joint, so
ours lie halfway between the regressor's hip and the bone head. Eyes, ears, nose, mouth corners, heels and toe tips
are points of the skin. BlazePose's knuckles are the heads of the proximal finger bones (index, little finger) and of
the thumb's second.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


class PointRegressor(nn.Module):
    """Sparse linear map from (vertices, bone heads) to named points.

    Args:
        index: K sources of each of P points: a vertex, or ``num_vertices`` + a bone.
        weight: their weights; each row sums to one, so that points move with the body. Unused places weigh zero.
        num_vertices: vertices of the mesh that ``index`` refers to.
    """

    index: Tensor
    weight: Tensor

    def __init__(self, index: Int[Tensor, "P K"], weight: Float[Tensor, "P K"], *, num_vertices: int) -> None:
        super().__init__()
        self.num_vertices = num_vertices
        self.register_buffer("index", index, persistent=False)
        self.register_buffer("weight", weight, persistent=False)

    def forward(self, vertices: Float[Tensor, "B V 3"], joints: Float[Tensor, "B J 3"]) -> Float[Tensor, "B P 3"]:
        """The points, in the frame and unit of what comes in."""
        sources = torch.cat([vertices, joints], dim=1)[:, self.index]
        return (sources * self.weight[..., None]).sum(2)

    def vertex_ids(self) -> Int[Tensor, "N"]:
        """The vertices in use, ascending."""
        used = self.index[(self.index < self.num_vertices) & (self.weight != 0)]
        return used.unique()

    def restricted_to(self, vertex_ids: Int[Tensor, "N"]) -> PointRegressor:
        """The same points from a mesh of only these vertices, which must include all in use."""
        position = torch.full((self.num_vertices,), -1, dtype=torch.long, device=self.index.device)
        position[vertex_ids] = torch.arange(len(vertex_ids), device=self.index.device)
        is_joint = self.index >= self.num_vertices
        moved = position[self.index.clamp_max(self.num_vertices - 1)].clamp_min(0)
        index = torch.where(is_joint, self.index - self.num_vertices + len(vertex_ids), moved)
        return PointRegressor(index, self.weight, num_vertices=len(vertex_ids))
