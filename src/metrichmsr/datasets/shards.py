"""Sets of labelled pictures as tar files of some hundred samples each: the WebDataset layout, with an index.

A sample is a key and some named files; in the tar they stand one after the other as ``<key>.<name>``. Such sets are
read from the first byte to the last, which suits every disk, and by the ``webdataset`` library too: it takes a key to
end at the first dot, so keys have none. ``index.json`` beside the shards says what is in them: settings, and for each
shard its SHA-256, its size, its number of samples and the plan it was made by.

A shard appears under its name only when it is complete, and the index names it only after that. So a run that was
stopped anywhere leaves whole shards, and goes on by making those that are missing. One process writes a folder.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import re
import secrets
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any

from metrichmsr.errors import InputError, MetricHMSRError, UsageError

INDEX = "index.json"
FORMAT = "metrichmsr-shards/1"

Sample = tuple[str, Mapping[str, bytes]]
"""Key (letters, digits, underscores, hyphens) and files by name, such as ``jpg`` or ``depth.png``."""

_KEY = re.compile(r"[A-Za-z0-9_-]+")
_NAME = re.compile(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*")
_BLOCK = 1 << 20


class ShardError(MetricHMSRError):
    """A shard that cannot be written or read, or is not what its index says; the message names it."""


@dataclass(frozen=True)
class ShardEntry:
    """What the index says of a shard."""

    name: str
    """File name in the folder."""
    sha256: str
    bytes: int
    samples: int
    first_key: str
    last_key: str
    plan: str
    """What it was made of, such as a range of seeds: a shard of another plan is made anew."""


@dataclass(frozen=True)
class ShardIndex:
    """Everything known about the shards of a folder."""

    settings: Mapping[str, Any]
    """What all of them have in common; JSON values."""
    shards: tuple[ShardEntry, ...] = ()

    @property
    def samples(self) -> int:
        """In all shards together."""
        return sum(shard.samples for shard in self.shards)

    @classmethod
    def read(cls, folder: Path) -> ShardIndex:
        """Read ``index.json``.

        Raises:
            InputError: There is none, or it is something else.
        """
        path = folder / INDEX
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise InputError(f"{folder}: no set of shards: {INDEX} is missing") from error
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: cannot be read: {error}") from error
        if not isinstance(raw, dict) or raw.get("format") != FORMAT:
            raise InputError(f"{path}: not an index of shards in the format {FORMAT}")
        try:
            return cls(dict(raw["settings"]), tuple(ShardEntry(**entry) for entry in raw["shards"]))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path}: an index of shards with parts missing: {error}") from error

    def write(self, folder: Path) -> None:
        """Write ``index.json``, replacing an older one in one step."""
        document = {
            "format": FORMAT,
            "samples": self.samples,
            "settings": dict(self.settings),
            "shards": [asdict(shard) for shard in self.shards],
        }
        text = json.dumps(document, indent=1, ensure_ascii=False)
        with _appearing(folder / INDEX) as file:
            file.write(text.encode())


class ShardWriter:
    """Writes shards into a folder, and knows which are there already.

    Args:
        folder: made where it does not exist.
        settings: what decides the content of all shards, as JSON values. A folder that was begun with others is
            refused: a set is never a mix.

    Raises:
        UsageError: The folder holds shards of other settings.
        ShardError: The folder cannot be written.
        InputError: Its index is broken.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self.folder = folder
        plain: dict[str, Any] = json.loads(json.dumps(settings))
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for leftover in folder.glob(".*.partial"):
                leftover.unlink(missing_ok=True)
            if (folder / INDEX).exists():
                self.index = ShardIndex.read(folder)
                _refuse_other_settings(folder, dict(self.index.settings), plain)
            else:
                strays = sorted(folder.glob("*.tar"))
                if strays:
                    raise UsageError(f"{strays[0]}: a shard without an index; give an empty folder")
                self.index = ShardIndex(plain)
                self.index.write(folder)
        except OSError as error:
            raise ShardError(f"{folder}: cannot write here: {error.strerror or error}") from error

    @staticmethod
    def name(number: int) -> str:
        """File name of a shard."""
        return f"shard-{number:06d}.tar"

    def has(self, number: int, plan: str) -> bool:
        """Whether this shard is finished, of this plan, and still has its checksum."""
        entry = self._entry(number)
        path = self.folder / self.name(number)
        if entry is None or entry.plan != plan or not path.is_file() or path.stat().st_size != entry.bytes:
            return False
        return file_sha256(path) == entry.sha256

    def write(self, number: int, plan: str, samples: Iterable[Sample]) -> ShardEntry:
        """Write one shard and enter it into the index, replacing an older one of this number.

        The same samples make the same bytes: no time or owner is stored.

        Raises:
            ShardError: It cannot be written (a full disk); what was finished before is untouched.
            ValueError: A key or a name that cannot be stored, a key that comes twice, or no sample at all.
        """
        name = self.name(number)
        digest = _Hashing()
        keys: dict[str, None] = {}
        try:
            with _appearing(self.folder / name) as file:
                digest.file = file
                with tarfile.open(fileobj=digest, mode="w|", format=tarfile.USTAR_FORMAT) as tar:
                    for key, files in samples:
                        _check_names(key, files, keys)
                        keys[key] = None
                        for suffix, content in files.items():
                            member = tarfile.TarInfo(f"{key}.{suffix}")
                            member.size = len(content)
                            tar.addfile(member, io.BytesIO(content))
                if not keys:
                    raise ValueError(f"{name}: a shard needs a sample at least")
            first, *_, last = *keys, *keys
            entry = ShardEntry(name, digest.hexdigest(), digest.size, len(keys), first, last, plan)
            others = [shard for shard in self.index.shards if shard.name != name]
            index = replace(self.index, shards=tuple(sorted([*others, entry], key=lambda shard: shard.name)))
            index.write(self.folder)
        except OSError as error:
            whole = len(self.index.shards)
            done = (
                f"{whole} finished {'shard is' if whole == 1 else 'shards are'} whole: the same command goes on there"
            )
            cause = "the disk is full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else error.strerror or error
            raise ShardError(f"{self.folder / name}: cannot be written: {cause}; {done}") from error
        self.index = index
        return entry

    def _entry(self, number: int) -> ShardEntry | None:
        name = self.name(number)
        return next((shard for shard in self.index.shards if shard.name == name), None)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


