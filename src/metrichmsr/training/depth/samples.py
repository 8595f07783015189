"""What the scene's networks learn from: small pictures with true depth and rendered people, on the disk and in memory.

Pictures have one of two sizes, 256×192 (landscape) or 192×256 (portrait); a batch holds one of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import torch
from jaxtyping import Float, Float16, Int64, UInt8
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from metrichmsr.errors import InputError
from metrichmsr.export.atomic import atomic_file
from metrichmsr.geometry import mirror_intrinsics

LONG_SIDE, SHORT_SIDE = 256, 192
"""Sides of a sample's picture, pixels."""
NOBODY = 255
"""Where no person is, in the maps of people."""


@dataclass(frozen=True)
class SceneSamples:
    """N pictures of one size. Depth is z-depth in metres, 0 where it is not known."""

    image: UInt8[Tensor, "N 3 H W"]
    """sRGB."""
    depth_m: Float16[Tensor, "N H W"]
    """True depth; 0: not known, which is no statement about what is there."""
    far: UInt8[Tensor, "N H W"]
    """1 where there is nothing within reach: sky, a far background."""
    person: UInt8[Tensor, "N H W"]
    """Which person is seen, clothes included; NOBODY elsewhere."""
    body_m: Float16[Tensor, "N H W"]
    """Depth of the people's bare bodies, rendered without anything in front of them and in a slightly wrong pose, as a
    recovery gives them; 0 where there is none."""
    body: UInt8[Tensor, "N H W"]
    """Whose body that is; NOBODY where there is none."""
    K: Float[Tensor, "N 3 3"]
    """Intrinsics of these pictures, continuous pixels."""

    def __len__(self) -> int:
        return len(self.K)

    def __getitem__(self, index: Int64[Tensor, "M"]) -> SceneSamples:
        return SceneSamples(**{f.name: getattr(self, f.name)[index] for f in fields(self)})

    def to(self, device: torch.device | str) -> SceneSamples:
        """On another device."""
        return SceneSamples(**{f.name: getattr(self, f.name).to(device) for f in fields(self)})

    def mirrored(self) -> SceneSamples:
        """Left and right exchanged, intrinsics too."""
        K = mirror_intrinsics(self.K, self.image.shape[-1])
        maps = {f.name: getattr(self, f.name).flip(-1) for f in fields(self) if f.name != "K"}
        return SceneSamples(**maps, K=K)

    @staticmethod
    def concatenate(parts: Sequence[SceneSamples]) -> SceneSamples:
        """All samples of several of one size."""
        return SceneSamples(**{f.name: torch.cat([getattr(p, f.name) for p in parts]) for f in fields(SceneSamples)})


@dataclass(frozen=True)
class ScenePools:
    """Samples of both sizes."""

    landscape: SceneSamples | None
    portrait: SceneSamples | None

    @property
    def pools(self) -> tuple[SceneSamples, ...]:
        """Those that are there."""
        return tuple(pool for pool in (self.landscape, self.portrait) if pool is not None)

    def __len__(self) -> int:
        return sum(len(pool) for pool in self.pools)

    def batches(self, size: int, *, seed: int, start: int = 0) -> Iterator[SceneSamples]:
        """Endless batches, each of one size of picture, half of them mirrored; the seed and the number decide each.

        Args:
            size: of a batch.
            seed: of the draws.
            start: batches to skip, for going on where a run stopped.
        """
        pools = self.pools
        weights = torch.tensor([float(len(pool)) for pool in pools])
        step = start
        while True:
            generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
            pool = pools[int(torch.multinomial(weights, 1, generator=generator))]
            chosen = pool[torch.randint(len(pool), (size,), generator=generator)]
            yield chosen.mirrored() if torch.rand((), generator=generator) < 0.5 else chosen
            step += 1


def write_scene_samples(path: Path, samples: SceneSamples, **notes: str) -> None:
    """Write one shard, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {f.name: getattr(samples, f.name).contiguous() for f in fields(samples)}
    with atomic_file(path) as temporary:
        save_file(tensors, temporary, {"count": str(len(samples)), "format": "metrichmsr-scenes/1", **notes})


def read_scene_samples(paths: Iterable[Path]) -> ScenePools:
    """All samples of some shards, or of all shards in some folders.

    Raises:
        InputError: a shard is damaged or of another kind, or there is none.
    """
    files: list[Path] = []
    for path in paths:
        files += [path] if path.is_file() else sorted(path.glob("*.safetensors"))
    if not files:
        raise InputError(f"no shards of scenes in {', '.join(map(str, paths))}; metrichmsr train scenes makes them")
    pools: dict[bool, list[SceneSamples]] = {True: [], False: []}
    for path in files:
        part = _read(path)
        pools[part.image.shape[-1] >= part.image.shape[-2]].append(part)
    return ScenePools(*(SceneSamples.concatenate(pools[wide]) if pools[wide] else None for wide in (True, False)))


def _read(path: Path) -> SceneSamples:
    try:
        with safe_open(path, framework="pt") as file:
            notes = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: damaged shard of scenes ({error})") from error
    names = {f.name for f in fields(SceneSamples)}
    count = int(notes.get("count", -1))
    if set(tensors) != names or any(len(tensor) != count for tensor in tensors.values()):
        raise InputError(f"{path}: not a shard of scenes, or one that ended early")
    return SceneSamples(**tensors)


def shuffled_evenly(samples: SceneSamples, count: int, *, seed: int) -> SceneSamples:
    """So many samples, drawn without repetition."""
    order = torch.randperm(len(samples), generator=torch.Generator().manual_seed(seed))
    return samples[order[:count]]


def without_people(samples: SceneSamples) -> SceneSamples:
    """The same pictures, nobody recovered in them."""
    return replace(samples, body_m=torch.zeros_like(samples.body_m), body=torch.full_like(samples.body, NOBODY))
