"""The cheapest assignment, against trying all."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from metrichmsr.geometry.assignment import assign


def cheapest(cost: np.ndarray) -> float:
    """Least total cost, by trying every way."""
    if cost.shape[0] > cost.shape[1]:
        return cheapest(cost.T)
    ways = permutations(range(cost.shape[1]), cost.shape[0])
    return min(sum(cost[row, column] for row, column in enumerate(way)) for way in ways)


@pytest.mark.parametrize("seed", range(40))
def test_no_way_is_cheaper(seed):
    rng = np.random.default_rng(seed)
    cost = rng.uniform(-1, 5, rng.integers(1, 7, 2))
    if seed % 2:
        cost = cost.round()  # ties
    pairs = assign(cost)
    assert len(pairs) == min(cost.shape)
    assert pairs == sorted(pairs)
    assert len({row for row, _ in pairs}) == len({column for _, column in pairs}) == len(pairs)
    assert sum(cost[pair] for pair in pairs) == pytest.approx(cheapest(cost))


def test_the_nearest_pair_is_not_taken_at_the_others_cost():
    assert assign(np.array([[1.0, 2.0], [1.5, 9.0]])) == [(0, 1), (1, 0)]


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0)])
def test_nobody_is_assigned_to_nobody(shape):
    assert assign(np.zeros(shape)) == []
