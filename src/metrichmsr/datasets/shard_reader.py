"""Reading sets of shards: shuffled, shared among processes, and checked against the index."""

from __future__ import annotations

import logging
import tarfile
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Generic, Literal, TypeVar

import numpy as np
from torch.utils.data import IterableDataset, get_worker_info

from metrichmsr.datasets.shards import ShardEntry, ShardError, ShardIndex, file_sha256
from metrichmsr.errors import InputError, UsageError

T = TypeVar("T")
Decode = Callable[[str, Mapping[str, bytes]], T]

_LOG = logging.getLogger(__name__)


class ShardReader(IterableDataset[T], Generic[T]):
    """The samples of a folder of shards, one after the other; each iteration is one pass.

    The shards are shared among ``world_size`` processes and, within each, among the workers of a
    ``torch.utils.data.DataLoader`` (``DataLoader(reader, batch_size=None, num_workers=2)``), so that every sample is
    read once. What order they come in follows from ``seed``, ``epoch`` and the place in that division alone.

    Args:
        folder: with ``index.json`` and the shards.
        decode: turns key and files of a sample into what is wanted.
        names: files that are read, such as ``{"jpg", "json"}``; the others are skipped over. All by default.
        shuffle_buffer: how many samples are kept to draw the next one from. 0 keeps the order of the set; otherwise
            the order of the shards is drawn too.
        seed: of the shuffling.
        epoch: of the shuffling; :meth:`set_epoch` before each pass.
        rank: of this process among ``world_size``.
        world_size: processes that share the set; at most as many as there are shards.
        even: every process reads as many samples, those of the smallest share: what is over is left out in this pass
            (training in step with others would wait for ever for samples that one process lacks). With several
            workers each leaves out its own excess, so that ``len()`` is an upper bound.
        check: compare each shard with its checksum before this reader reads it for the first time.
        on_error: ``raise``, or ``skip`` what cannot be read and count it in :attr:`skipped`.

    Raises:
        InputError: There is no index, or it lists nothing.
        UsageError: Numbers that make no sense.
    """

    def __init__(
        self,
        folder: Path,
        decode: Decode[T],
        *,
        names: Collection[str] | None = None,
        shuffle_buffer: int = 0,
        seed: int = 0,
        epoch: int = 0,
        rank: int = 0,
        world_size: int = 1,
        even: bool = False,
        check: bool = False,
        on_error: Literal["raise", "skip"] = "raise",
    ) -> None:
        self.folder = folder
        self.index = ShardIndex.read(folder)
        if not self.index.samples:
            raise InputError(f"{folder}: {len(self.index.shards)} shards, no samples")
        if not 0 <= rank < world_size:
            raise UsageError(f"rank {rank} of {world_size} processes: it must be from 0 to {world_size - 1}")
        if world_size > len(self.index.shards):
            raise UsageError(f"{folder}: {len(self.index.shards)} shards cannot be shared among {world_size} processes")
        if shuffle_buffer < 0:
            raise UsageError(f"a shuffle buffer of {shuffle_buffer} samples")
        self.epoch = epoch
        self.skipped = 0
        """Samples that this process could not read so far."""
        self._decode = decode
        self._names = None if names is None else frozenset(names)
        self._buffer = shuffle_buffer
        self._seed = seed
        self._rank, self._world_size, self._even = rank, world_size, even
        self._check, self._on_error = check, on_error
        self._checked: set[str] = set()

    def set_epoch(self, epoch: int) -> None:
        """Shuffle the next pass differently."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Samples that one pass of this process (all its workers together) yields."""
        shares = [sum(e.samples for e in self._share(rank, 0, 1)) for rank in range(self._world_size)]
        return min(shares) if self._even else shares[self._rank]

    def __iter__(self) -> Iterator[T]:
        info = get_worker_info()
        worker, workers = (0, 1) if info is None else (info.id, info.num_workers)
        samples = self._samples(self._share(self._rank, worker, workers))
        if self._buffer:
            rng = np.random.default_rng([self._seed, self.epoch, 1 + self._rank, worker])
            samples = _shuffled(samples, self._buffer, rng)
        limit = None
        if self._even:
            shares = (self._share(rank, worker, workers) for rank in range(self._world_size))
            limit = min(sum(entry.samples for entry in share) for share in shares)
        for number, sample in enumerate(samples):
            if number == limit:
                return
            yield sample

    def _share(self, rank: int, worker: int, workers: int) -> list[ShardEntry]:
        """Shards of one worker of one process, in the order of this pass."""
        shards = list(self.index.shards)
        if self._buffer:
            # The same on all processes, else their shares would overlap.
            order = np.random.default_rng([self._seed, self.epoch, 0]).permutation(len(shards))
            shards = [shards[i] for i in order]
        return shards[rank :: self._world_size][worker::workers]

    def _samples(self, shards: list[ShardEntry]) -> Iterator[T]:
        for entry in shards:
            done = 0
            try:
                self._verify(entry)
                last = None
                for key, files in self._read(entry):
                    done += 1
                    last = key
                    try:
                        sample = self._decode(key, files)
                    except (InputError, ValueError, KeyError) as error:
                        self._skip(1, f"{self.folder / entry.name}: {key}: {error}", error)
                        continue
                    yield sample
                if done != entry.samples or last != entry.last_key:
                    where = f"after {done} of {entry.samples} samples (last key {last}, not {entry.last_key})"
                    raise ShardError(f"{self.folder / entry.name}: ends {where}")
            except ShardError as error:
                self._skip(max(0, entry.samples - done), str(error), error)

    def _skip(self, samples: int, message: str, error: Exception) -> None:
        if self._on_error == "raise":
            raise error if isinstance(error, ShardError) else ShardError(message) from error
        self.skipped += samples
        _LOG.warning("%d samples left out: %s", samples, message)

    def _verify(self, entry: ShardEntry) -> None:
        path = self.folder / entry.name
        if self._check and entry.name not in self._checked:
            try:
                sha256 = file_sha256(path)
            except OSError as error:
                raise ShardError(f"{path}: cannot be read: {error.strerror or error}") from error
            if sha256 != entry.sha256:
                raise ShardError(f"{path}: its SHA-256 is {sha256[:12]}…, the index says {entry.sha256[:12]}…")
            self._checked.add(entry.name)

    def _read(self, entry: ShardEntry) -> Iterator[tuple[str, dict[str, bytes]]]:
        """Keys and files of a shard, in its order."""
        path = self.folder / entry.name
        key, files = None, {}
        try:
            with tarfile.open(path, "r:") as tar:
                for member in tar:
                    if not member.isfile():
                        continue
                    next_key, _, name = member.name.partition(".")
                    if next_key != key:
                        if key is not None:
                            yield key, files
                        key, files = next_key, {}
                    if self._names is None or name in self._names:
                        content = tar.extractfile(member)
                        files[name] = content.read() if content else b""
                        if len(files[name]) != member.size:
                            raise ShardError(f"{path}: {key}: its file {name} ends early")
        except (tarfile.TarError, EOFError) as error:
            raise ShardError(f"{path}: breaks off {f'at {key}' if key else 'at its start'}: {error}") from error
        except OSError as error:
            raise ShardError(f"{path}: cannot be read: {error.strerror or error}") from error
        if key is not None:
            # Cut off between two files it is still a tar: only its size tells that this sample is not whole.
            size = path.stat().st_size
            if size != entry.bytes:
                raise ShardError(f"{path}: breaks off at {key}: {size} bytes, the index says {entry.bytes}")
            yield key, files


def _shuffled(samples: Iterator[T], size: int, rng: np.random.Generator) -> Iterator[T]:
    buffer: list[T] = []
    for sample in samples:
        if len(buffer) < size:
            buffer.append(sample)
            continue
        place = int(rng.integers(size))
        sample, buffer[place] = buffer[place], sample
        yield sample
    for place in rng.permutation(len(buffer)):
        yield buffer[place]
