"""One run of an evaluation: the method under test, its failures, and a place for the worst cases."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import numpy as np
from jaxtyping import UInt8

from metrichmsr.errors import MetricHMSRError
from metrichmsr.structures import Camera, Recovery

Item = TypeVar("Item")


class Predictor(Protocol):
    """The method under test: a picture and its camera, where known, to the people in it."""

    def __call__(self, image: UInt8[np.ndarray, "H W 3"], camera: Camera | None, /) -> Recovery:
        """Recover everybody in an upright RGB image."""
        ...


class Gallery:
    """Keeps the pictures of the worst few cases of each set; draws only those."""

    def __init__(self, per_set: int) -> None:
        self.per_set = per_set
        self._kept: dict[str, list[tuple[float, UInt8[np.ndarray, "h w 3"]]]] = {}

    def offer(self, set_name: str, badness: float, draw: Callable[[], UInt8[np.ndarray, "h w 3"]]) -> None:
        """A case and how bad it is (larger is worse; not-a-number counts as the worst)."""
        badness = float(np.nan_to_num(badness, nan=np.inf))
        kept = self._kept.setdefault(set_name, [])
        if self.per_set < 1 or (len(kept) >= self.per_set and badness <= kept[-1][0]):
            return
        kept.append((badness, draw()))
        kept.sort(key=lambda case: -case[0])
        del kept[self.per_set :]

    def pictures(self, set_name: str) -> list[UInt8[np.ndarray, "h w 3"]]:
        """The kept pictures of one set, worst first."""
        return [picture for _, picture in self._kept.get(set_name, [])]


@dataclass
class Session:
    """What the evaluation of one set works with, and remembers."""

    predict: Predictor
    name: str = ""
    """The set under evaluation."""
    max_frames: int | None = None
    """Evaluate at most this many pictures, spread evenly over the set."""
    gallery: Gallery = field(default_factory=lambda: Gallery(0))
    show_progress: bool = False
    failures: list[str] = field(default_factory=list)
    """One line for each picture on which the method gave up."""
    seconds: list[float] = field(default_factory=list)
    """Wall time of each recovery."""

    @property
    def seconds_per_image(self) -> float:
        """Median wall time of a recovery; NaN before the first."""
        return float(np.median(self.seconds)) if self.seconds else math.nan

    def frames(self, items: Sequence[Item]) -> Iterator[Item]:
        """The items to evaluate, with a progress bar on stderr where wanted."""
        wanted = spread(items, self.max_frames)
        return iter(self.watch(wanted, total=len(wanted)))

    def watch(self, items: Iterable[Item], *, total: int) -> Iterable[Item]:
        """The items, with a progress bar where wanted."""
        from tqdm import tqdm

        return tqdm(items, total=total, desc=self.name, unit="image", disable=not self.show_progress)

    def recover(self, image: UInt8[np.ndarray, "H W 3"], camera: Camera | None, label: str) -> Recovery | None:
        """The method's result; None, and a line in ``failures``, where it refuses the picture."""
        start = time.perf_counter()
        try:
            recovery = self.predict(image, camera)
        except MetricHMSRError as error:
            self.failures.append(f"{label}: {error}")
            return None
        self.seconds.append(time.perf_counter() - start)
        return recovery


def spread(items: Sequence[Item], at_most: int | None) -> list[Item]:
    """Up to ``at_most`` items, evenly spread from the first to the last."""
    if at_most is None or at_most >= len(items):
        return list(items)
    if at_most < 1:
        return []
    return [items[i] for i in np.linspace(0, len(items) - 1, at_most).round().astype(int)]
