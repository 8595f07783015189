"""Who is the same person in the frames of a sequence: whoever stands nearest to where somebody was last seen.

Positions are metric, so the gate is too: nobody walks through a room between two frames, and one picture's distance is
off by some per cent of it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from metrichmsr.geometry.assignment import assign

_BASE_M = 0.5
_OF_DISTANCE = 0.1
"""Distances of two pictures of one person differ by about this share."""
_SPEED_M_S = 4.0
"""Faster than people walk; runners are seen often enough for the rest of the gate."""
_LONGEST_S = 2.0
"""Who was not seen for longer is somebody new."""
_NEVER = 1e6


def link_people(places_m: Sequence[Float[np.ndarray, "N 3"]], times_s: Sequence[float]) -> list[list[tuple[int, int]]]:
    """Join the people of all frames to tracks.

    Frame by frame, those seen last are assigned to those seen now, as many as the gate lets through and at the least
    sum of distances. The gate is half a metre, a tenth of the distance from the camera and 4 m for every second
    between.

    Args:
        places_m: pelvis joints of each frame's people, camera frame (of a camera that stands still).
        times_s: time of each frame, ascending.

    Returns:
        For each track its (frame, index in that frame), frames ascending; tracks in the order they begin.
    """
    tracks: list[list[tuple[int, int]]] = []
    for frame, (places, time) in enumerate(zip(places_m, times_s, strict=True)):
        open_ = [track for track in tracks if time - times_s[track[-1][0]] <= _LONGEST_S]
        new = set(range(len(places)))
        if open_ and new:
            last = np.stack([places_m[at][index] for at, index in (track[-1] for track in open_)])
            waited = np.array([time - times_s[track[-1][0]] for track in open_])
            apart = np.linalg.norm(last[:, None] - places[None], axis=-1)
            gate = _BASE_M + _OF_DISTANCE * np.linalg.norm(last, axis=1) + _SPEED_M_S * waited
            allowed = apart <= gate[:, None]
            for row, index in assign(np.where(allowed, apart, _NEVER)):
                if allowed[row, index]:
                    open_[row].append((frame, index))
                    new.discard(index)
        tracks += [[(frame, index)] for index in sorted(new)]
    return tracks
