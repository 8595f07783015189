"""Find and read the user's SMPL, SMPL-H and SMPL-X files, without chumpy and without running anything from a pickle.

See :mod:`metrichmsr.bodies.inert_pickle` for how that is kept safe.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from metrichmsr.bodies.inert_pickle import RefusedError, read_arrays
from metrichmsr.errors import ModelFileError

_KEYS = ("v_template", "shapedirs", "posedirs", "J_regressor", "weights", "kintree_table", "f")
_OPTIONAL_KEYS = ("hands_meanl", "hands_meanr")
BONES_OF = {"smpl": 24, "smplh": 52, "smplx": 55}
_TITLE = {"smpl": "SMPL", "smplh": "SMPL-H", "smplx": "SMPL-X"}
_SOURCE = {
    "smpl": ("SMPL_python_v.1.1.0.zip", "https://smpl.is.tue.mpg.de", "SMPL_{}.pkl"),
    "smplh": ("smplh.tar.xz (Extended SMPL+H)", "https://mano.is.tue.mpg.de", "SMPLH_{}.npz"),
    "smplx": ("models_smplx_v1_1.zip", "https://smpl-x.is.tue.mpg.de", "SMPLX_{}.npz"),
}


@dataclass(frozen=True)
class SmplData:
    """A model file of the SMPL family, checked. Lengths in metres, y up, facing +z, its left +x."""

    kind: str
    """``smpl``, ``smplh`` or ``smplx``, by its number of bones."""
    path: Path
    v_template: Float[np.ndarray, "V 3"]
    shapedirs: Float[np.ndarray, "V 3 S"]
    posedirs: Float[np.ndarray, "V 3 P"]
    """Corrections by pose: nine for each bone but the root."""
    joint_regressor: Float[np.ndarray, "J V"]
    weights: Float[np.ndarray, "V J"]
    parents: tuple[int, ...]
    faces: Int[np.ndarray, "F 3"]
    hands_mean: Float[np.ndarray, "30 3"] | None
    """Rotation vectors of the relaxed hands' finger bones, left then right; SMPL-H and SMPL-X."""


def find_smpl_file(kind: str, folder: Path | str | None, *, gender: str = "neutral") -> Path:
    """The user's file of a model, by its official name or by what is in it.

    Looks in the folder and in its subfolders ``smpl``, ``smplh``, ``smplx`` (also under ``models``). The folder may
    also be the file itself.

    Raises:
        ModelFileError: it is not there; the message tells which download from which page goes where.
    """
    folder = None if folder is None else Path(folder).expanduser()
    if folder is not None and folder.is_file():
        return folder
    files = [] if folder is None else _candidates(folder, kind)
    for file in files:
        if _official_name(kind, gender).fullmatch(file.name) or _amass_name(file, kind, gender):
            return file
    others = [word for word in ("neutral", "male", "female") if word != gender]
    for file in files:
        hinted = re.search(r"(?<![a-z])(neutral|female|male)(?![a-z])", file.name.lower())
        if (hinted and hinted[1] in others) or any(_official_name(kind, g).fullmatch(file.name) for g in others):
            continue
        try:
            if read_smpl_file(file).kind == kind:
                return file
        except ModelFileError:
            continue
    archive, page, name = _SOURCE[kind]
    name = name.format(gender.upper())
    where = f"{folder} or {folder / kind}" if folder is not None else "a folder, and give it as --body-model-dir"
    raise ModelFileError(
        f"no {gender} {_TITLE[kind]} model found{f' in {folder}' if folder is not None else ''}: download {archive} "
        f"from {page} (free registration, licence terms apply) and put its {gender} model, e.g. as {name}, into {where}"
    )


def read_smpl_file(path: Path) -> SmplData:
    """Read a ``.pkl`` or ``.npz`` model file and check that it is one.

    Raises:
        ModelFileError: one line that names the file and what is wrong with it.
    """
    try:
        raw = _read_npz(path) if zipfile.is_zipfile(path) else _read_pickle(path)
        return _checked(path, raw)
    except OSError as error:
        raise ModelFileError(f"{path}: cannot be read ({error.strerror or error})") from error
    except RefusedError as error:
        raise ModelFileError(f"{path}: {error}") from None
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error, RuntimeError) as error:
        raise ModelFileError(f"{path}: not a body model of the SMPL family ({error})") from error


def _candidates(folder: Path, kind: str) -> list[Path]:
    try:
        files = [file for place in _places(folder, kind) for file in sorted(place.iterdir())]
        return [file for file in files if file.suffix.lower() in (".pkl", ".npz") and file.is_file()]
    except OSError as error:
        raise ModelFileError(f"{folder}: cannot be read ({error.strerror or error})") from error


