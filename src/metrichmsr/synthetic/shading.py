"""Colour of single surface points: albedo from textures, light of sun and surroundings, shadows, a highlight."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from metrichmsr.synthetic.environments import Lights
from metrichmsr.synthetic.shadows import ShadowMaps, Shot
from metrichmsr.synthetic.surfaces import Surfaces
from metrichmsr.synthetic.textures import TexturePool

CATCHER = -2
"""Texture of a surface that shows the background, darkened by the shadows on it."""
_LUMINANCE = (0.2126, 0.7152, 0.0722)
_GAMMA = 2.2
_GLOSS = 24.0


@dataclass(frozen=True)
class Samples:
    """P points of surfaces seen by pixels."""

    face: Int64[Tensor, "P"]
    barycentrics: Float[Tensor, "P 3"]
    depth_m: Float[Tensor, "P"]
    shot: Shot
    behind: Float[Tensor, "P 3"]
    """Linear RGB of the background there."""


class Shader:
    """Shades points of one batch of surfaces."""

    def __init__(
        self,
        surfaces: Surfaces,
        pool: TexturePool,
        lights: Lights,
        camera_from_world: Float[Tensor, "S 3 4"],
        K: Float[Tensor, "S 3 3"],
        *,
        fine: bool = True,
    ) -> None:
        self._fine = fine
        self._surfaces = surfaces
        self._pool = pool
        self._lights = lights
        self._places = torch.cat([surfaces.vertices_m, surfaces.normals], dim=-1)
        self._rotation = camera_from_world[:, :, :3]
        rotation = camera_from_world[:, :, :3]
        self._eye = -(rotation.transpose(1, 2) @ camera_from_world[:, :, 3:]).squeeze(-1)
        self._focal = K[:, 0, 0].float()
        self.catches: Bool[Tensor, "F"] = (surfaces.materials.texture == CATCHER).index_select(0, surfaces.material)
        """Faces that show the background."""
        self._any_shiny = bool((surfaces.materials.shininess > 0).any())
        texture = surfaces.materials.texture
        self._texture = texture.clamp_min(0)
        self._texels = torch.where(
            (texture >= 0)[:, None],
            pool.size(self._texture) if len(pool) else torch.ones_like(surfaces.materials.tint[:, :2]),
            1.0,
        ).prod(-1)

    def is_there(self, face: Int64[Tensor, "M"], barycentrics: Float[Tensor, "M 3"]) -> Bool[Tensor, "M"]:
        """Alpha test of surfaces with holes."""
        uv = self._uv(face, barycentrics)[0]
        material = self._surfaces.material.index_select(0, face)
        return self._pool.sample(self._texture.index_select(0, material), uv, blend=self._fine)[:, 3] > 0.5

    def shade(self, samples: Samples, shadows: ShadowMaps) -> tuple[Float[Tensor, "P 3"], Float[Tensor, "P 3"]]:
        """Linear RGB of points, and their unit normals towards the camera in the camera frame."""
        surfaces, lights, shot = self._surfaces, self._lights, samples.shot
        corners = [surfaces.faces[:, k].index_select(0, samples.face) for k in range(3)]
        weights = [samples.barycentrics[:, k, None] for k in range(3)]

        ends = [self._places.index_select(0, corner) for corner in corners]
        at = sum(end * weight for end, weight in zip(ends, weights, strict=True))
        assert isinstance(at, Tensor)
        points, normal = at[:, :3].contiguous(), torch.nn.functional.normalize(at[:, 3:], dim=-1)
        to_eye = torch.nn.functional.normalize(self._eye.index_select(0, shot) - points, dim=-1)
        facing = (normal * to_eye).sum(-1, keepdim=True)
        normal = torch.where(facing < 0, -normal, normal)
        albedo, catcher, shininess = self._albedo(samples, ends)
        around = irradiance(lights.irradiance_sh.to(points), normal, shot)
        sky = shadows.sky_seen(points, shot)[:, None]
        in_camera = (self._rotation.index_select(0, shot) @ normal[:, :, None]).squeeze(-1)
        if len(shot) == 1 and not bool(shadows.shines[shot]):
            colour = albedo * (around * (sky / torch.pi))
            return torch.where(catcher[:, None], samples.behind * sky, colour), in_camera
        direction = lights.sun_direction.index_select(0, shot).to(points)
        toward = (normal * direction).sum(-1).clamp_min(0)
        sunlit = shadows.sunlit(points, shot) * toward
        sun = lights.sun_irradiance.to(points).index_select(0, shot)
        reached = around * sky + sun * sunlit[:, None]
        colour = albedo * reached / torch.pi
        if self._any_shiny:
            halfway = torch.nn.functional.normalize(direction + to_eye, dim=-1)
            gloss = (normal * halfway).sum(-1).clamp_min(0).pow(_GLOSS) * shininess * 0.35
            colour = colour + (sunlit * gloss)[:, None] * sun
        unshadowed = (around + sun * toward[:, None]).clamp_min(1e-4)
        colour = torch.where(catcher[:, None], samples.behind * (reached / unshadowed).clamp(0, 1), colour)
        return colour, in_camera

    def catch(
        self,
        points: Float[Tensor, "P 3"],
        face: Int64[Tensor, "P"],
        shot: Shot,
        behind: Float[Tensor, "P 3"],
        shadows: ShadowMaps,
    ) -> tuple[Float[Tensor, "P 3"], Float[Tensor, "P 3"]]:
        """As :meth:`shade`, for plane faces that show the background: it is darkened where shadows fall."""
        lights = self._lights
        normal = self._surfaces.normals.index_select(0, self._surfaces.faces[:, 0].index_select(0, face))
        in_camera = (self._rotation.index_select(0, shot) @ normal[:, :, None]).squeeze(-1)
        near = shadows.reaches(points, shot).nonzero().squeeze(1)
        colour = behind.clone()
        if len(near):
            points, normal = points.index_select(0, near), normal.index_select(0, near)
            of_near = shot if len(shot) == 1 else shot.index_select(0, near)
            around = irradiance(lights.irradiance_sh.to(points), normal, of_near)
            direction = lights.sun_direction.to(points).index_select(0, of_near)
            toward = (normal * direction).sum(-1, keepdim=True).clamp_min(0)
            sun = toward * lights.sun_irradiance.to(points).index_select(0, of_near)
            lit, sky = shadows.sunlit(points, of_near)[:, None], shadows.sky_seen(points, of_near)[:, None]
            reached = (around * sky + sun * lit) / (around + sun).clamp_min(1e-4)
            colour[near] *= reached.clamp(0, 1)
        return colour, in_camera

    def _uv(self, face: Tensor, barycentrics: Tensor) -> tuple[Tensor, list[Tensor]]:
        corners = [self._surfaces.face_uv[:, k].index_select(0, face) for k in range(3)]
        places = [self._surfaces.uv.index_select(0, corner) for corner in corners]
        return sum(place * barycentrics[:, k, None] for k, place in enumerate(places)), places  # pyright: ignore[reportReturnType]

    def _albedo(self, samples: Samples, ends: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Linear albedo, whether the surface is a shadow catcher, shininess."""
        surfaces, materials = self._surfaces, self._surfaces.materials
        material = surfaces.material.index_select(0, samples.face)
        albedo = materials.tint.index_select(0, material) * surfaces.color.index_select(0, samples.face)
        texture = materials.texture.index_select(0, material)
        textured = (texture >= 0).nonzero().squeeze(1)
        if len(textured):
            face = samples.face.index_select(0, textured)
            uv, (a, b, c) = self._uv(face, samples.barycentrics.index_select(0, textured))
            p, q, r = (end.index_select(0, textured)[:, :3] for end in ends)
            # Texels a pixel spans: texels per metre of this face, times metres per pixel at this depth.
            (ux, uy), (vx, vy) = (b - a).unbind(-1), (c - a).unbind(-1)
            own = material.index_select(0, textured)
            texels = (ux * vy - uy * vx).abs() * self._texels.index_select(0, own)
            area = torch.linalg.cross(q - p, r - p).norm(dim=-1).clamp_min(1e-10)
            shot = samples.shot if len(samples.shot) == 1 else samples.shot.index_select(0, textured)
            metres = samples.depth_m.index_select(0, textured) / self._focal.index_select(0, shot)
            picture = self._pool.sample(
                texture.index_select(0, textured), uv, (texels / area).sqrt() * metres, blend=self._fine
            )
            rgb = picture[:, :3].pow(_GAMMA)
            luminance = (rgb * rgb.new_tensor(_LUMINANCE)).sum(-1, keepdim=True)
            rgb = torch.lerp(rgb, luminance.expand_as(rgb), materials.gray.index_select(0, own)[:, None])
            albedo[textured] *= rgb
        pattern = materials.pattern.index_select(0, material)
        patterned = (pattern >= 0).nonzero().squeeze(1)
        if len(patterned):
            uv = self._uv(samples.face[patterned], samples.barycentrics[patterned])[0]
            scale = materials.pattern_scale.index_select(0, material[patterned])
            albedo[patterned] *= self._pool.sample(pattern[patterned], uv * scale[:, None], blend=self._fine)[
                :, :3
            ].pow(_GAMMA)
        return albedo, texture == CATCHER, materials.shininess.index_select(0, material)


def irradiance(coefficients: Float[Tensor, "S 9 3"], normals: Float[Tensor, "P 3"], shot: Shot) -> Float[Tensor, "P 3"]:
    """Irradiance of the surroundings on surfaces with these normals; never negative."""
    x, y, z = normals.unbind(-1)
    basis = (
        torch.full_like(x, 0.282095),
        0.488603 * y,
        0.488603 * z,
        0.488603 * x,
        1.092548 * x * y,
        1.092548 * y * z,
        0.315392 * (3 * z * z - 1),
        1.092548 * x * z,
        0.546274 * (x * x - y * y),
    )
    if len(shot) == 1:
        return (torch.stack(basis, dim=-1) @ coefficients[shot[0]]).clamp_min_(0)
    total = torch.zeros_like(normals)
    for k, value in enumerate(basis):
        total += coefficients[:, k].index_select(0, shot) * value[:, None]
    return total.clamp_min_(0)
