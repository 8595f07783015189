"""The cheapest one-to-one assignment between two sets (the Hungarian method), without SciPy."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float


def assign(cost: Float[np.ndarray, "N M"]) -> list[tuple[int, int]]:
    """Pairs (row, column) of least total cost: min(N, M) of them, by row, no row or column twice.

    Takes O(N² M) steps: meant for the people of a picture, not for thousands.

    Args:
        cost: finite numbers.

    Source: Kuhn, "The Hungarian Method for the Assignment Problem" (1955); shortest augmenting paths with potentials,
    as in Jonker and Volgenant (1987).
    """
    cost = np.asarray(cost, np.float64)
    if cost.shape[0] > cost.shape[1]:
        return sorted((row, column) for column, row in assign(cost.T))
    rows, columns = cost.shape
    row_price, column_price = np.zeros(rows), np.zeros(columns)
    row_of = np.full(columns, -1)
    for start in range(rows):
        # Dijkstra over columns: the cheapest way from ``start`` to each, through rows that give up their column.
        distance, before = np.full(columns, np.inf), np.full(columns, -1)
        done = np.zeros(columns, bool)
        row, column, reached = start, -1, 0.0
        while row >= 0:
            reduced = reached + cost[row] - row_price[row] - column_price
            shorter = ~done & (reduced < distance)
            distance[shorter], before[shorter] = reduced[shorter], column
            column = int(np.where(done, np.inf, distance).argmin())
            reached = float(distance[column])
            done[column] = True
            row = int(row_of[column])
        # Prices under which every assigned pair stays the cheapest of its row.
        row_price[start] += reached
        row_price[row_of[done & (row_of >= 0)]] += reached - distance[done & (row_of >= 0)]
        column_price[done] -= reached - distance[done]
        while column >= 0:
            row_of[column] = start if before[column] < 0 else row_of[before[column]]
            column = int(before[column])
    return sorted((int(row), column) for column, row in enumerate(row_of) if row >= 0)
