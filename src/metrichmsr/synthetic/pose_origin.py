"""Which captured poses a made pose was put together from, so that their licence goes with it.

A file of poses says of its made poses (``kind`` 1: sitting, kneeling, lying, recombined) only that they are made. But
who made them left some bones of the captured poses untouched: neck, head and wrists come from one captured frame, and
so do the legs of those that were recombined. These bones, bit for bit, say whose pose it was.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

UPPER = ("neck", "head", "wrist")
LOWER = ("upperleg01", "lowerleg01", "foot")


def origins(
    rotvec: Float[np.ndarray, "N D 3"], bones: Sequence[str], made: Bool[np.ndarray, "N"], sources: Sequence[str]
) -> list[frozenset[str]]:
    """Sources of the captured poses that each pose is made of; of a captured one its own.

    Args:
        rotvec: as stored in the file: they are compared bit for bit.
        bones: names of the D bones.
        made: which poses are made.
        sources: of every pose; those of made poses are not looked at.

    Returns:
        A set for each pose; empty for a made pose of which nothing captured is in the file.
    """
    found: list[frozenset[str]] = [frozenset() if made[i] else frozenset((sources[i],)) for i in range(len(rotvec))]
    for starts in (UPPER, LOWER):
        columns = [i for i, bone in enumerate(bones) if bone.startswith(starts)]
        if not columns:
            continue
        part = np.ascontiguousarray(rotvec[:, columns]).reshape(len(rotvec), -1)
        # Where all of it is at rest, it is nobody's.
        posed = (part != 0).any(axis=1)
        owners: dict[bytes, set[str]] = {}
        for i in map(int, np.nonzero(~made & posed)[0]):
            owners.setdefault(part[i].tobytes(), set()).add(sources[i])
        for i in map(int, np.nonzero(made & posed)[0]):
            found[i] |= owners.get(part[i].tobytes(), set())
    return found
