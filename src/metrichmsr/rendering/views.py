"""Many pictures of different meshes at once: what a batch of synthetic scenes needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from metrichmsr.rendering.coverage import FaceRules, View, batch_size, nearest_keys_of_views, unpack
from metrichmsr.rendering.rasterizer import PixelGrid, barycentrics_at, times_intrinsics

Accept = Callable[[Int64[Tensor, "M"], Float[Tensor, "M 3"]], Bool[Tensor, "M"]]
"""Faces and barycentrics at single points of them: is there a surface?"""


@dataclass(frozen=True)
class Visibility:
    """The nearest surface in every pixel of S pictures; where on it, is worked out for the pixels asked for."""

    depth_m: Float[Tensor, "S H W"]
    """z-depth, metres, float32; NaN where there is no surface."""
    face_id: Int64[Tensor, "S H W"]
    """Row of the faces of all pictures; −1 where there is no surface."""
    _points: Float[Tensor, "3 N"]
    _corners: Int64[Tensor, "3 F"]

    def barycentrics(self, pixel: Int64[Tensor, "P"]) -> Float[Tensor, "P 3"]:
        """Perspective-correct weights of the corners, float32, at pixels counted over all pictures that see a face."""
        height, width = self.face_id.shape[1:]
        face = self.face_id.view(-1).index_select(0, pixel)
        grid = PixelGrid(height * width, width, 0)
        return torch.stack(barycentrics_at(self._points, self._corners, face, pixel, grid), dim=-1)


def _times_own_intrinsics(
    vertices: Float[Tensor, "N 3"], K: Float[Tensor, "S 3 3"], view: Int64[Tensor, "N"]
) -> Float[Tensor, "3 N"]:
    """z·u, z·v and z of vertices in the picture of each, float64, in parts that stay in a CPU's cache."""
    size = max(1, batch_size(vertices) // 2)
    parts = []
    for part, of_view in zip(vertices.split(size), view.split(size), strict=True):
        own = K.index_select(0, of_view)
        parts.append(times_intrinsics(part[:, None], own).squeeze(2))
    return torch.cat(parts, dim=1) if parts else vertices.new_zeros(3, 0, dtype=torch.float64)


@torch.no_grad()
def see(
    vertices: Float[Tensor, "N 3"],
    faces: Int64[Tensor, "F 3"],
    K: Float[Tensor, "S 3 3"],
    *,
    view_of_vertex: Int64[Tensor, "N"],
    view_of_face: Int64[Tensor, "F"],
    height: int,
    width: int,
    near_m: float = 0.05,
    single_sided: Bool[Tensor, "F"] | None = None,
    cutout: Bool[Tensor, "F"] | None = None,
    accept: Accept | None = None,
) -> Visibility:
    """What S pictures of one size see; every vertex and face is in one of them.

    Rules are those of :func:`~metrichmsr.rendering.rasterizer.rasterize`.

    Args:
        vertices: Each in the camera frame of its picture, metres.
        faces: Corners, indices into all vertices; the three of a face in one picture.
        K: Intrinsics of the pictures.
        view_of_vertex: The picture of each vertex.
        view_of_face: The picture of each face.
        height: Rows of each picture.
        width: Columns of each picture.
        near_m: What is nearer than this z-depth is not seen.
        single_sided: Faces not seen from behind.
        cutout: Faces with holes: ``accept`` is asked at each of their pixels.
        accept: Tells where a face with holes has a surface.
    """
    n_views, n_pixels = len(K), height * width
    points = _times_own_intrinsics(vertices, K.to(torch.float64), view_of_vertex)
    corners = faces.T.contiguous()
    grid = PixelGrid(n_pixels, width, 0)

    def accept_at(face: Tensor, pixel: Tensor) -> Tensor:
        assert accept is not None
        return accept(face, torch.stack(barycentrics_at(points, corners, face, pixel, grid), dim=-1))

    if cutout is not None and not bool(cutout.any()):
        cutout = None
    rules = FaceRules(single_sided, cutout, None if accept is None else accept_at)
    view = View(height, width, near_m, cull_backfaces=False)
    keys = nearest_keys_of_views(points, corners, view_of_face, n_views, view, rules).view(-1)
    depth = torch.empty(n_views * n_pixels, dtype=torch.float32, device=keys.device)
    face_id = torch.empty_like(keys)
    batch = batch_size(keys)
    for start in range(0, n_views * n_pixels, batch):
        part = slice(start, start + batch)
        face_id[part], depth[part] = unpack(keys[part])
    shape = (n_views, height, width)
    return Visibility(depth.view(shape), face_id.view(shape), points, corners)