class _Hashing(io.RawIOBase):
    """Passes bytes on to a file and hashes them on the way."""

    def __init__(self) -> None:
        super().__init__()
        self.file: IO[bytes] | None = None
        self.size = 0
        self._sha256 = hashlib.sha256()

    def write(self, data: Any) -> int:
        assert self.file is not None
        self._sha256.update(data)
        self.size += len(data)
        return self.file.write(data)

    def hexdigest(self) -> str:
        return self._sha256.hexdigest()


@contextmanager
def _appearing(path: Path) -> Iterator[IO[bytes]]:
    # Like metrichmsr.export.atomic, which belongs to a room above this one. Synced, because an index that outlives its
    # shard in a power cut would call an empty file finished.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _check_names(key: str, files: Mapping[str, bytes], taken: Mapping[str, None]) -> None:
    if not _KEY.fullmatch(key):
        raise ValueError(f"{key!r}: a key has letters, digits, underscores and hyphens only")
    if key in taken:
        raise ValueError(f"{key!r}: two samples of one key")
    for name in files:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{key}.{name}: not a name that a tar of samples can hold")
    if not files:
        raise ValueError(f"{key!r}: a sample without a file")


def _refuse_other_settings(folder: Path, there: dict[str, Any], asked: dict[str, Any]) -> None:
    for name in sorted(there.keys() | asked.keys()):
        if there.get(name) != asked.get(name):
            raise UsageError(
                f"{folder}: holds shards made with {name} = {_short(there.get(name))}, not {_short(asked.get(name))}; "
                "give another folder, or the settings of this one"
            )


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}…"
