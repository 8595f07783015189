"""Bodies of fewer triangles, for pictures of many people.

A body of Anny has 27,420 triangles; sixty of them are more than many graphics cards draw fluidly, and than anybody sees
at once. Which vertices stay and which triangles join them is found once for all bodies of one topology, on the first of
them; the others keep the same vertices of their own, so that everybody's pose and shape stay theirs.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from metrichmsr.viewer.shapes import Triangles

# With fewer, hands and faces fall apart.
_LEAST_TRIANGLES = 1500


def lighter_bodies(bodies: Sequence[Triangles], max_triangles: int) -> list[Triangles]:
    """The bodies as they are where together they stay below a number of triangles; else everybody with an equal share.

    Nobody is given fewer than 1,500 triangles, however many they are. Where the package fast-simplification is not
    installed bodies stay as they are, and a warning says so.

    Args:
        bodies: any frame and unit; those of one topology share vertex count and triangles.
        max_triangles: of all bodies together.
    """
    if sum(len(body.faces) for body in bodies) <= max_triangles:
        return list(bodies)
    share = max(_LEAST_TRIANGLES, max_triangles // len(bodies))
    found: dict[tuple[int, bytes], tuple[np.ndarray, np.ndarray] | None] = {}
    lighter = []
    for body in bodies:
        topology = (len(body.vertices), body.faces.tobytes())
        if topology not in found:
            found[topology] = _fewer(body, share) if len(body.faces) > share else None
        kept = found[topology]
        lighter.append(body if kept is None else Triangles(body.vertices[kept[0]], kept[1]))
    return lighter


def _fewer(body: Triangles, triangles: int) -> tuple[Int[np.ndarray, "v"], Int[np.ndarray, "f 3"]] | None:
    """Rows of the vertices that stay, and the triangles between them.

    Source: Garland and Heckbert, "Surface simplification using quadric error metrics", 1997, as fast-simplification
    collapses edges by it. It moves the vertices that stay; of all that were drawn into one, the nearest stands for it.
    """
    try:
        import fast_simplification
    except ImportError:
        warnings.warn(
            "the package fast-simplification is missing, so all bodies are drawn at full detail, which is slow for "
            "many people: pip install 'metrichmsr[viewer]'",
            stacklevel=3,
        )
        return None
    places, faces, *more = fast_simplification.simplify(
        body.vertices, body.faces.astype(np.int32), target_count=triangles, return_collapses=True
    )
    (collapses,) = more  # typed as optional
    cluster = _clusters(len(body.vertices), collapses)
    away = np.linalg.norm(body.vertices - places[cluster], axis=1)
    nearest_first = np.lexsort((away, cluster))
    _, first = np.unique(cluster[nearest_first], return_index=True)
    return nearest_first[first], faces.astype(np.int64)


def _clusters(vertices: int, collapses: Int[np.ndarray, "n 2"]) -> Int[np.ndarray, "V"]:
    """Number of the vertex that each was drawn into, among those that stay; ``collapses`` are (into, from) in order."""
    into = np.arange(vertices)
    into[collapses[:, 1]] = collapses[:, 0]
    while not np.array_equal(into, into[into]):
        into = into[into]
    return np.unique(into, return_inverse=True)[1]
