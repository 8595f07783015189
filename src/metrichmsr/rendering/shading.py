"""Pictures of meshes: a plain shader for looking at results, not for photorealism."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from metrichmsr.rendering.rasterizer import Fragments, interpolate

# A light at the camera shows the form, a brighter sky than ground tells up from down, a floor keeps shadows readable.
_AMBIENT = 0.30
_SKY = 0.25
_HEADLIGHT = 0.55


def vertex_normals(vertices: Float[Tensor, "*B V 3"], faces: Int[Tensor, "F 3"]) -> Float[Tensor, "*B V 3"]:
    """Unit normals at the vertices: the mean of the adjoining faces' normals weighted by their areas.

    They point outwards where faces are counter-clockwise seen from outside. A vertex without a face of positive area
    gets zero. Differentiable.
    """
    flat = vertices.reshape(-1, 3)
    first = torch.arange(0, len(flat), max(1, vertices.shape[-2]), device=faces.device)
    corners = [(corner + first[:, None]).view(-1) for corner in faces.long().T]
    a, b, c = (flat.index_select(0, corner) for corner in corners)
    doubled_areas = torch.linalg.cross(b - a, c - a)
    sums = torch.zeros_like(flat)
    for corner in corners:
        sums = sums.index_add_(0, corner, doubled_areas)
    return torch.nn.functional.normalize(sums.view_as(vertices), dim=-1, eps=torch.finfo(vertices.dtype).tiny)


def shade(
    fragments: Fragments,
    vertices: Float[Tensor, "B V 3"],
    faces: Int[Tensor, "F 3"],
    colors: Float[Tensor, "B V 3"] | Float[Tensor, "V 3"] | Float[Tensor, "3"],
    *,
    eye_m: Float[Tensor, "3"] | None = None,
    up: tuple[float, float, float] = (0.0, -1.0, 0.0),
) -> Float[Tensor, "B H W 3"]:
    """RGB pictures in [0, 1] of rasterised meshes, black where there is no surface.

    Light comes from the eye and, softly, from above. It is computed at the vertices and interpolated: body meshes have
    more vertices than a shading per pixel would show. Both sides of a surface are lit alike.

    Args:
        fragments: Of :func:`~metrichmsr.rendering.rasterizer.rasterize`, same vertices and faces.
        vertices: Camera frame, metres.
        faces: Triangles.
        colors: Colour of all or of each vertex, RGB in [0, 1].
        eye_m: Where the headlight is, camera frame; the camera by default.
        up: Unit direction of the sky in the camera frame; against y by default, the camera's own up.
    """
    eye = vertices.new_zeros(3) if eye_m is None else eye_m.to(vertices)
    normals = vertex_normals(vertices, faces)
    to_eye = torch.nn.functional.normalize(eye - vertices, dim=-1)
    facing = (normals * to_eye).sum(-1, keepdim=True)
    sky = normals @ vertices.new_tensor(up)[:, None] * torch.where(facing < 0, -1.0, 1.0)
    light = _AMBIENT + _SKY * (0.5 + 0.5 * sky) + _HEADLIGHT * facing.abs()
    return interpolate(fragments, faces, (light * colors.to(vertices)).clamp(0, 1))
