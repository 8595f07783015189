"""Features of many drawn views, kept in a folder: made once, read by every training."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from metrichmsr.calibration.view_network import CELL, coordinates, describe, input_size, shrink
from metrichmsr.people.movenet import Backbone
from view_pictures.panoramas import draw_view, read_panoramas
from view_pictures.photometric import augment
from view_pictures.pinholes import Pinhole, draw_other_view, read_frames, read_scenes
from view_pictures.views import View

USUAL_FOCAL, USUAL_TILT = 0.6, 0.5
"""Shares of views of panoramas with the focal length of a usual lens, and nearly level."""
_SCENES = 4000  # that many scenes of a set are shared among the seeds


@dataclass(frozen=True, eq=False)
class Described:
    """Views as the network reads them."""

    features: list[Float[Tensor, "N features"]]
    """float16, one tensor a view."""
    truth: Float[Tensor, "S 3"]
    """log(focal length / diagonal), pitch, roll; NaN where unknown."""
    sizes: Float[Tensor, "S 2"]
    """Width and height of the pictures, pixels."""
    sets: list[str]

    def __len__(self) -> int:
        return len(self.sets)

    def grid(self, index: int) -> tuple[int, int]:
        """Columns and rows of a view's cells."""
        width, height = input_size(*(int(side) for side in self.sizes[index]))
        return width // CELL, height // CELL

    def places(self, index: int) -> Float[Tensor, "N 3"]:
        """Coordinates of a view's cells."""
        width, height = self.sizes[index].tolist()
        return coordinates(*self.grid(index), width, height)


def training_views(
    panoramas: Path, scenes: Path | None, frames: Path | None, counts: tuple[int, int, int], seed: int
) -> Iterator[tuple[str, View]]:
    """Views to train on: of panoramas, SynFocal scenes and RGB-D frames, so many of each, of the training split."""
    rng = np.random.default_rng(seed)
    if counts[0]:
        pictures = read_panoramas(panoramas, "train")
        names = list(pictures)
        for number in range(counts[0]):
            view = draw_view(pictures[names[number % len(names)]], rng, usual_focal=USUAL_FOCAL, usual_tilt=USUAL_TILT)
            yield "panoramas", augment(view, rng, soft=True)
    if frames is not None and counts[2]:
        rng = np.random.default_rng([seed, 2])
        sources = list(read_frames(frames, trained_on=True))
        by_set = {name: [source for source in sources if source.set == name] for name in {s.set for s in sources}}
        kinds = sorted(by_set)
        # Each set as often as the root of its size: neighbouring frames are nearly the same.
        weights = np.sqrt([len(by_set[kind]) for kind in kinds])
        for number in range(counts[2]):
            kind = by_set[kinds[rng.choice(len(kinds), p=weights / weights.sum())]]
            source = kind[number % len(kind)]
            yield "frames", augment(_whole_or_part(source, rng, whole=0.6, most_zoom=1.5), rng, soft=False)
    rng, drawn = np.random.default_rng([seed, 1]), 0
    while scenes is not None and drawn < counts[1]:
        for number, source in enumerate(read_scenes(scenes)):
            if drawn >= counts[1]:
                break
            # Another part of the set for every seed, as far as it goes.
            if drawn == 0 and number < ((seed - 1) * counts[1]) % _SCENES:
                continue
            drawn += 1
            yield "scenes", augment(_whole_or_part(source, rng, whole=0.5, most_zoom=1.3), rng, soft=False)


def _whole_or_part(source: Pinhole, rng: np.random.Generator, *, whole: float, most_zoom: float) -> View:
    """The picture as it is with probability ``whole``; else a view within it."""
    return source.view() if rng.random() < whole else draw_other_view(source, rng, most_zoom=most_zoom)


def panorama_views(
    panoramas: Path, split: str, each: int, *, usual_focal: float, usual_tilt: float, plain: bool = False
) -> Iterator[tuple[str, View]]:
    """Views of each held-out panorama; ``plain`` as they are, else soft, noisy and compressed as in training."""
    for name, picture in read_panoramas(panoramas, split).items():  # pyright: ignore[reportArgumentType]
        rng = np.random.default_rng(zlib.crc32(name.encode()))
        for _ in range(each):
            view = draw_view(picture, rng, usual_focal=usual_focal, usual_tilt=usual_tilt)
            yield name, view if plain else augment(view, rng, soft=True)


@torch.inference_mode()
def describe_views(backbone: Backbone, views: Iterable[tuple[str, View]], *, progress: int = 0) -> Described:
    """The features of views, one after the other."""
    features, truth, sizes, sets = [], [], [], []
    for name, view in views:
        height, width = view.image.shape[:2]
        features.append(describe(backbone, shrink(view.image)[None], width, height)[0].half())
        truth.append((view.log_focal, view.pitch, view.roll))
        sizes.append((width, height))
        sets.append(name)
        if progress and len(sets) % progress == 0:
            print(f"{len(sets)} views", flush=True)
    return Described(features, torch.tensor(truth), torch.tensor(sizes, dtype=torch.float32), sets)


def save(described: Described, folder: Path) -> None:
    """Write described views."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(vars(described), folder / "views.pt")


def load(folder: Path) -> Described:
    """Read what :func:`save` wrote."""
    return Described(**torch.load(folder / "views.pt", weights_only=True))


def degrees(values: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Radians as degrees."""
    return values * (180 / math.pi)
