"""The network behind ``estimated:panorama``: from a picture to its field of view, pitch and roll, each with a sigma.

A picture tells its lens by what it shows and where: how large and how steep things are seen, and how lines run. Two
descriptions of it are laid on one coarse grid, a token a cell: the maps of the backbone that finds people as well
(frozen, MobileNetV2), and a histogram of gradient orientations, which tells to a few degrees where lines point. A small
transformer reads the tokens with their places.

Convention: coordinates are in half diagonals from the picture's middle, x right and y down, so that the picture's shape
is in them; the focal length is told in diagonals, the measure of 35 mm equivalents.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from metrichmsr.calibration.assumed import RELATIVE_SIGMA
from metrichmsr.people.movenet import PYRAMID_TAPS, Backbone

CELL = 32
"""Side of a token's cell in pixels of the backbone's input."""
AREA = 192 * 256
"""About so many pixels does the backbone see."""
LONGEST = 512
"""Longest side of the backbone's input: of longer strips the shape is not kept."""
BINS = 24
"""Orientations between 0 and 180 degrees."""
_FAINT = 2.0  # grey levels per pixel: gradients below are noise

_STRIDE8, _STRIDE16, _STRIDE32 = 48, 96, 480  # channels of the backbone's maps that are used
FEATURES = _STRIDE32 + 4 * _STRIDE16 + 2 * _STRIDE8 + BINS + 1
"""Numbers that describe a cell."""
OUTPUTS = 3
"""log(focal length / diagonal), pitch and roll in radians; each comes with the logarithm of its Laplace scale."""
DOUBT = 2.0
"""So many times its sigma is the network thought to be off in the focal length of a real picture: it has learned lenses
from panoramas and drawn scenes. Chosen on RGB-D frames of rooms and sensors that it has not seen; see
``weights/view_small.md``."""


