"""Reads the folder of a result, as ``metrichmsr recover`` writes it: ``result.json``, meshes, depth maps."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from metrichmsr.errors import InputError
from metrichmsr.export.find_results import RESULT, find_result_folders
from metrichmsr.export.read_entries import camera_of, person_of
from metrichmsr.export.result_json import read_result
from metrichmsr.export.schema import PersonEntry, ResultDocument
from metrichmsr.structures import Camera, Person


@dataclass(frozen=True, eq=False)
class ResultFolder:
    """A result on the disk; its large files are read when they are asked for."""

    folder: Path
    document: ResultDocument

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.folder.name

    @property
    def camera(self) -> Camera:
        """The picture's camera.

        Raises:
            InputError: K is none.
        """
        try:
            return camera_of(self.document)
        except (TypeError, ValueError) as error:
            raise InputError(f"{self.folder / RESULT}: {error}") from error

    def people(self) -> tuple[Person, ...]:
        """Everybody, with the mesh beside; without vertices where no meshes were saved.

        Raises:
            InputError: a mesh that the result names is missing or damaged.
        """
        people = []
        for entry in self.document["people"]:
            try:
                people.append(self._person(entry))
            except (TypeError, ValueError, AttributeError) as error:
                raise InputError(f"{self.folder / RESULT}: person {entry['id']}: {error}") from error
        return tuple(people)

    def _person(self, entry: PersonEntry) -> Person:
        vertices, faces = np.zeros((0, 3)), np.zeros((0, 3), np.int64)
        if entry["mesh"] is not None:
            vertices, faces = read_mesh(self.folder / entry["mesh"])
        # People without named joints are told by their COCO keypoints alone.
        named = bool(entry.get("joints_3d_m"))
        return person_of(entry, vertices, faces, **({} if named else {"joints_m": np.full((1, 3), np.nan)}))


def open_result(folder: str | Path) -> ResultFolder:
    """Open the folder of one result.

    Raises:
        InputError: it holds no result, or one that this version cannot read; names the file and the cause.
    """
    return ResultFolder(Path(folder), read_result(Path(folder) / RESULT))


def open_results(paths: Iterable[str | Path]) -> list[ResultFolder]:
    """Open results and folders of results, each result once, in the order of :func:`find_result_folders`.

    Raises:
        InputError: a path holds no result, or one that this version cannot read.
    """
    results: dict[Path, ResultFolder] = {}
    for path in paths:
        for folder in find_result_folders(path):
            results.setdefault(folder.resolve(), open_result(folder))
    return list(results.values())


def read_mesh(path: Path) -> tuple[Float[np.ndarray, "V 3"], Int[np.ndarray, "F 3"]]:
    """Vertices (camera frame, metres) and triangles of a person's PLY.

    Raises:
        InputError: it is missing or damaged.
    """
    if not path.is_file():
        raise InputError(f"{path}: missing, though {RESULT} names it")
    try:
        data = path.read_bytes()
        return _read_our_ply(data) or _read_any_ply(data)
    except Exception as error:  # whatever a reader of meshes makes of damage
        raise InputError(f"{path}: not a mesh ({type(error).__name__}: {error})") from error


def _read_our_ply(data: bytes) -> tuple[np.ndarray, np.ndarray] | None:
    """The layout that ``export/ply.py`` writes, without waiting for a library; None for any other."""
    head, end, body = data.partition(b"end_header\n")
    lines = [line for line in head.decode("ascii", errors="replace").split("\n") if not line.startswith("comment")]
    properties = [f"property float {name}" for name in ("x", "y", "z", "nx", "ny", "nz")]
    if not end or len(lines) != 12 or lines[:2] != ["ply", "format binary_little_endian 1.0"]:
        return None
    if lines[3:9] != properties or lines[10] != "property list uchar int vertex_indices":
        return None
    corners, triangles = (int(lines[at].split()[-1]) for at in (2, 9))
    vertices = np.frombuffer(body, "<f4", 6 * corners).reshape(corners, 6)[:, :3]
    rows = np.frombuffer(body, [("count", "u1"), ("corner", "<i4", 3)], triangles, 24 * corners)
    if (rows["count"] != 3).any() or (triangles and not 0 <= rows["corner"].min() <= rows["corner"].max() < corners):
        raise ValueError("its triangles are none")
    return vertices.astype(np.float64), rows["corner"].astype(np.int64)


def _read_any_ply(data: bytes) -> tuple[np.ndarray, np.ndarray]:
    import io

    import trimesh

    mesh = trimesh.load(io.BytesIO(data), file_type="ply", process=False)
    if not isinstance(mesh, trimesh.Trimesh):
        raise ValueError("it has no triangles")
    return np.asarray(mesh.vertices, np.float64), np.asarray(mesh.faces, np.int64)
