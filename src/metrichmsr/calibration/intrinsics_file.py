"""Intrinsics files: ``{"K": …}``, or a list or dict of these by file name (docs/conventions.md), and COLMAP's text."""

from __future__ import annotations

import functools
import json
import math
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from jaxtyping import Float

from metrichmsr.errors import InputError, what_it_has
from metrichmsr.images.photo import Photo
from metrichmsr.structures import Camera

_NAME_KEYS = ("file", "file_name", "filename", "name", "image", "path")
_NORMALISED_FOCAL = 10.0  # together with a principal point in the corner pixel, no photo has less
_MAX_BYTES = 256 * 2**20


@dataclass(frozen=True, eq=False)
class Intrinsics:
    """One entry of an intrinsics file, checked."""

    K: Float[np.ndarray, "3 3"]
    """Continuous pixels of the upright picture, float64."""
    width: int | None
    """Width of the picture K belongs to, where stated."""
    height: int | None
    """Height of the picture K belongs to, where stated."""
    distortion: tuple[float, float, float, float, float] | None
    """(k1, k2, p1, p2, k3), where stated and not all zero."""
    focal_std_px: float | None
    """One sigma of the focal length, where stated."""
    origin: str
    """File and entry, for messages."""

    def fits(self, photo: Photo) -> bool:
        """Whether the stated size, where there is one, is the photo's."""
        return self.width in (None, photo.width) and self.height in (None, photo.height)

    def camera(self, photo: Photo, *, source: str) -> Camera:
        """The photo's camera.

        Raises:
            InputError: the entry is for a picture of another size.
        """
        if not self.fits(photo):
            width, height = self.width or photo.width, self.height or photo.height
            turned = (width, height) == (photo.height, photo.width) and photo.exif.orientation >= 5
            hint = "; K must be that of the upright picture, after its EXIF rotation" if turned else ""
            raise InputError(
                f"{self.origin}: K is for {width}×{height}, but {photo.path} is {photo.width}×{photo.height}{hint}"
            )
        return Camera(
            K=self.K,
            width=photo.width,
            height=photo.height,
            source=source,
            focal_std_px=self.focal_std_px,
            distortion=self.distortion,
        )


class IntrinsicsFile:
    """The entries of an intrinsics file. The one for every picture is checked at once, the others when asked for.

    Args:
        path: the file.
        default: the entry for every picture, where there is one.
        by_name: entries by file name, with or without folders.

    Raises:
        InputError: the entry for every picture is no usable intrinsics.
    """

    def __init__(self, path: Path, *, default: Any = None, by_name: Mapping[str, Any] | None = None) -> None:
        self.path = path
        self._default = None if default is None else parse_entry(default, str(path))
        self._by_name = dict(by_name or {})
        self._by_last: dict[str, list[tuple[tuple[str, ...], str]]] = {}
        for name in self._by_name:
            parts = _parts(name)
            if parts:
                self._by_last.setdefault(parts[-1], []).append((parts, name))

    def find(self, path: Path) -> Intrinsics | None:
        """The entry of a picture: the name that agrees with most of the end of its path, else the one for all.

        Raises:
            InputError: the entry is no usable intrinsics.
        """
        own = _parts(path.absolute())
        without_suffix = (*own[:-1], _parts(path.stem)[-1]) if path.stem else own
        for parts in (own, without_suffix):
            agreeing = [
                (len(named), name) for named, name in self._by_last.get(parts[-1], ()) if parts[-len(named) :] == named
            ]
            if agreeing:
                name = max(agreeing)[1]
                return parse_entry(self._by_name[name], f"{self.path}, {name}")
        return self._default

    def summary(self) -> str:
        """What it has entries for, in a few words."""
        return what_it_has(self._by_name)


def read_intrinsics(path: str | Path) -> IntrinsicsFile:
    """Read an intrinsics file: COLMAP's text where its name ends in ``.txt``, else JSON.

    The last few files are kept in memory until they change on disk.

    Raises:
        InputError: it cannot be read or is not an intrinsics file.
    """
    path = Path(path)
    try:
        about = path.stat()
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    if path.is_dir():
        raise InputError(f"{path}: is a folder, not an intrinsics file")
    if about.st_size > _MAX_BYTES:
        raise InputError(f"{path}: {about.st_size / 2**20:.0f} MiB is no intrinsics file")
    return _read(path, about.st_mtime_ns, about.st_size)


