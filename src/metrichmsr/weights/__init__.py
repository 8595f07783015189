"""Checkpoints shipped with the package: ``<name>.safetensors`` or ``.npz``, each with its card ``<name>.md``.

A card tells where a file comes from, under which licence, what was changed, and its SHA-256.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from metrichmsr.errors import ModelFileError

_SUFFIXES = (".safetensors", ".npz")
_HASH = re.compile(r"\b[0-9a-f]{64}\b")
_LICENCE = re.compile(r"^[\s\-*#|]*licen[cs]e[\s*|:]+(.+?)[\s*|]*$", re.IGNORECASE | re.MULTILINE)

Status = Literal["ok", "changed", "missing", "no card"]


@dataclass(frozen=True)
class WeightsFile:
    """One shipped file, checked against its card."""

    name: str
    """File name."""
    path: Path
    size_bytes: int
    sha256: str
    """Of the file as it lies there; empty where it is missing."""
    status: Status
    """``ok``: the card states this hash. ``changed``: it states another. ``missing``: there is a card, but no file.

    ``no card``: nothing states any hash.
    """
    licence: str | None
    """The card's line about the licence."""


def list_weights(folder: Path | None = None) -> tuple[WeightsFile, ...]:
    """The weights in ``folder`` (the package's own by default), by name, each hashed and compared with its card."""
    folder = folder or Path(__file__).parent
    files = {path for path in folder.iterdir() if path.suffix in _SUFFIXES}
    named = {path.stem for path in files} | {"README"}
    lost = {card.with_suffix(_SUFFIXES[0]) for card in folder.glob("*.md") if card.stem not in named}
    return tuple(_describe(path) for path in sorted(files | lost))


@cache
def short_hash(stem: str) -> str:
    """First eight digits of the SHA-256 of a shipped file, ``stem`` without its ending: its version in a result.

    Raises:
        ModelFileError: There is no such file.
    """
    folder = Path(__file__).parent
    for suffix in _SUFFIXES:
        if (path := folder / f"{stem}{suffix}").is_file():
            return file_hash(path)[:8]
    raise ModelFileError(f"{folder / stem}{_SUFFIXES[0]}: missing; reinstall metrichmsr")


def _describe(path: Path) -> WeightsFile:
    present = path.is_file()
    sha256 = file_hash(path) if present else ""
    card = path.with_suffix(".md")
    text = card.read_text(encoding="utf-8") if card.is_file() else ""
    stated = _HASH.findall(text.lower())
    licence = _LICENCE.search(text)
    return WeightsFile(
        name=path.name,
        path=path,
        size_bytes=path.stat().st_size if present else 0,
        sha256=sha256,
        status="missing" if not present else "no card" if not stated else "ok" if sha256 in stated else "changed",
        licence=licence.group(1) if licence else None,
    )


def file_hash(path: Path) -> str:
    """SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
