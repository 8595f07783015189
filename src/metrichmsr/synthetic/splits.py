"""What is held out: every asset belongs to one split, for good.

A benchmark is only worth something where nothing of it was trained on. So skins, garments, hair, pose clips, rooms,
props and backgrounds are dealt to ``train``, ``val`` and ``test`` by a hash of their names: adding an asset moves no
other, and no list has to be kept.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Literal, TypeVar

Split = Literal["train", "val", "test"]
Item = TypeVar("Item")

_SHARES: tuple[tuple[Split, float], ...] = (("val", 0.10), ("test", 0.15))


def split_of(name: str) -> Split:
    """The split that an asset of this name belongs to."""
    place = zlib.crc32(f"synfocal:{name}".encode()) / 2**32
    for split, share in _SHARES:
        if place < share:
            return split
        place -= share
    return "train"


def of_split(items: Sequence[Item], names: Sequence[str], split: Split, *, at_least: int = 1) -> list[Item]:
    """Those of a split. Kinds with few items, which hashing may leave too few of, are dealt in turn by sorted hash.

    Args:
        items: assets of one kind.
        names: their names, in the same order.
        split: the split that is wanted.
        at_least: how many val and test must hold, where there are three times as many items.
    """
    ranked = sorted(range(len(items)), key=lambda i: (zlib.crc32(f"synfocal:{names[i]}".encode()), names[i]))
    counts = {part: sum(split_of(name) == part for name in names) for part, _ in _SHARES}
    if len(items) >= 3 * at_least and min(counts.values()) < at_least:
        dealt = {"val": ranked[:at_least], "test": ranked[at_least : 2 * at_least], "train": ranked[2 * at_least :]}
        return [items[i] for i in sorted(dealt[split])]
    if len(items) < 3 * at_least:
        return list(items)
    return [item for item, name in zip(items, names, strict=True) if split_of(name) == split]