@functools.lru_cache(maxsize=8)
def _read(path: Path, _mtime_ns: int, _size: int) -> IntrinsicsFile:
    try:
        if path.suffix.lower() == ".txt":
            from metrichmsr.calibration.colmap import read_colmap

            default, by_name = read_colmap(path)
            return IntrinsicsFile(path, default=default, by_name=by_name)
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: not an intrinsics file (neither JSON nor COLMAP's cameras.txt)") from None
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON ({error})") from None
    return _from_json(content, path)


def _from_json(content: Any, path: Path) -> IntrinsicsFile:
    if isinstance(content, dict) and "K" in content:
        return IntrinsicsFile(path, default=content)
    if isinstance(content, list):
        entries = list(_named_entries(content, path))
        if len(entries) == 1 and entries[0][0] is None:
            return IntrinsicsFile(path, default=entries[0][1])
        if any(name is None for name, _ in entries):
            raise InputError(f"{path}: a list of intrinsics needs a file name in every entry ({', '.join(_NAME_KEYS)})")
        return IntrinsicsFile(path, by_name={str(name): entry for name, entry in entries})
    if isinstance(content, dict) and content and all(isinstance(v, dict) and "K" in v for v in content.values()):
        return IntrinsicsFile(path, by_name=content)
    raise InputError(f'{path}: no intrinsics: {{"K": [[fx, 0, cx], [0, fy, cy], [0, 0, 1]]}} or these by file name')


def _named_entries(content: list[Any], path: Path) -> Iterator[tuple[str | None, dict[str, Any]]]:
    for entry in content:
        if not isinstance(entry, dict) or "K" not in entry:
            raise InputError(f"{path}: an entry of its list has no K")
        names = [entry[key] for key in _NAME_KEYS if isinstance(entry.get(key), str)]
        yield (names[0] if names else None), entry


def parse_entry(entry: Any, origin: str) -> Intrinsics:
    """Check one ``{"K", "width", "height", "distortion", "focal_std_px"}``; all but K optional.

    Raises:
        InputError: some of it is not what it should be.
    """
    K = _numbers(entry["K"], origin, "K")
    if K.shape != (3, 3):
        raise InputError(f"{origin}: K must be 3×3, not {'×'.join(map(str, K.shape)) or 'a single number'}")
    width, height = _side(entry, "width", origin), _side(entry, "height", origin)
    try:
        # The camera's own checks; its size does not matter for them.
        K = Camera(K=K, width=width or 1, height=height or 1, source="given").K
    except ValueError as error:
        raise InputError(f"{origin}: {error}") from None
    if max(K[0, 0], K[1, 1]) < _NORMALISED_FOCAL and np.abs(K[:2, 2]).max() <= 1:
        raise InputError(f"{origin}: K must be in pixels, not normalised")
    distortion = None
    if entry.get("distortion") is not None:
        values = _numbers(entry["distortion"], origin, "distortion").ravel()
        if len(values) < 4 or not np.isfinite(values).all() or np.any(values[5:]):
            raise InputError(f"{origin}: distortion must be [k1, k2, p1, p2, k3], not {entry['distortion']}")
        k1, k2, p1, p2, k3 = (float(value) for value in np.append(values, 0.0)[:5])
        distortion = (k1, k2, p1, p2, k3) if any((k1, k2, p1, p2, k3)) else None
    std = entry.get("focal_std_px")
    if std is not None and not (isinstance(std, (int, float)) and math.isfinite(std) and std >= 0):
        raise InputError(f"{origin}: focal_std_px must be a number of pixels, not {std}")
    return Intrinsics(K, width, height, distortion, None if std is None else float(std), origin)


def _numbers(values: Any, origin: str, what: str) -> Float[np.ndarray, "..."]:
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{origin}: {what} is not made of numbers") from None


def _side(entry: Mapping[str, Any], key: str, origin: str) -> int | None:
    value = entry.get(key)
    if value is None:
        return None
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 1 <= value < 2**31 and value == int(value):
        return int(value)
    raise InputError(f"{origin}: {key} must be a whole number of pixels, not {value}")


def _parts(name: str | Path) -> tuple[str, ...]:
    """Path components, without drive and with one form for letters that Unicode can write in two."""
    pure = PurePath(str(name).replace("\\", "/"))
    return tuple(unicodedata.normalize("NFC", part) for part in pure.parts if part not in (pure.anchor, "."))
