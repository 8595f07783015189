"""What one run learns from and is measured on: shards by name, batches of one kind or of both, held-out samples."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from metrichmsr.errors import InputError
from metrichmsr.training.config import TrainConfig
from metrichmsr.training.samples import Kind, Samples, batches, frequencies, kind_of, mixed, read_samples, taken
from metrichmsr.training.trainer import BatchesFrom, training_body


def shards(folders: Sequence[Path], split: str | None = None) -> list[Path]:
    """All shards of samples in folders, by name.

    Raises:
        InputError: there is none.
    """
    found: list[Path] = []
    for folder in folders:
        pattern = f"{split}_*.safetensors" if split else "*.safetensors"
        found += [folder] if folder.is_file() else sorted(folder.glob(pattern))
    if not found:
        raise InputError(f"no shards of samples in {', '.join(map(str, folders))}; metrichmsr train samples makes them")
    return found


@dataclass(frozen=True)
class TrainingData:
    """Samples to learn from and samples to be measured on."""

    pools: tuple[Samples, ...]
    """Rendered ones, simulated ones, photographs, as far as there are any: one batch holds one kind."""
    validation: Samples
    _known: dict[tuple[float, float], list[Float[Tensor, "N"] | None]] = field(default_factory=dict, repr=False)
    """Frequencies by what was asked for: finding out takes a while, and many runs may share the data."""

    @classmethod
    def read(cls, data: Sequence[Path], validation: Path) -> TrainingData:
        """From folders or shards.

        Raises:
            InputError: there are none, one is damaged, or photographs, whose truth is not known, are to be measured on.
        """
        kinds: dict[Kind, list[Path]] = {"rendered": [], "simulated": [], "photos": []}
        for path in shards(data):
            kinds[kind_of(path)].append(path)
        pools = tuple(read_samples(paths) for paths in kinds.values() if paths)
        held_out = shards([validation])
        for path in held_out:
            if kind_of(path) == "photos":
                raise InputError(f"{path}: photographs with keypoints alone have no truth to be measured on")
        return cls(pools=pools, validation=read_samples(held_out))

    def batches(self, config: TrainConfig, *, process: int = 0, processes: int = 1) -> BatchesFrom:
        """The batches of a run, from any step on.

        Args:
            config: what decides the run.
            process: of several that train together, each on batches of its own; of one kind in the same step.
            processes: how many they are.
        """
        often = self._often(config)

        def of_one_kind(kind: int, start: int) -> Iterator[Samples]:
            first = start * processes + process
            stream = batches(self.pools[kind], config.batch, seed=config.seed, start=first, often=often[kind])
            return islice(stream, 0, None, processes)

        def of_kinds(count: int, start: int) -> Iterator[Samples]:
            """Batches of the first so many kinds: those before the last one, and now and then one of the last."""
            if count == 1:
                return of_one_kind(0, start)
            photos = self.pools[count - 1].keypoints is not None
            share, seed = (config.photos, config.seed + 500_000) if photos else (config.simulated, config.seed)
            before, last = taken(start, share, seed=seed)
            return mixed(of_kinds(count - 1, before), of_one_kind(count - 1, last), share, seed=seed, start=start)

        def batches_from(step: int) -> Iterator[Samples]:
            return of_kinds(len(self.pools), step)

        return batches_from

    def _often(self, config: TrainConfig) -> list[Float[Tensor, "N"] | None]:
        if config.upright == 1 and config.children == 1:
            return [None] * len(self.pools)
        asked = (config.upright, config.children)
        if asked not in self._known:
            body = training_body(config)
            # How people in photographs stand and how tall they are is not known.
            self._known[asked] = [
                frequencies(pool, body, upright=config.upright, children=config.children)
                if pool.keypoints is None
                else None
                for pool in self.pools
            ]
        return self._known[asked]

    def fingerprints(self) -> dict[str, str]:
        """Tell these samples from others, for figures that shall be compared."""
        return {"training": _fingerprint(self.pools), "validation": _fingerprint([self.validation])}


def _fingerprint(pools: Iterable[Samples]) -> str:
    digest = hashlib.sha256()
    for pool in pools:
        # Evidence and truth; feature maps are large and come from the same pictures.
        for tensor in (pool.landmarks, pool.K_crop, pool.pose, pool.shape, pool.translation_m):
            digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()
