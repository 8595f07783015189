"""The texture pool reads what was put in, repeats, blends, and coarsens."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from metrichmsr.synthetic.textures import TexturePool


def random_picture(seed: int, height: int, width: int, channels: int = 4) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


def centres(height: int, width: int) -> torch.Tensor:
    row, column = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([(column + 0.5) / width, 1 - (row + 0.5) / height], dim=-1).view(-1, 2)


def test_texel_centres_read_the_picture_and_origin_is_bottom_left() -> None:
    pool = TexturePool()
    pictures = [random_picture(0, 16, 32), random_picture(1, 8, 8)]
    numbers = [pool.add(picture) for picture in pictures]
    for number, picture in zip(numbers, pictures, strict=True):
        uv = centres(*picture.shape[:2])
        colours = pool.sample(torch.full((len(uv),), number), uv) * 255
        assert torch.allclose(colours, torch.from_numpy(picture).view(-1, 4).float(), atol=1e-2)
    assert pool.size(torch.tensor(numbers)).tolist() == [[32, 16], [8, 8]]


def test_repeats_and_blends() -> None:
    pool = TexturePool()
    picture = random_picture(2, 16, 16)
    number = torch.tensor([pool.add(picture)])
    uv = torch.tensor([[0.31, 0.77]])
    for shift in ([1.0, 0.0], [-3.0, 5.0]):
        moved = pool.sample(number, uv + torch.tensor(shift))
        assert torch.allclose(pool.sample(number, uv), moved, atol=1e-3)
    # Between two texel centres lies their mean; between the last and the first too.
    middle = pool.sample(number, torch.tensor([[1 / 16, 1 - 0.5 / 16]])) * 255
    assert torch.allclose(middle[0], torch.from_numpy(picture[0, :2].astype(np.float32)).mean(0), atol=0.05)
    seam = pool.sample(number, torch.tensor([[0.0, 1 - 0.5 / 16]])) * 255
    assert torch.allclose(seam[0], torch.from_numpy(picture[0, [0, 15]].astype(np.float32)).mean(0), atol=0.05)


def test_far_away_only_the_mean_is_seen() -> None:
    pool = TexturePool()
    picture = random_picture(3, 64, 64, 3)
    number = torch.full((20,), pool.add(picture))
    uv = torch.rand(20, 2, generator=torch.Generator().manual_seed(0))
    colours = pool.sample(number, uv, torch.full((20,), 64.0))
    assert colours[:, :3].std(0).max() < 0.06
    assert torch.allclose(colours[:, :3].mean(0) * 255, torch.from_numpy(picture).float().mean((0, 1)), atol=8)
    assert (colours[:, 3] == 1).all(), "no alpha given: opaque"


def test_large_pictures_shrink_and_wrong_ones_are_refused() -> None:
    pool = TexturePool(max_size=32)
    assert pool.size(torch.tensor([pool.add(random_picture(4, 128, 64))])).tolist() == [[16, 32]]
    with pytest.raises(ValueError, match="uint8"):
        pool.add(np.zeros((4, 4, 3), np.float32))
    with pytest.raises(ValueError, match="uint8"):
        pool.add(np.zeros((4, 4), np.uint8))