def input_size(width: int, height: int) -> tuple[int, int]:
    """(width, height) in which the backbone sees a picture of this size: multiples of 32 of nearly its shape."""
    wanted = math.log(width / height)
    best, least = (CELL, CELL), math.inf
    for columns in range(3, LONGEST // CELL + 1):
        for rows in range(3, LONGEST // CELL + 1):
            shape = abs(math.log(columns / rows) - wanted)
            cost = shape + 0.4 * abs(math.log(columns * rows * CELL**2 / AREA))
            if cost < least:
                best, least = (columns * CELL, rows * CELL), cost
    return best


def shrink(image: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "h w 3"]:
    """The picture at twice the backbone's input size, which is all that is read of it."""
    width, height = input_size(image.shape[1], image.shape[0])
    return _resize(image, 2 * width, 2 * height)


def coordinates(columns: int, rows: int, width: float, height: float) -> Float[Tensor, "N 3"]:
    """Place of each cell's middle in a picture of this size, in half diagonals, and the logarithm of its shape."""
    half = math.hypot(width, height) / 2
    x = ((torch.arange(columns) + 0.5) / columns - 0.5) * width / half
    y = ((torch.arange(rows) + 0.5) / rows - 0.5) * height / half
    places = torch.stack([x.repeat(rows), y.repeat_interleave(columns)], dim=1)
    return torch.cat([places, torch.full((len(places), 1), math.log(width / height))], dim=1)


def orientations(small: UInt8[np.ndarray, "h w 3"], width: int, height: int) -> Float[np.ndarray, "N bins"]:
    """Histogram of gradient directions of each cell, and the logarithm of its contrast.

    Args:
        small: what :func:`shrink` gives.
        width: of the picture itself, pixels; directions are those in it, not in its shrunk and slightly stretched copy.
        height: of the picture itself.
    """
    gray = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32)
    gray = cv2.GaussianBlur(gray, (0, 0), 0.8)
    stretch_x, stretch_y = small.shape[1] / width, small.shape[0] / height
    mean = math.sqrt(stretch_x * stretch_y)
    dx = cv2.Sobel(gray, cv2.CV_32F, 1, 0, scale=stretch_x / mean / 8)
    dy = cv2.Sobel(gray, cv2.CV_32F, 0, 1, scale=stretch_y / mean / 8)
    side = 2 * CELL
    rows, columns = small.shape[0] // side, small.shape[1] // side
    seen_y, seen_x = np.nonzero(dx * dx + dy * dy > _FAINT**2)
    dx, dy = dx[seen_y, seen_x], dy[seen_y, seen_x]
    place = np.mod(np.arctan2(dy, dx), math.pi) * (BINS / math.pi)
    low = place.astype(np.int64)
    strength, share = np.sqrt(dx * dx + dy * dy), place - low
    base = (seen_y // side * columns + seen_x // side) * BINS
    counts = np.zeros(rows * columns * BINS)
    for bins, weight in ((low % BINS, strength * (1 - share)), ((low + 1) % BINS, strength * share)):
        counts += np.bincount(base + bins, weight, minlength=len(counts))
    counts = counts.reshape(rows * columns, BINS)
    total = counts.sum(1, keepdims=True)
    shares = np.sqrt(counts / (total + 0.1 * side**2))  # cells with little in them have no direction
    return np.concatenate([shares, np.log1p(total / side**2)], axis=1).astype(np.float32)


def deep_features(backbone: Backbone, images: Float[Tensor, "B 3 h w"]) -> Float[Tensor, "B N features"]:
    """What the backbone says of each cell: its last map, and what lies beneath it in the finer two.

    Args:
        backbone: MoveNet's.
        images: RGB in [0, 1]; height and width multiples of 32.
    """
    fine, middle, x = backbone.taps(2 * images - 1, (*PYRAMID_TAPS[1:], len(backbone.blocks)))
    cells = nn.functional.pixel_unshuffle(fine.contiguous(), 4)
    cells = cells.unflatten(1, (_STRIDE8, 16))
    parts = [x, nn.functional.pixel_unshuffle(middle.contiguous(), 2), cells.mean(2), cells.std(2)]
    return torch.cat(parts, dim=1).flatten(2).transpose(1, 2)


class ViewNetwork(nn.Module):
    """Transformer over cells; a quarter of a million weights.

    Args:
        width: of the tokens.
        layers: of the transformer.
        heads: of its attention.
    """

    mean: Float[Tensor, "features"]
    scale: Float[Tensor, "features"]
    log_sigma_shift: Float[Tensor, "3"]
    focal_spread: Float[Tensor, ""]

    def __init__(self, *, width: int = 96, layers: int = 2, heads: int = 4) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(FEATURES))
        self.register_buffer("scale", torch.ones(FEATURES))
        self.register_buffer("log_sigma_shift", torch.zeros(OUTPUTS))
        self.register_buffer("focal_spread", torch.ones(()))
        self.embed = nn.Linear(FEATURES, width)
        self.place = nn.Sequential(nn.Linear(6, 64), nn.GELU(), nn.Linear(64, width))
        self.query = nn.Parameter(torch.zeros(1, 1, width))
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(width, heads, 2 * width, 0.1, "gelu", batch_first=True, norm_first=True)
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, 2 * OUTPUTS)

    def forward(
        self, features: Float[Tensor, "B N features"], places: Float[Tensor, "N 3"]
    ) -> tuple[Float[Tensor, "B 3"], Float[Tensor, "B 3"]]:
        """Log focal length (in diagonals), pitch and roll (radians); and one sigma of each.

        Args:
            features: of :func:`deep_features` and :func:`orientations`, side by side.
            places: of :func:`coordinates`.
        """
        x, y, shape = places.unbind(-1)
        where = self.place(torch.stack([x, y, shape, x * x, x * y, y * y], dim=-1))
        tokens = self.embed((features - self.mean) * self.scale) + where
        tokens = torch.cat([self.query.expand(len(tokens), -1, -1), tokens], dim=1)
        for layer in self.layers:
            tokens = layer(tokens)
        values, log_sigma = self.out(self.norm(tokens[:, 0])).chunk(2, dim=-1)
        return values, (log_sigma + self.log_sigma_shift).clamp(-6, 3).exp()

    def estimate(
        self, features: Float[Tensor, "B N features"], places: Float[Tensor, "N 3"]
    ) -> tuple[Float[Tensor, "B 3"], Float[Tensor, "B 3"]]:
        """What is believed of pictures: the network's answer, its focal length joined with what lenses are usual.

        Both speak of the logarithm of the focal length. Usual is the longer side of the picture, with the sigma of
        :mod:`~metrichmsr.calibration.assumed`; the network's sigma counts ``DOUBT`` times.
        """
        values, sigmas = self(features, places)
        usual = -0.5 * torch.log1p(torch.exp(-2 * places[0, 2].abs()))  # longer side, in diagonals
        seen, known = (DOUBT * sigmas[:, 0]) ** -2, RELATIVE_SIGMA**-2
        log_focal = (seen * values[:, 0] + known * usual) / (seen + known)
        sigma = self.focal_spread * (seen + known) ** -0.5
        return (
            torch.cat([log_focal[:, None], values[:, 1:]], dim=1),
            torch.cat([sigma[:, None], sigmas[:, 1:]], dim=1),
        )


def describe(
    backbone: Backbone, smalls: UInt8[np.ndarray, "B h w 3"], width: int, height: int
) -> Float[Tensor, "B N features"]:
    """Features of pictures of one size.

    Args:
        backbone: MoveNet's.
        smalls: of :func:`shrink`.
        width: of the pictures themselves, pixels.
        height: of the pictures themselves.
    """
    size = smalls.shape[2] // 2, smalls.shape[1] // 2
    halves = np.stack([_resize(small, *size) for small in smalls])
    device = next(backbone.parameters()).device
    batch = torch.from_numpy(halves).to(device).permute(0, 3, 1, 2).float().div(255)
    deep = deep_features(backbone, batch.contiguous(memory_format=torch.channels_last))
    lines = np.stack([orientations(small, width, height) for small in smalls])
    return torch.cat([deep, torch.from_numpy(lines).to(device)], dim=-1)


def _resize(image: UInt8[np.ndarray, "H W 3"], width: int, height: int) -> UInt8[np.ndarray, "h w 3"]:
    smaller = image.shape[1] > width or image.shape[0] > height
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)
