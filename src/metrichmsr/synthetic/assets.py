"""The asset folder: poses, clothes, backgrounds, furniture, with the licence of each, and what is wrong with any."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from metrichmsr.errors import InputError

VARIABLE = "METRICHMSR_SYNTH_ASSETS"
"""Environment variable that names the folder."""
PARTS = ("poses", "appearance", "backgrounds", "furniture", "textures")
"""Folders in it; any of them may be missing."""
NO_CLEAR_LICENCE = ("deepmimic",)
"""Sources of poses whose clips do not say where they come from."""
SHARE_ALIKE = ("hdm05",)
"""Sources of poses under CC BY-SA."""
_POSE_LICENCES = {
    "cmu": "CMU mocap (free to use, not to resell): data from mocap.cs.cmu.edu, funded by NSF EIA-0196217",
    "hdm05": "CC BY-SA 3.0, HDM05: Mueller et al. 2007, TR CG-2007-2",
    "deepmimic": "MIT repository, public motion capture of unstated origin",
    "synthetic": "made from captured poses of the collections named here",
}


@dataclass(frozen=True)
class AssetItem:
    """One asset of the index."""

    kind: str
    """``garments``, ``hair``, ``face``, ``skins``, ``backgrounds``, ``furniture``."""
    name: str
    licence: str
    author: str
    tags: tuple[str, ...]


@dataclass
class AssetFolder:
    """What there is, and what could not be used."""

    path: Path
    items: list[AssetItem]
    problems: list[str] = field(default_factory=list)
    """Assets that could not be used, a line each; grows while they are read."""

    @classmethod
    def find(cls, path: Path | None = None) -> AssetFolder | None:
        """The folder given, or that of the environment variable, or none.

        Raises:
            InputError: a folder is named and is missing, or holds no assets.
        """
        named = path or (Path(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None)
        if named is None:
            return None
        advice = f"it should hold {', '.join(PARTS)}; metrichmsr synth --fetch-assets DIR brings what is open"
        if not named.is_dir():
            raise InputError(f"{named}: no such asset folder; {advice}")
        if not any((named / part).is_dir() for part in PARTS):
            raise InputError(f"{named}: no assets in it; {advice}")
        folder = cls(named, [])
        folder.items = [
            *_appearance(folder),
            *_indexed(folder, "backgrounds", "file"),
            *_indexed(folder, "furniture", "name"),
        ]
        return folder

    def has(self, part: str) -> bool:
        """Whether one of PARTS is there."""
        return (self.path / part).is_dir()

    def of_kind(self, kind: str) -> list[AssetItem]:
        """All items of a kind, by name."""
        return sorted((item for item in self.items if item.kind == kind), key=lambda item: item.name)

    def read_npz(self, path: Path) -> dict[str, np.ndarray] | None:
        """Arrays of a file; None where it is broken, which is noted."""
        try:
            with np.load(path, allow_pickle=False) as file:
                return dict(file)
        # Damaged bytes raise whatever the unpacking layer below stumbles on (zlib, tokenizer, zip versions…).
        except Exception as error:
            return self._broken(path, error)

    def read_picture(self, path: Path) -> UInt8[np.ndarray, "H W C"] | None:
        """An sRGB picture with 3 channels, or 4 with alpha; None where it is broken, which is noted."""
        from PIL import Image

        try:
            with Image.open(path) as image:
                return np.array(image.convert("RGBA" if image.mode in ("RGBA", "LA", "P") else "RGB"))
        except Exception as error:
            return self._broken(path, error)

    def _broken(self, path: Path, error: Exception) -> None:
        self.problems.append(f"{path}: cannot be read ({error or type(error).__name__})")

    def credits(self) -> list[str]:
        """Those of everything in the folder that is used by default: more than a training set needs, never less."""
        poses = [source for source in _POSE_LICENCES if source not in (*SHARE_ALIKE, *NO_CLEAR_LICENCE)]
        return self.attributions([f"{item.kind}/{item.name}" for item in self.items] + poses)

    def attributions(self, names: Iterable[str]) -> list[str]:
        """Name, author and licence of these assets, a line each, for the card of what was made with them.

        Names of poses (``cmu:…``) count as their collection; names of nothing in the folder (procedural) give no line.
        """
        wanted = set(names)
        lines = []
        for item in self.items:
            if item.name in wanted or f"{item.kind}/{item.name}" in wanted:
                author = f", {item.author}" if item.author else ""
                lines.append(f"{item.kind}/{item.name}{author}: {item.licence or 'licence not stated'}")
        for source, licence in _POSE_LICENCES.items():
            if any(source in name.lower() for name in wanted):
                lines.append(f"poses/{source}: {licence}")
        return sorted(set(lines))


def _rows(folder: AssetFolder, part: str) -> list[dict[str, str]]:
    index = folder.path / part / "INDEX.tsv"
    if not index.is_file():
        if folder.has(part):
            folder.problems.append(f"{index}: missing, so the licences of {part} are not known")
        return []
    try:
        with index.open(encoding="utf-8", newline="") as file:
            return [row for row in csv.DictReader(file, delimiter="\t") if row]
    except (OSError, ValueError, csv.Error) as error:
        folder.problems.append(f"{index}: cannot be read, so the licences of {part} are not known ({error})")
        return []


def _appearance(folder: AssetFolder) -> list[AssetItem]:
    known = {(row.get("kind"), row.get("name")): row for row in _rows(folder, "appearance")}
    items = []
    for kind, suffix in (("garments", ".npz"), ("hair", ".npz"), ("face", ".npz"), ("skins", ".webp")):
        for path in sorted((folder.path / "appearance" / kind).glob(f"*{suffix}")):
            row = known.get((kind, path.stem)) or known.get((kind, path.stem.split("__")[0])) or {}
            tags = tuple(tag for tag in (row.get("tags") or "").split(",") if tag)
            items.append(AssetItem(kind, path.stem, row.get("licence") or "", row.get("author") or "", tags))
    return items


def _indexed(folder: AssetFolder, part: str, column: str) -> list[AssetItem]:
    return [
        AssetItem(part, Path(row[column]).stem if column == "file" else row[column], row.get("licence") or "", "", ())
        for row in _rows(folder, part)
        if row.get(column)
    ]
