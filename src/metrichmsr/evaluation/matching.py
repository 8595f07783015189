"""Who is who: recovered people matched to labelled ones by their boxes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from jaxtyping import Float

from metrichmsr.structures import Person, Recovery


class HasBox(Protocol):
    """Anything with a box, labelled or recovered."""

    @property
    def box_xyxy(self) -> Float[np.ndarray, "4"]:
        """Continuous pixels."""
        ...


def boxes_of(people: Sequence[HasBox]) -> Float[np.ndarray, "N 4"]:
    """All their boxes; (0, 4) for nobody."""
    return np.array([person.box_xyxy for person in people], dtype=np.float64).reshape(-1, 4)


def box_iou(first: Float[np.ndarray, "N 4"], second: Float[np.ndarray, "M 4"]) -> Float[np.ndarray, "N M"]:
    """Intersection over union of every box of ``first`` with every box of ``second`` (xyxy); 0 for empty boxes."""
    first, second = np.reshape(first, (-1, 4)), np.reshape(second, (-1, 4))
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=-1)
    areas = [np.prod(np.clip(boxes[:, 2:] - boxes[:, :2], 0, None), axis=-1) for boxes in (first, second)]
    union = areas[0][:, None] + areas[1][None] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def match_boxes(
    labelled: Float[np.ndarray, "N 4"], found: Float[np.ndarray, "M 4"], *, min_iou: float
) -> dict[int, int]:
    """One-to-one matches ``labelled index → found index``, the best overlaps first, none below ``min_iou``."""
    overlap = box_iou(labelled, found)
    matches: dict[int, int] = {}
    for flat in np.argsort(-overlap, axis=None, kind="stable"):
        i, j = np.unravel_index(flat, overlap.shape)
        if overlap[i, j] < min_iou:
            break
        if int(i) not in matches and int(j) not in matches.values():
            matches[int(i)] = int(j)
    return matches


def person_at(box_xyxy: Float[np.ndarray, "4"], recovery: Recovery | None, *, min_iou: float) -> Person | None:
    """The recovered person whose box overlaps this one most; None where nobody's reaches ``min_iou``."""
    if recovery is None or not recovery.people:
        return None
    overlap = box_iou(box_xyxy[None], boxes_of(recovery.people))[0]
    best = int(overlap.argmax())
    return recovery.people[best] if overlap[best] >= min_iou else None


def match_people(
    labelled: Sequence[HasBox], recovery: Recovery | None, *, min_iou: float
) -> tuple[list[Person | None], int]:
    """For each labelled person the matched recovered one or None, and how many recovered people nobody matched."""
    people = recovery.people if recovery is not None else ()
    matches = match_boxes(boxes_of(labelled), boxes_of(people), min_iou=min_iou)
    matched = [people[matches[i]] if i in matches else None for i in range(len(labelled))]
    return matched, len(people) - len(matches)
