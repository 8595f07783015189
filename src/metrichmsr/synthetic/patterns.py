"""Tileable grey patterns that are multiplied onto cloth and skin: stripes, checks, dots, blobs, weave, freckles."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, UInt8

SIZE = 128


def cloth_patterns(generator: np.random.Generator, count: int) -> list[UInt8[np.ndarray, "128 128 3"]]:
    """Patterns for clothes, in colours of their own."""
    kinds: list[Callable[[np.random.Generator], Float[np.ndarray, "128 128"]]] = [
        _stripes, _stripes, _checks, _dots, _blobs, _blobs, _weave, _zigzag, _letters,
    ]  # fmt: skip
    result = []
    for i in range(count):
        amount = kinds[i % len(kinds)](generator)[..., None]
        one, other = generator.uniform(0.15, 1, (2, 3)) ** 0.8
        if generator.random() < 0.4:
            one, other = np.ones(3), np.full(3, generator.uniform(0.2, 0.8))
        result.append(_bytes(one * (1 - amount) + other * amount))
    return result


def skin_patterns(generator: np.random.Generator, count: int) -> list[UInt8[np.ndarray, "128 128 3"]]:
    """Nearly white patterns for procedural skins: mottled, a little red."""
    result = []
    for _ in range(count):
        mottle = 0.06 * _noise(generator, 4) + 0.04 * _noise(generator, 16)
        red = 0.05 * _noise(generator, 3)
        result.append(_bytes(np.stack([0.95 + mottle + red, 0.93 + mottle, 0.92 + mottle - red], axis=-1)))
    return result


def hair_patterns(generator: np.random.Generator, count: int) -> list[UInt8[np.ndarray, "128 128 3"]]:
    """Strands."""
    result = []
    for _ in range(count):
        strands = _noise(generator, 40, along=3)
        result.append(_bytes(np.repeat((0.75 + 0.5 * strands)[..., None], 3, axis=-1)))
    return result


def _grid() -> tuple[np.ndarray, np.ndarray]:
    place = (np.arange(SIZE) + 0.5) / SIZE
    return np.meshgrid(place, place)


def _stripes(generator: np.random.Generator) -> np.ndarray:
    x, y = _grid()
    count, share = generator.integers(1, 9), generator.uniform(0.2, 0.8)
    phase = (y if generator.random() < 0.65 else x) * count
    return (phase % 1 < share).astype(float)


def _checks(generator: np.random.Generator) -> np.ndarray:
    x, y = _grid()
    count, share = generator.integers(1, 7), generator.uniform(0.3, 0.7)
    return 0.5 * ((x * count % 1 < share).astype(float) + (y * count % 1 < share))


def _dots(generator: np.random.Generator) -> np.ndarray:
    x, y = _grid()
    count, radius = generator.integers(2, 9), generator.uniform(0.15, 0.4)
    return (np.hypot(x * count % 1 - 0.5, y * count % 1 - 0.5) < radius).astype(float)


def _blobs(generator: np.random.Generator) -> np.ndarray:
    noise = _noise(generator, int(generator.integers(2, 10)))
    return (noise > generator.uniform(-0.3, 0.3)).astype(float) if generator.random() < 0.6 else 0.5 + 0.5 * noise


def _weave(generator: np.random.Generator) -> np.ndarray:
    x, y = _grid()
    count = int(generator.integers(16, 40))
    return 0.5 + 0.25 * np.sin(2 * np.pi * count * x) * np.sin(2 * np.pi * count * y) + 0.2 * _noise(generator, 6)


def _zigzag(generator: np.random.Generator) -> np.ndarray:
    x, y = _grid()
    count = generator.integers(2, 6)
    return ((y * count + np.abs(x * count % 1 - 0.5)) % 1 < 0.5).astype(float)


def _letters(generator: np.random.Generator) -> np.ndarray:
    """Something like print on the middle of a shirt."""
    picture = np.zeros((SIZE, SIZE))
    for _ in range(int(generator.integers(2, 7))):
        row, column = generator.integers(8, SIZE - 40, 2)
        height, width = generator.integers(4, 12), generator.integers(10, 34)
        picture[row : row + height, column : column + width] = generator.uniform(0.4, 1)
    return picture


def _noise(generator: np.random.Generator, cells: int, *, along: int | None = None) -> np.ndarray:
    """Smooth tileable noise in [−1, 1]: band-limited in both directions, or with another limit along the rows."""
    spectrum = np.fft.fft2(generator.normal(size=(SIZE, SIZE)))
    u, v = np.meshgrid(np.fft.fftfreq(SIZE) * SIZE, np.fft.fftfreq(SIZE) * SIZE)
    spectrum *= np.exp(-0.5 * ((u / cells) ** 2 + (v / (along or cells)) ** 2))
    noise = np.real(np.fft.ifft2(spectrum))
    return noise / max(1e-9, np.abs(noise).max())


def _bytes(picture: np.ndarray) -> np.ndarray:
    return (picture.clip(0, 1) * 255).round().astype(np.uint8)
