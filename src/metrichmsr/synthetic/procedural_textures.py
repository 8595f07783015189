"""Tileable floors and walls, and far backgrounds, made of noise: what there is without any assets."""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt8

SIZE = 256


def floors(generator: np.random.Generator) -> dict[str, UInt8[np.ndarray, "256 256 3"]]:
    """Floors by name: planks, tiles, carpet, grass, asphalt, sand, concrete."""
    return {
        "floor_planks": _planks(generator),
        "floor_tiles": _tiles(generator, 4, 0.03),
        "floor_small_tiles": _tiles(generator, 8, 0.06),
        "floor_carpet": _noisy(generator, (0.45, 0.30, 0.25), 0.10, 60),
        "floor_grass": _noisy(generator, (0.28, 0.40, 0.16), 0.22, 50),
        "floor_asphalt": _noisy(generator, (0.33, 0.33, 0.34), 0.14, 90),
        "floor_sand": _noisy(generator, (0.72, 0.62, 0.45), 0.08, 70),
        "floor_concrete": _noisy(generator, (0.58, 0.57, 0.55), 0.07, 12),
    }


def walls(generator: np.random.Generator) -> dict[str, UInt8[np.ndarray, "256 256 3"]]:
    """Walls by name: plaster, bricks, paper, panels, windows of a house."""
    return {
        "wall_plaster": _noisy(generator, (0.85, 0.83, 0.78), 0.04, 10),
        "wall_rough": _noisy(generator, (0.75, 0.72, 0.68), 0.08, 40),
        "wall_bricks": _bricks(generator),
        "wall_paper": _paper(generator),
        "wall_panels": _panels(generator),
        "wall_windows": _windows(generator),
    }


def backdrops(generator: np.random.Generator, count: int) -> list[UInt8[np.ndarray, "192 256 3"]]:
    """Far backgrounds: colours that run into each other, blobs, a horizon."""
    result = []
    for i in range(count):
        picture = np.zeros((192, 256, 3))
        for channel in range(3):
            picture[..., channel] = generator.uniform(0.15, 0.85) + 0.25 * noise(generator, 2)[:192]
        shared = noise(generator, int(generator.integers(3, 40)))[:192]
        picture += (0.25 * generator.random() * shared)[..., None]
        if i % 3 == 0:
            horizon = int(generator.uniform(0.35, 0.7) * 192)
            picture[horizon:] *= generator.uniform(0.4, 1.2, 3)
            for _ in range(int(generator.integers(0, 12))):
                left, top = int(generator.integers(0, 256)), int(horizon - generator.integers(4, 60))
                picture[top:horizon, left : left + int(generator.integers(6, 50))] = generator.uniform(0.1, 0.9, 3)
        result.append(to_bytes(picture))
    return result


def noise(generator: np.random.Generator, cells: float) -> np.ndarray:
    """Smooth tileable noise in [−1, 1]."""
    spectrum = np.fft.fft2(generator.normal(size=(SIZE, SIZE)))
    u, v = np.meshgrid(np.fft.fftfreq(SIZE) * SIZE, np.fft.fftfreq(SIZE) * SIZE)
    picture = np.real(np.fft.ifft2(spectrum * np.exp(-0.5 * (u**2 + v**2) / cells**2)))
    return picture / np.abs(picture).max()


def to_bytes(picture: np.ndarray) -> np.ndarray:
    """Values in [0, 1] to uint8."""
    return (picture.clip(0, 1) * 255).round().astype(np.uint8)


def _noisy(generator: np.random.Generator, colour: tuple[float, float, float], amount: float, cells: int) -> np.ndarray:
    grain = amount * (noise(generator, cells) + 0.5 * noise(generator, cells / 6 + 1))
    return to_bytes(np.array(colour) * (1 + grain[..., None]))


def _planks(generator: np.random.Generator) -> np.ndarray:
    picture = np.empty((SIZE, SIZE, 3))
    for i in range(8):
        row = slice(i * 32, (i + 1) * 32)
        tone = np.array([0.62, 0.45, 0.30]) * generator.uniform(0.75, 1.15)
        grain = np.repeat(generator.normal(0, 0.04, (32, 1)), SIZE, 1) + 0.06 * noise(generator, 6)[row]
        picture[row] = tone * (1 + grain[..., None])
        picture[i * 32] *= 0.5
        picture[row, int(generator.integers(SIZE))] *= 0.6
    return to_bytes(picture)


def _tiles(generator: np.random.Generator, count: int, grout: float) -> np.ndarray:
    place = np.arange(SIZE) / SIZE * count % 1
    line = (place < grout) | (place > 1 - grout)
    picture = np.empty((SIZE, SIZE, 3))
    size = SIZE // count
    colour = generator.uniform(0.45, 0.95, 3) ** 0.5
    for i in range(count):
        for j in range(count):
            picture[i * size : (i + 1) * size, j * size : (j + 1) * size] = colour * generator.uniform(0.92, 1.05)
    picture[line] *= 0.7
    picture[:, line] *= 0.7
    return to_bytes(picture * (1 + 0.04 * noise(generator, 20)[..., None]))


def _bricks(generator: np.random.Generator) -> np.ndarray:
    picture = np.full((SIZE, SIZE, 3), 0.72)
    for i in range(16):
        for j in range(-1, 8):
            left = j * 32 + (16 if i % 2 else 0)
            tone = np.array([0.62, 0.32, 0.24]) * generator.uniform(0.7, 1.2)
            picture[i * 16 + 1 : i * 16 + 15, max(0, left + 1) : max(0, left + 31)] = tone
    return to_bytes(picture * (1 + 0.1 * noise(generator, 50)[..., None]))


def _paper(generator: np.random.Generator) -> np.ndarray:
    one, other = generator.uniform(0.5, 0.95, (2, 3))
    stripe = np.arange(SIZE) // 16 % 2
    picture = np.where(stripe[None, :, None] == 1, one, 0.5 * (one + other))
    return to_bytes(np.broadcast_to(picture, (SIZE, SIZE, 3)) * (1 + 0.03 * noise(generator, 30)[..., None]))


def _panels(generator: np.random.Generator) -> np.ndarray:
    picture = np.full((SIZE, SIZE, 3), 1.0) * np.array([0.55, 0.40, 0.28]) * generator.uniform(0.7, 1.3)
    picture[:, ::64] *= 0.55
    picture[:, 1::64] *= 0.75
    return to_bytes(picture * (1 + 0.06 * noise(generator, 8)[..., None]))


def _windows(generator: np.random.Generator) -> np.ndarray:
    picture = np.ones((SIZE, SIZE, 3)) * generator.uniform(0.4, 0.85, 3)
    for row in range(24, SIZE, 64):
        for column in range(20, SIZE, 64):
            glass = np.array([0.25, 0.30, 0.36]) * generator.uniform(0.5, 1.8)
            picture[row - 3 : row + 35, column - 3 : column + 27] = 0.9
            picture[row : row + 32, column : column + 24] = glass
    return to_bytes(picture * (1 + 0.05 * noise(generator, 40)[..., None]))
