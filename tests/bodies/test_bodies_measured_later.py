"""Measurements on demand: the same as at once, taken once, and not before somebody looks."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Mapping

import pytest

from metrichmsr.bodies.measured_later import MeasuredLater
from metrichmsr.bodies.measurements import MEASUREMENTS
from metrichmsr.structures import Measurement

TAKEN = {name: Measurement(0.1 * i, 0.01) for i, name in enumerate(MEASUREMENTS)}


@pytest.fixture
def calls() -> list[int]:
    return []


@pytest.fixture
def later(calls) -> MeasuredLater:
    def measure() -> Mapping[str, Measurement]:
        calls.append(1)
        return TAKEN

    return MeasuredLater(measure)


def test_what_there_is_costs_nothing(later, calls):
    assert len(later) == len(MEASUREMENTS)
    assert list(later) == list(MEASUREMENTS)
    assert "inseam" in later
    assert "nose" not in later
    assert calls == []


def test_taken_once_and_the_same(later, calls):
    assert later["arm_span"] == TAKEN["arm_span"]
    assert dict(later) == TAKEN == later
    assert repr(later) == repr(TAKEN)
    with pytest.raises(KeyError):
        later["nose"]
    assert len(calls) == 1


@pytest.mark.parametrize("again", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_copies_hold_what_was_taken(later, again):
    """The function that measures holds a body model: nobody wants that in a pickle."""
    assert again(later) == TAKEN
    assert type(again(later)) is dict