def _places(folder: Path, kind: str) -> Iterator[Path]:
    roots = [folder, folder / "models"]
    below = [root / name for root in roots for name in (kind, *(k for k in BONES_OF if k != kind))]
    genders = [place / g for place in (folder, folder / kind) for g in ("neutral", "male", "female")]
    seen: set[Path] = set()
    for place in (*roots, *below, *genders):
        if place.is_dir() and place.resolve() not in seen:
            seen.add(place.resolve())
            yield place


def _official_name(kind: str, gender: str) -> re.Pattern[str]:
    letter = {"neutral": "neutral|n", "male": "m", "female": "f"}[gender]
    stem = kind.upper()
    names = [rf"{stem}_{gender}\.(pkl|npz)"]
    if kind == "smpl":
        names.append(rf"basicmodel_({letter})_lbs_10_207_0_v1\.\d\.\d\.pkl")
    return re.compile("|".join(names), re.IGNORECASE)


def _amass_name(file: Path, kind: str, gender: str) -> bool:
    """``smplh/female/model.npz``, as the AMASS edition of SMPL-H is laid out."""
    return kind == "smplh" and file.name == "model.npz" and file.parent.name.lower() == gender


def _checked(path: Path, raw: dict[str, Any]) -> SmplData:
    missing = [key for key in _KEYS if key not in raw]
    if missing:
        raise RefusedError(f"not a body model of the SMPL family (it lacks {', '.join(missing)})")
    template = _floats(raw, "v_template", (None, 3))
    n_vertices = len(template)
    kintree = np.asarray(raw["kintree_table"])
    if kintree.ndim != 2 or kintree.shape[0] != 2 or kintree.dtype.kind not in "iuf":
        raise RefusedError(f"kintree_table has shape {kintree.shape}, not (2, bones)")
    n_bones = kintree.shape[1]
    kinds = {bones: kind for kind, bones in BONES_OF.items()}
    if n_bones not in kinds:
        raise RefusedError(f"{n_bones} bones; SMPL has 24, SMPL-H 52, SMPL-X 55 (MANO and FLAME are not whole bodies)")
    # The root's parent is stored as −1 in an unsigned type.
    parents = (-1, *(int(p) for p in kintree[0, 1:]))
    if any(not 0 <= p < i for i, p in enumerate(parents[1:], start=1)):
        raise RefusedError("kintree_table is not a tree with parents before children")
    faces = np.asarray(raw["f"])
    if faces.ndim != 2 or faces.shape[1] != 3 or faces.dtype.kind not in "iu" or not len(faces):
        raise RefusedError(f"f has shape {faces.shape} and type {faces.dtype}, not integer triangles")
    faces = faces.astype(np.int64)
    if faces.min() < 0 or faces.max() >= n_vertices:
        raise RefusedError("f names vertices that do not exist")
    kind = kinds[n_bones]
    return SmplData(
        kind=kind,
        path=path,
        v_template=template,
        shapedirs=_floats(raw, "shapedirs", (n_vertices, 3, None)),
        posedirs=_floats(raw, "posedirs", (n_vertices, 3, 9 * (n_bones - 1))),
        joint_regressor=_floats(raw, "J_regressor", (n_bones, n_vertices)),
        weights=_floats(raw, "weights", (n_vertices, n_bones)),
        parents=parents,
        faces=faces,
        hands_mean=_hands_mean(raw) if kind != "smpl" else None,
    )


def _floats(raw: dict[str, Any], key: str, shape: tuple[int | None, ...]) -> np.ndarray:
    value = np.asarray(raw[key])
    wanted = ", ".join("any" if n is None else str(n) for n in shape)
    fits = value.ndim == len(shape) and all(n is None or n == m for n, m in zip(shape, value.shape, strict=True))
    if not fits or value.dtype.kind not in "fiu" or value.size == 0:
        raise RefusedError(f"{key} has shape {value.shape} and type {value.dtype}, not numbers of shape ({wanted})")
    with np.errstate(over="ignore"):
        value = value.astype(np.float32)
    if not np.isfinite(value).all():
        raise RefusedError(f"{key} contains values that are not finite")
    return value


def _hands_mean(raw: dict[str, Any]) -> np.ndarray | None:
    if any(key not in raw for key in _OPTIONAL_KEYS):
        return None
    hands = [np.asarray(raw[key], dtype=np.float32).reshape(-1) for key in _OPTIONAL_KEYS]
    return np.concatenate(hands).reshape(30, 3) if all(len(hand) == 45 for hand in hands) else None


def _read_npz(path: Path) -> dict[str, Any]:
    with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
        # Official SMPL-X files also hold pickled dictionaries (joint2num, part2num): never opened.
        return {key: file[key] for key in (*_KEYS, *_OPTIONAL_KEYS) if key in file.files}


def _read_pickle(path: Path) -> dict[str, Any]:
    data = path.read_bytes()
    if not data:
        raise RefusedError("the file is empty")
    if data.startswith(b"PK"):
        raise RefusedError("a damaged npz (the end of the file is missing)")
    return read_arrays(data, (*_KEYS, *_OPTIONAL_KEYS))
