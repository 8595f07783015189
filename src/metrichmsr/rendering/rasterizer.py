"""Depth, face and barycentrics of triangle meshes in every pixel, in plain torch: no OpenGL, no compiled extension.

Convention
    Vertices in the camera frame, metres (OpenCV: x right, y down, z forward). Pixel (column i, row j) is sampled at its
    centre (i + 0.5, j + 0.5). Depth is z-depth. Faces are counter-clockwise seen from outside.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int, Int64
from torch import Tensor

from metrichmsr.rendering.coverage import View, batch_size, filled, nearest_keys, unpack


@dataclass(frozen=True)
class Fragments:
    """The nearest surface seen by every pixel. Holds no gradient: what is visible is not differentiable."""

    depth_m: Float[Tensor, "B H W"]
    """z-depth of the surface, metres, float32; NaN where there is none."""
    face_id: Int64[Tensor, "B H W"]
    """Row of ``faces``; -1 where there is no surface."""
    barycentrics: Float[Tensor, "B H W 3"]
    """Weights of the face's three corners at the surface point (perspective-correct), float32, summing to 1; 0 where
    there is no surface."""

    @property
    def mask(self) -> Bool[Tensor, "B H W"]:
        """Where a surface is seen."""
        return self.face_id >= 0


@torch.no_grad()
def rasterize(
    vertices: Float[Tensor, "B V 3"],
    faces: Int[Tensor, "F 3"],
    K: Float[Tensor, "B 3 3"] | Float[Tensor, "3 3"],
    *,
    height: int,
    width: int,
    near_m: float = 0.05,
    cull_backfaces: bool = False,
) -> Fragments:
    """Render B poses of one mesh, each into its own picture.

    A pixel belongs to a triangle where its centre lies inside, by the top-left rule where it lies on an edge: meshes
    have no cracks, and of two triangles that share an edge exactly one takes a pixel. At equal depth the first face
    wins. Triangles that reach through the near plane are seen from there on. Triangles with a corner that is not finite
    and triangles seen exactly edge-on are not drawn. Everything is computed in float64, whatever ``vertices`` are.

    Args:
        vertices: Camera frame, metres.
        faces: Corners of the triangles, indices into V.
        K: Intrinsics in continuous pixels, of the form [[fx, s, cx], [0, fy, cy], [0, 0, 1]] with positive focal
            lengths; skew and a principal point outside the picture are fine.
        height: Rows of the picture.
        width: Columns of the picture.
        near_m: What is nearer than this z-depth is not seen. Positive.
        cull_backfaces: Leave out triangles seen from behind: faster, and the same picture for closed meshes that the
            camera is outside of.

    Raises:
        ValueError: A shape does not fit, or the near plane is not in front of the camera.
    """
    if vertices.ndim != 3 or vertices.shape[-1] != 3:
        raise ValueError(f"vertices must be B×V×3, not {tuple(vertices.shape)}")
    if faces.ndim != 2 or faces.shape[-1] != 3:
        raise ValueError(f"faces must be F×3, not {tuple(faces.shape)}")
    images = vertices.shape[0]
    if K.shape not in ((3, 3), (images, 3, 3)):
        raise ValueError(f"K must be 3×3 or {images}×3×3, not {tuple(K.shape)}")
    if height < 1 or width < 1:
        raise ValueError(f"picture size must be positive, not {width}×{height}")
    if not near_m > 0:
        raise ValueError(f"near_m must be positive, not {near_m}")
    points = times_intrinsics(vertices, K.to(torch.float64))
    corners = faces.long().T.contiguous()
    keys = nearest_keys(points, corners, View(height, width, near_m, cull_backfaces))
    n_pixels = height * width
    depth = torch.empty(images * n_pixels, dtype=torch.float32, device=keys.device)
    face_id = torch.empty_like(keys).view(-1)
    barycentrics = filled((images * n_pixels, 3), 0, torch.float32, keys.device)
    batch = batch_size(keys)
    for start in range(0, images * n_pixels, batch):
        part = slice(start, start + batch)
        face_id[part], depth[part] = unpack(keys.view(-1)[part])
        pixel = (face_id[part] >= 0).nonzero().squeeze(1).add_(start)
        weights = barycentrics_at(
            points.flatten(1),
            corners,
            face_id.index_select(0, pixel),
            pixel,
            PixelGrid(n_pixels, width, points.shape[2]),
        )
        for corner, weight in enumerate(weights):
            barycentrics[:, corner].scatter_(0, pixel, weight)
    return Fragments(
        depth_m=depth.view(images, height, width),
        face_id=face_id.view(images, height, width),
        barycentrics=barycentrics.view(images, height, width, 3),
    )


def interpolate(
    fragments: Fragments,
    faces: Int[Tensor, "F 3"],
    attributes: Float[Tensor, "B V C"] | Float[Tensor, "V C"],
) -> Float[Tensor, "B H W C"]:
    """Vertex attributes (colours, normals, positions…) at the surface points; 0 where there is no surface.

    Differentiable with respect to ``attributes``: with z of the vertices as attribute it is the depth map, and its
    gradient that of depth with barycentrics held fixed. Which face is seen where carries no gradient.
    """
    batch, height, width = fragments.face_id.shape
    values = attributes.expand(batch, *attributes.shape[-2:])
    vertices, channels = values.shape[1:]
    values = values.reshape(batch * vertices, channels)
    corner_of_face = faces.long().T.contiguous()
    face_id = fragments.face_id.view(-1)
    weights = fragments.barycentrics.view(-1, 3)
    # Each part would cost the backward pass a gradient of all values: where one is asked for, all pixels at once.
    step = len(face_id) if values.requires_grad else max(1, batch_size(values) // max(1, channels))
    parts = []
    for start in range(0, len(face_id), max(1, step)):
        part_face = face_id[start : start + step]
        pixel = (part_face >= 0).nonzero().squeeze(1)
        face = part_face.index_select(0, pixel)
        weight = weights[start : start + step].index_select(0, pixel).to(values.dtype)
        first_vertex = torch.div(pixel + start, height * width, rounding_mode="floor").mul_(vertices)
        a, b, c = (
            values.index_select(0, corner.index_select(0, face).add_(first_vertex)) * weight[:, k, None]
            for k, corner in enumerate(corner_of_face)
        )
        part = values.new_zeros(len(part_face), channels)
        part[pixel] = a + b + c
        parts.append(part)
    picture = torch.cat(parts) if parts else values.new_zeros(0, channels)
    return picture.view(batch, height, width, channels)


def times_intrinsics(
    vertices: Float[Tensor, "B V 3"], K: Float[Tensor, "B 3 3"] | Float[Tensor, "3 3"]
) -> Float[Tensor, "3 B V"]:
    """z·u, z·v and z of vertices, as float64 planes."""
    x, y, z = (component.to(torch.float64).contiguous() for component in vertices.unbind(-1))
    fx, skew, cx = (K[..., 0, column, None] for column in range(3))
    fy, cy = (K[..., 1, column, None] for column in (1, 2))
    return torch.stack([fx * x + skew * y + cx * z, fy * y + cy * z, z])


class PixelGrid(NamedTuple):
    """How pixels of several images are counted, and whose vertices they see."""

    n_pixels: int
    """Pixels of one image."""
    width: int
    """Columns."""
    vertices_per_image: int
    """Vertices of one image, where faces are the same in all; 0 where faces name vertices of all images."""


def barycentrics_at(
    points: Float[Tensor, "3 N"],
    corners: Int64[Tensor, "3 F"],
    face: Int64[Tensor, "P"],
    pixel: Int64[Tensor, "P"],
    grid: PixelGrid,
) -> list[Float[Tensor, "P"]]:
    """Perspective-correct weights of the three corners of a face at a pixel, both counted over all images.

    ``points`` are z·u, z·v and z of the vertices, float64.
    """
    n_pixels, width, vertices = grid
    x, y, z = points
    image = torch.div(pixel, n_pixels, rounding_mode="floor")
    within = pixel - image * n_pixels
    row = torch.div(within, width, rounding_mode="floor")
    u = (within - row * width).to(torch.float64).add_(0.5)
    v = row.to(torch.float64).add_(0.5)
    relative = []
    for corner in corners:
        index = corner.index_select(0, face).add_(image, alpha=vertices)
        depth = z.index_select(0, index)
        relative.append((x.index_select(0, index).sub_(u * depth), y.index_select(0, index).sub_(v * depth)))
    # (u, v, 1)·(pᵢ × pⱼ) with the pixel moved to the origin, where little cancels.
    (ax, ay), (bx, by), (cx, cy) = relative
    weights = [bx * cy - by * cx, cx * ay - cy * ax, ax * by - ay * bx]
    scale = (weights[0] + weights[1] + weights[2]).reciprocal_()
    return [weight.mul_(scale).clamp_(0, 1).float() for weight in weights]
