"""Names of result folders: the stem of the file, with ``_2``, ``_3``… where stems repeat."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from pathlib import Path

# What a batch writes beside the folders (docs/conventions.md).
_TAKEN = ("people.csv", "people.parquet", "failures.json")


class StemNamer:
    """Gives each name out once. The same names in the same order get the same answers.

    Names that differ only in case or in the Unicode form of their letters count as the same, as on the disks of macOS
    and Windows.
    """

    def __init__(self) -> None:
        self._given = {_key(name) for name in _TAKEN}
        self._next: dict[str, int] = {}

    def __call__(self, stem: str) -> str:
        """``stem`` itself, or the first of ``stem_2``, ``stem_3``… that is still free."""
        key = _key(stem)
        if key not in self._given:
            self._given.add(key)
            return stem
        number = self._next.get(key, 2)
        while _key(f"{stem}_{number}") in self._given:
            number += 1
        self._next[key] = number + 1
        self._given.add(_key(f"{stem}_{number}"))
        return f"{stem}_{number}"


def unique_stems(paths: Iterable[str | Path]) -> list[str]:
    """A folder name for every path, none twice: ``a/x.jpg, b/x.png, c/y.jpg`` → ``x, x_2, y``."""
    name = StemNamer()
    return [name(Path(path).stem) for path in paths]


def _key(stem: str) -> str:
    return unicodedata.normalize("NFC", stem).casefold()
