"""Triangles with materials: what clothes, furniture and rooms hand to the renderer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

GROUND = -1
"""Owner of the floor that people stand on."""
ROOM = -2
"""Owner of walls, ceilings, houses."""
PROP = -3
"""Owner of furniture, carried things, anything else."""


@dataclass(frozen=True)
class Materials:
    """How M materials look. Colours are linear-light albedo; textures are sRGB pictures in a texture pool.

    albedo = tint · lerp(texture, luminance(texture), gray), where gray recolours: 1 keeps only the texture's shading.
    """

    texture: Int64[Tensor, "M"]
    """Texture in the pool; −1 for none (white); −2 where the background shows, darkened by shadows that fall on it."""
    tint: Float[Tensor, "M 3"]
    """Linear RGB factor."""
    gray: Float[Tensor, "M"]
    """How much of the texture's own colour is taken away, 0 to 1."""
    pattern: Int64[Tensor, "M"]
    """A second, tileable texture that is multiplied in; −1 for none."""
    pattern_scale: Float[Tensor, "M"]
    """Repeats of the pattern per unit of uv."""
    cutout: Bool[Tensor, "M"]
    """Where the texture's alpha is below one half there is no surface (hair, lace)."""
    shininess: Float[Tensor, "M"]
    """Strength of the highlight, 0 (cloth) to 1 (varnish)."""

    def __len__(self) -> int:
        return len(self.texture)


@dataclass(frozen=True)
class Surfaces:
    """Triangles of a batch of S shots in one list, in each shot's world frame (y up, ground at y = 0, metres)."""

    vertices_m: Float[Tensor, "N 3"]
    normals: Float[Tensor, "N 3"]
    """Unit normals at the vertices, world frame."""
    uv: Float[Tensor, "T 2"]
    """Texture coordinates, origin at the bottom left, repeating; a table of its own as seams split it."""
    shot_of_vertex: Int64[Tensor, "N"]
    faces: Int64[Tensor, "F 3"]
    """Rows of ``vertices_m``; counter-clockwise seen from outside."""
    face_uv: Int64[Tensor, "F 3"]
    """Rows of ``uv``."""
    owner: Int64[Tensor, "F"]
    """Row of the crowd's person, or one of the negative constants of this module."""
    material: Int64[Tensor, "F"]
    """Row of ``materials``."""
    color: Float[Tensor, "F 3"]
    """Linear RGB factor of every face, beside its material's tint."""
    two_sided: Bool[Tensor, "F"]
    """False: seen from its front only, so that a camera outside a room looks into it."""
    casts_shadow: Bool[Tensor, "F"]
    materials: Materials

    @staticmethod
    def concatenate(parts: Sequence[Surfaces]) -> Surfaces:
        """Several as one, with indices moved. At least one; all on one device."""
        if not parts:
            raise ValueError("nothing to concatenate")
        vertices = uvs = materials = 0
        moved: dict[str, list[Tensor]] = {field.name: [] for field in fields(Surfaces) if field.name != "materials"}
        for part in parts:
            offsets = {"faces": vertices, "face_uv": uvs, "material": materials}
            for name, columns in moved.items():
                columns.append(getattr(part, name) + offsets[name] if name in offsets else getattr(part, name))
            vertices, uvs = vertices + len(part.vertices_m), uvs + len(part.uv)
            materials += len(part.materials)
        joined = {
            field.name: torch.cat([getattr(part.materials, field.name) for part in parts])
            for field in fields(Materials)
        }
        return Surfaces(**{name: torch.cat(columns) for name, columns in moved.items()}, materials=Materials(**joined))
