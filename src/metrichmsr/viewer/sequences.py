"""Which results belong together as frames: of one video, or numbered pictures of one folder."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from metrichmsr.viewer.result_folder import ResultFolder


@dataclass(frozen=True, eq=False)
class Entry:
    """One line of the list of results: a picture, or the frames of a sequence in order."""

    name: str
    frames: tuple[ResultFolder, ...]
    numbers: tuple[int, ...]
    """Number of each frame; one 0 for a picture."""

    @property
    def is_sequence(self) -> bool:
        """Whether there is something to slide over."""
        return len(self.frames) > 1


def entries_of(results: Sequence[ResultFolder]) -> list[Entry]:
    """Results as entries, in the order of their first member; names are unique.

    Frames of a video belong together; so do pictures of one folder whose names differ in their last number only
    (``walk_001.jpg``, ``walk_002.jpg``) and that have one size.
    """
    groups: dict[tuple[object, ...], list[tuple[int, ResultFolder]]] = {}
    for index, result in enumerate(results):
        image = result.document["image"]
        path, frame = Path(image["path"]), image.get("frame")
        # Results made anew of the same pictures lie in another folder, and are to be compared.
        place = (str(result.folder.parent), image["width"], image["height"])
        match = re.search(r"(\d+)(\D*)$", path.stem)
        if frame is not None:
            groups.setdefault(("video", str(path), *place), []).append((frame, result))
        elif match is not None:
            key = ("numbered", str(path.parent), path.stem[: match.start()], match.group(2), path.suffix, *place)
            groups.setdefault(key, []).append((int(match.group(1)), result))
        else:
            groups[("single", index)] = [(0, result)]
    entries: list[Entry] = []
    taken: set[str] = set()
    for group in groups.values():
        group.sort(key=lambda member: member[0])
        frames = tuple(result for _, result in group)
        name = _unique(_name(frames), frames[0], taken)
        taken.add(name)
        entries.append(Entry(name, frames, tuple(number for number, _ in group)))
    return entries


def _name(frames: tuple[ResultFolder, ...]) -> str:
    if len(frames) == 1:
        return frames[0].name
    return f"{re.sub(r'[_-]?[0-9]+$', '', frames[0].name) or frames[0].folder.parent.name} ({len(frames)} frames)"


def _unique(name: str, result: ResultFolder, taken: set[str]) -> str:
    if name in taken:
        name = f"{result.folder.resolve().parent.name}/{name}"
    number, base = 2, name
    while name in taken:
        name, number = f"{base} ({number})", number + 1
    return name
