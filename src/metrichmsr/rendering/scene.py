"""Several meshes in one picture, hiding one another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, Int64
from torch import Tensor

from metrichmsr.rendering.rasterizer import Fragments, rasterize

Mesh = tuple[Float[Tensor, "V 3"], Int[Tensor, "F 3"]]
"""Vertices (camera frame, metres) and faces of one mesh."""


@dataclass(frozen=True)
class JoinedMesh:
    """Several meshes as one, in their order."""

    vertices: Float[Tensor, "V 3"]
    """All vertices, metres."""
    faces: Int64[Tensor, "F 3"]
    """All faces, indices into all vertices."""
    mesh_of_vertex: Int64[Tensor, "V"]
    """Which mesh each vertex is of."""
    mesh_of_face: Int64[Tensor, "F"]
    """Which mesh each face is of."""
    face_in_mesh: Int64[Tensor, "F"]
    """Row of each face in its own mesh."""


@dataclass(frozen=True)
class SceneFragments:
    """The nearest surface seen by every pixel, and whose it is."""

    depth_m: Float[Tensor, "H W"]
    """z-depth of the surface, metres, float32; NaN where there is none."""
    mesh_id: Int64[Tensor, "H W"]
    """Position in the sequence of meshes; -1 where there is no surface."""
    face_id: Int64[Tensor, "H W"]
    """Row of that mesh's own ``faces``; -1 where there is no surface."""
    barycentrics: Float[Tensor, "H W 3"]
    """Perspective-correct weights of the face's corners, float32; 0 where there is no surface."""

    @property
    def mask(self) -> Bool[Tensor, "H W"]:
        """Where any mesh is seen."""
        return self.mesh_id >= 0

    def of(self, mesh: int) -> Fragments:
        """What is seen of one mesh, as a batch of one picture."""
        seen = (self.mesh_id == mesh)[None]
        return Fragments(
            depth_m=torch.where(seen, self.depth_m, torch.nan),
            face_id=torch.where(seen, self.face_id, -1),
            barycentrics=torch.where(seen[..., None], self.barycentrics, 0.0),
        )


def join_meshes(meshes: Sequence[Mesh]) -> JoinedMesh:
    """Several meshes as one, keeping track of which is which. They may have different faces; none at all is an error.

    Raises:
        ValueError: ``meshes`` is empty, which would leave device and dtype unknown.
    """
    if not meshes:
        raise ValueError("no mesh to join")
    device = meshes[0][0].device
    vertex_counts = torch.tensor([len(vertices) for vertices, _ in meshes])
    face_counts = torch.tensor([len(faces) for _, faces in meshes])
    first_vertex = (vertex_counts.cumsum(0) - vertex_counts).tolist()
    ids = torch.arange(len(meshes))
    return JoinedMesh(
        vertices=torch.cat([vertices for vertices, _ in meshes]),
        faces=torch.cat([faces.long() + first for (_, faces), first in zip(meshes, first_vertex, strict=True)]),
        mesh_of_vertex=ids.repeat_interleave(vertex_counts).to(device),
        mesh_of_face=ids.repeat_interleave(face_counts).to(device),
        face_in_mesh=torch.cat([torch.arange(len(faces), device=device) for _, faces in meshes]),
    )


def rasterize_scene(
    meshes: Sequence[Mesh],
    K: Float[Tensor, "3 3"],
    *,
    height: int,
    width: int,
    near_m: float = 0.05,
    cull_backfaces: bool = False,
) -> SceneFragments:
    """Render meshes into one picture, each with faces of its own. At equal depth the earlier mesh wins.

    Arguments and rules are those of :func:`~metrichmsr.rendering.rasterizer.rasterize`. No meshes: an empty picture.
    """
    joined = join_meshes(meshes or [(K.new_zeros(0, 3), K.new_zeros(0, 3).long())])
    fragments = rasterize(
        joined.vertices[None],
        joined.faces,
        K,
        height=height,
        width=width,
        near_m=near_m,
        cull_backfaces=cull_backfaces,
    )
    # One row in front of the tables answers for face -1.
    row = fragments.face_id[0].add(1).view(-1)
    none = torch.full((1,), -1, device=row.device)
    mesh_id, face_id = (
        torch.cat([none, table]).index_select(0, row).view(height, width)
        for table in (joined.mesh_of_face, joined.face_in_mesh)
    )
    return SceneFragments(
        depth_m=fragments.depth_m[0], mesh_id=mesh_id, face_id=face_id, barycentrics=fragments.barycentrics[0]
    )
