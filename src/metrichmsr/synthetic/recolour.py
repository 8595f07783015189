"""Textures of clothes and hair, and the tints that give them other colours."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from metrichmsr.synthetic.assets import AssetFolder
from metrichmsr.synthetic.textures import TexturePool

NO_COLOUR = ("normal", "displacement", "bump", "specular")
"""Ends of the names of maps that lie beside textures and are none."""
_DARKEST = 0.04
_BRIGHTEST = 1.1
"""What the bright parts of a recoloured texture may come to."""


@dataclass(frozen=True)
class WornTexture:
    """A texture in the pool, and how bright it is."""

    number: int
    """In the pool."""
    mean: float
    """Linear brightness where it is opaque."""
    bright: float
    """The 98th percentile of that."""
    cut: bool
    """Whether it has holes."""


def read_texture(assets: AssetFolder, pool: TexturePool, path: Path) -> WornTexture | None:
    """Put a picture into the pool; None where it is broken, which the folder notes."""
    picture = assets.read_picture(path)
    if picture is None:
        return None
    opaque = picture[..., 3] > 127 if picture.shape[2] == 4 else np.ones(picture.shape[:2], dtype=bool)
    light = (picture[..., :3][opaque] / 255.0) ** 2.2 @ np.array([0.2126, 0.7152, 0.0722])
    mean, bright = (float(light.mean()), float(np.quantile(light, 0.98))) if len(light) else (1.0, 1.0)
    return WornTexture(pool.add(picture), mean, bright, bool((~opaque).mean() > 0.005))


def recoloured(wanted: tuple[float, float, float], texture: WornTexture) -> tuple[float, float, float]:
    """The tint that brings a grey texture to a colour in the mean, or as near as its bright parts allow.

    The hue stays: all channels are scaled alike.

    Args:
        wanted: linear albedo.
        texture: what is worn.
    """
    lift = min(1 / max(texture.mean, _DARKEST), _BRIGHTEST / max(texture.bright * max(wanted), 1e-6))
    red, green, blue = wanted
    return lift * red, lift * green, lift * blue
