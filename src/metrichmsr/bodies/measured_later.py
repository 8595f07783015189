"""Measurements that are taken when somebody first looks at one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from metrichmsr.bodies.measurements import MEASUREMENTS
from metrichmsr.structures import Measurement


class MeasuredLater(Mapping[str, Measurement]):
    """The measurements of one person by name; which there are is known before any is taken.

    Most who recover people read none of them, and they cost as much as the network does.

    Args:
        measure: takes all of them; called once, at the first look. Copies and pickles hold what it gave.
    """

    def __init__(self, measure: Callable[[], Mapping[str, Measurement]]) -> None:
        self._measure = measure
        self._taken: dict[str, Measurement] | None = None

    def __getitem__(self, name: str) -> Measurement:
        if self._taken is None:
            self._taken = dict(self._measure())
        return self._taken[name]

    def __contains__(self, name: object) -> bool:
        return name in MEASUREMENTS

    def __iter__(self) -> Iterator[str]:
        return iter(MEASUREMENTS)

    def __len__(self) -> int:
        return len(MEASUREMENTS)

    def __repr__(self) -> str:
        return repr(dict(self))

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)
