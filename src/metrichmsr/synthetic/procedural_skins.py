"""Skins without assets: faces with eyes, brows and lips hinted, painted through Anny's texture coordinates."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from metrichmsr.bodies.anny import AnnyBody
from metrichmsr.rendering import interpolate, rasterize
from metrichmsr.structures import COCO17

SIZE = 512
_MOUTH = len(COCO17) + 9, len(COCO17) + 10
"""Its corners among the keypoints: BlazePose's landmarks follow COCO's."""
_IRISES = ((0.10, 0.05, 0.03), (0.20, 0.11, 0.05), (0.12, 0.22, 0.30), (0.14, 0.22, 0.12))


def face_pictures(body: AnnyBody, generator: np.random.Generator, count: int) -> list[UInt8[np.ndarray, "512 512 3"]]:
    """Pictures that are white but for the features of a face, to be multiplied with a skin's tone.

    Args:
        body: Anny, unrestricted.
        generator: draws colours and shapes.
        count: how many.
    """
    place, seen, eye = _texels(body)
    rest = body.rest(body.default_shape()[None])
    eyes = [rest.joints_m[0, body.bone_names.index(f"eye.{side}")] for side in "LR"]
    corners = body.points(rest.vertices_m, rest.joints_m)[0, list(_MOUTH)]
    pictures = []
    for i in range(count):
        picture = torch.ones(SIZE, SIZE, 3, device=place.device)
        thick, brow, lip = generator.uniform(0.0018, 0.0036), generator.uniform(0.1, 0.5), generator.uniform(0.4, 0.75)
        for centre in eyes:
            away = place - centre
            bow = 0.020 - 12.0 * away[..., 0].square()
            _paint(picture, seen & ~eye & _near(away, 0.024) & ((away[..., 2] - bow).abs() < thick), (brow,) * 3)
            # Anny faces −y.
            ahead = -away[..., 1] / away.norm(dim=-1).clamp_min(1e-6)
            iris = seen & eye & (away.norm(dim=-1) < 0.03) & (ahead > 0.88)
            _paint(picture, iris, _IRISES[i % len(_IRISES)])
            _paint(picture, iris & (ahead > 0.975), (0.01, 0.01, 0.01))
        away = place - corners.mean(0)
        half = 0.55 * (corners[0] - corners[1]).norm()
        inside = (away[..., 0] / half).square() + (away[..., 2] / (0.36 * half)).square() < 1
        _paint(picture, seen & inside & (away[..., 1].abs() < 0.03), (1.0, lip, lip))
        pictures.append((picture.clamp(0, 1).pow(1 / 2.2) * 255).round().byte().cpu().numpy())
    return pictures


def _texels(body: AnnyBody) -> tuple[Float[Tensor, "512 512 3"], Tensor, Tensor]:
    """Place of every texel on the average adult at rest, which texels the skin uses, and which are the eyes'."""
    uv, faces = body.uv.float(), body.face_uv.long()
    flat = torch.stack([uv[:, 0] * SIZE, (1 - uv[:, 1]) * SIZE, torch.ones_like(uv[:, 0])], dim=-1)[None]
    fragments = rasterize(flat, faces, torch.eye(3, device=uv.device), height=SIZE, width=SIZE)
    rest = body.rest(body.default_shape()[None]).vertices_m[0]
    eyes = torch.tensor([name.startswith("eye.") for name in body.bone_names], device=uv.device)[body.skin.argmax(0)]
    known = torch.cat([rest, eyes[:, None].float()], dim=-1)
    of_uv = torch.zeros(len(uv), 4, device=uv.device)
    of_uv[faces.flatten()] = known[body.faces.long().flatten()]
    values = interpolate(fragments, faces, of_uv)[0]
    return values[..., :3], fragments.mask[0], values[..., 3] > 0.5


def _near(away: Float[Tensor, "*B 3"], reach: float) -> Tensor:
    return (away[..., 0].abs() < reach) & (away[..., 1].abs() < 2 * reach) & (away[..., 2].abs() < 2 * reach)


def _paint(picture: Tensor, where: Tensor, colour: tuple[float, ...]) -> None:
    picture[where] = picture.new_tensor(colour)
