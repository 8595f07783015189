"""All textures in one tensor, so that one gather shades every surface of a batch.

Each picture is kept with its mip levels as packed RGBA words. Which level is read follows from how many texels a pixel
spans, as in graphics hardware; within a level the four nearest texels are blended.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

_MAX_LEVELS = 8


class TexturePool:
    """Textures by number. Filled while assets load, then :meth:`freeze` puts them on a device.

    Sizes are free; pictures larger than ``max_size`` are halved until they fit.
    """

    def __init__(self, *, max_size: int = 512) -> None:
        self.max_size = max_size
        self._words: list[np.ndarray] = []
        self._table: list[list[tuple[int, int, int]]] = []
        self._filled = 0
        self._frozen: tuple[Tensor, Tensor] | None = None

    def __len__(self) -> int:
        return len(self._table)

    def add(self, picture: UInt8[np.ndarray, "H W C"]) -> int:
        """Add an sRGB picture (3 channels, or 4 with alpha; row 0 on top) and return its number."""
        import cv2

        if picture.ndim != 3 or picture.shape[2] not in (3, 4) or picture.dtype != np.uint8 or 0 in picture.shape:
            raise ValueError(f"a texture must be uint8 H×W×3 or H×W×4, not {picture.dtype} {picture.shape}")
        if picture.shape[2] == 3:
            picture = np.concatenate([picture, np.full_like(picture[..., :1], 255)], axis=-1)
        levels: list[tuple[int, int, int]] = []
        while len(levels) < _MAX_LEVELS:
            height, width = picture.shape[:2]
            if levels or max(height, width) <= self.max_size:
                words = np.ascontiguousarray(picture).view(np.int32).reshape(-1)
                levels.append((self._filled, width, height))
                self._words.append(words)
                self._filled += len(words)
                if max(height, width) <= 4:
                    break
            picture = cv2.resize(
                picture, (max(1, width // 2), max(1, height // 2)), interpolation=cv2.INTER_AREA
            ).reshape(max(1, height // 2), max(1, width // 2), 4)
        levels += [levels[-1]] * (_MAX_LEVELS - len(levels))
        self._table.append(levels)
        self._frozen = None
        return len(self._table) - 1

    def freeze(self, device: torch.device | str = "cpu") -> None:
        """Put all textures on a device; adding more undoes it."""
        words = np.concatenate(self._words) if self._words else np.zeros(1, np.int32)
        table = np.array(self._table, dtype=np.int64).reshape(-1, _MAX_LEVELS, 3)
        self._frozen = torch.from_numpy(words).to(device), torch.from_numpy(table).to(device)

    def sample(
        self,
        texture: Int64[Tensor, "P"],
        uv: Float[Tensor, "P 2"],
        texels_per_pixel: Float[Tensor, "P"] | None = None,
        *,
        blend: bool = True,
    ) -> Float[Tensor, "P 4"]:
        """RGBA in [0, 1] (sRGB) at texture coordinates (origin bottom left, repeating).

        Args:
            texture: numbers of textures, none negative.
            uv: coordinates; the whole part is dropped.
            texels_per_pixel: how many texels of the largest level a pixel spans; the largest level if left out.
            blend: the four nearest texels, or take the nearest.
        """
        if self._frozen is None:
            self.freeze(uv.device)
        assert self._frozen is not None
        words, table = self._frozen
        rows = table.view(-1, 3)
        row = texture * _MAX_LEVELS
        if texels_per_pixel is not None:
            level = texels_per_pixel.clamp(min=1).log2().round_().clamp_(max=_MAX_LEVELS - 1).long()
            row = row + level
        start, width, height = rows.index_select(0, row).unbind(-1)
        if not blend:
            column = ((uv[:, 0] - uv[:, 0].floor()) * width).long()
            line = ((1 - (uv[:, 1] - uv[:, 1].floor())) * height).long()
            return (
                _unpack(words, start + torch.minimum(line, height - 1) * width + torch.minimum(column, width - 1)) / 255
            )
        u = (uv[:, 0] - uv[:, 0].floor()) * width - 0.5
        v = (1 - (uv[:, 1] - uv[:, 1].floor())) * height - 0.5
        column, line = u.floor(), v.floor()
        right, down = (u - column)[:, None], (v - line)[:, None]
        column, line = column.long(), line.long()
        columns = (column % width, (column + 1) % width)
        lines = (start + (line % height) * width, start + ((line + 1) % height) * width)
        upper, lower = (
            torch.lerp(_unpack(words, y + columns[0]), _unpack(words, y + columns[1]), right) for y in lines
        )
        return torch.lerp(upper, lower, down) / 255

    def size(self, texture: Int64[Tensor, "P"]) -> Float[Tensor, "P 2"]:
        """Width and height in texels of the largest level."""
        if self._frozen is None:
            self.freeze(texture.device)
        assert self._frozen is not None
        return self._frozen[1][texture, 0, 1:].float()


def _unpack(words: Tensor, index: Int64[Tensor, "P"]) -> Float[Tensor, "P 4"]:
    return words.index_select(0, index).view(torch.uint8).view(-1, 4).float()
