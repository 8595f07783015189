"""Forward kinematics and linear blend skinning, shared by all body models."""

from __future__ import annotations

import itertools

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn


class KinematicTree(nn.Module):
    """The tree of bones, ready for products from the root outwards.

    Args:
        parents: index of each bone's parent, −1 for the root, which comes first; parents come before children.
    """

    ancestors: Tensor
    """(J, J), 1 where bone j lies on the way from the root (left out) to bone i, i included."""

    def __init__(self, parents: tuple[int, ...]) -> None:
        super().__init__()
        if parents[0] != -1 or any(not 0 <= p < i for i, p in enumerate(parents[1:], start=1)):
            raise ValueError(f"bones must come root first and parents before children, not {parents}")
        depth = [0]
        ancestors = torch.zeros(len(parents), len(parents))
        for bone, parent in enumerate(parents[1:], start=1):
            depth.append(depth[parent] + 1)
            ancestors[bone] = ancestors[parent]
            ancestors[bone, bone] = 1.0
        self.register_buffer("ancestors", ancestors, persistent=False)
        self.register_buffer("safe_parents", torch.tensor((0, *parents[1:])), persistent=False)
        # Bones sorted by depth; each level's parents lie in the level before it.
        levels = [[b for b, d in enumerate(depth) if d == level] for level in range(max(depth) + 1)]
        order = [b for level in levels for b in level]
        self._spans = []
        for before, level in itertools.pairwise(levels):
            place = {bone: i for i, bone in enumerate(before)}
            start = self._spans[-1][1] if self._spans else 1
            self._spans.append((start, start + len(level), [place[parents[b]] for b in level]))
        self.register_buffer("order", torch.tensor(order), persistent=False)
        self.register_buffer("back", torch.tensor(order).argsort(), persistent=False)

    safe_parents: Tensor
    """(J,), parents with the root as its own."""
    order: Tensor
    back: Tensor

    def rotations(self, pose: Float[Tensor, "B J 3 3"]) -> Float[Tensor, "B J 3 3"]:
        """Product of the pose's rotations from the root to each bone."""
        local = pose[:, self.order]
        levels = [local[:, :1]]
        for start, stop, parents in self._spans:
            levels.append(levels[-1][:, parents] @ local[:, start:stop])
        return torch.cat(levels, dim=1)[:, self.back]

    def joints(self, rotations: Float[Tensor, "B J 3 3"], offsets: Float[Tensor, "B J 3"]) -> Float[Tensor, "B J 3"]:
        """Bone heads, the root's at the origin, from each bone's offset from its parent at the identity pose."""
        steps = (rotations[:, self.safe_parents] @ offsets[..., None]).squeeze(-1)
        return self.ancestors @ steps


def blend_skin(
    rest: Float[Tensor, "B 3 V"],
    weights: Float[Tensor, "J V"],
    rotations: Float[Tensor, "B J 3 3"],
    translations: Float[Tensor, "B J 3"],
) -> Float[Tensor, "B V 3"]:
    """Linear blend skinning: v' = Σ_j w_jv (R_j v + t_j).

    Coordinates are kept in planes (x of all vertices, then y, then z): the blended 3×4 matrix of every vertex is then
    one matrix product, and applying it runs along contiguous memory.
    """
    batch, bones = rotations.shape[:2]
    transforms = torch.cat([rotations, translations[..., None]], dim=-1)  # B J 3 4
    planes = transforms.permute(0, 2, 3, 1).reshape(batch * 12, bones) @ weights
    planes = planes.view(batch, 3, 4, -1)
    posed = (planes[:, :, :3] * rest[:, None]).sum(2) + planes[:, :, 3]
    return posed.transpose(1, 2)


def faces_within(
    faces: Int[Tensor, "F 3"], vertex_ids: Int[Tensor, "N"], num_vertices: int
) -> tuple[Int[Tensor, "G 3"], Bool[Tensor, "F"]]:
    """Triangles whose corners are all among ``vertex_ids``, renumbered to them, and which of the triangles they are."""
    position = torch.full((num_vertices,), -1, dtype=torch.long, device=faces.device)
    position[vertex_ids] = torch.arange(len(vertex_ids), device=faces.device)
    renumbered = position[faces]
    kept = (renumbered >= 0).all(-1)
    return renumbered[kept], kept
