"""Shaded people blended into a picture, with smooth edges."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from metrichmsr.geometry import crop_intrinsics, project
from metrichmsr.rendering import JoinedMesh, join_meshes, rasterize, shade
from metrichmsr.structures import Person

_NEAR_M = 0.05

# Each pixel is sampled 2×2 times for smooth edges, unless the people fill more than this many pixels: then the picture
# is so large that steps of one pixel hardly show.
_MOST_SAMPLED_PX = 2_500_000

_OUTLINE = 0.55


def join_people(people: Sequence[Person]) -> JoinedMesh:
    """All people as one mesh in the camera frame, float64 metres; part i is people[i]."""
    return join_meshes(
        [
            (
                torch.tensor(np.ascontiguousarray(person.vertices_m, dtype=np.float64)),
                torch.tensor(np.ascontiguousarray(person.faces, dtype=np.int64)),
            )
            for person in people
        ]
    )


def blend_meshes(
    picture: UInt8[np.ndarray, "H W 3"],
    mesh: JoinedMesh,
    colors: Float[np.ndarray, "N 3"],
    K: Float[Tensor, "3 3"],
    *,
    opacity: float = 1.0,
    up: tuple[float, float, float] = (0.0, -1.0, 0.0),
) -> None:
    """Draw meshes into ``picture``, nearer ones over farther ones and outlined against each other.

    Args:
        picture: Changed in place.
        mesh: The meshes, in the frame of the camera ``K``.
        colors: Of each of the N meshes, RGB in [0, 1].
        K: Intrinsics in continuous pixels of ``picture``.
        opacity: 1 hides the picture, 0 the meshes.
        up: Where the sky light comes from, in the frame of the camera.
    """
    region = _visible_region(mesh.vertices, K, *picture.shape[:2])
    if region is None:
        return
    left, top, right, bottom = region
    width, height = right - left, bottom - top
    samples = 2 if width * height <= _MOST_SAMPLED_PX else 1
    box = torch.tensor([left, top, right, bottom], dtype=K.dtype)
    rows, columns = height * samples, width * samples
    K_region = crop_intrinsics(K, box, crop_height=rows, crop_width=columns)
    vertices = mesh.vertices[None]
    fragments = rasterize(vertices, mesh.faces, K_region, height=rows, width=columns, near_m=_NEAR_M)
    vertex_colors = torch.from_numpy(colors).float().index_select(0, mesh.mesh_of_vertex)
    shaded = shade(fragments, vertices.float(), mesh.faces, vertex_colors, up=up)[0].numpy()
    face = fragments.face_id[0]
    part = torch.cat([torch.tensor([-1]), mesh.mesh_of_face]).index_select(0, (face + 1).view(-1)).view(face.shape)
    part = part.to(torch.int16).numpy()
    seen = part >= 0
    shaded[_borders(part) & seen] *= _OUTLINE
    # Colour is black outside the meshes, so its mean over a pixel is already weighted by coverage.
    color = cv2.resize(shaded, (width, height), interpolation=cv2.INTER_AREA)
    cover = cv2.resize(seen.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)[..., None] * opacity
    target = picture[top:bottom, left:right]
    target[:] = np.rint(target * (1 - cover) + color * (255 * opacity))


def _visible_region(
    vertices: Float[Tensor, "V 3"], K: Float[Tensor, "3 3"], height: int, width: int
) -> tuple[int, int, int, int] | None:
    """Pixels (left, top, right, bottom) outside which nothing is seen; None where nothing is."""
    finite = vertices[torch.isfinite(vertices).all(-1)]
    front = finite[finite[:, 2] >= _NEAR_M]
    if not len(front):
        return None
    if len(front) < len(finite):  # something reaches through the near plane: it may be seen anywhere
        return 0, 0, width, height
    pixels = project(front, K)
    left, top = pixels.amin(0).sub(1).floor().tolist()
    right, bottom = pixels.amax(0).add(1).ceil().tolist()
    left, top, right, bottom = int(max(left, 0)), int(max(top, 0)), int(min(right, width)), int(min(bottom, height))
    return (left, top, right, bottom) if left < right and top < bottom else None


def _borders(part: np.ndarray) -> np.ndarray:
    """Pixels whose right or lower neighbour belongs to another mesh or to none, and those neighbours."""
    border = np.zeros(part.shape, dtype=bool)
    across, down = part[:, 1:] != part[:, :-1], part[1:] != part[:-1]
    border[:, 1:] |= across
    border[:, :-1] |= across
    border[1:] |= down
    border[:-1] |= down
    return border
