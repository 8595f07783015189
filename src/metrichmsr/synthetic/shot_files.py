"""A shot as named files, and back: what a sample of a SynFocal shard consists of.

| file | content |
| --- | --- |
| ``jpg`` or ``png`` | the picture, sRGB; JPEG of quality 95, or lossless |
| ``depth.png`` | z-depth in millimetres, 16 bits; 0 where nothing modelled is seen, or beyond 65.5 m |
| ``person.png`` | row of ``people`` that is seen, 8 bits; 255 for nobody |
| ``ground.png`` | 1 where the floor that people stand on is seen, 1 bit |
| ``normals.png`` | unit normals (camera frame) times 127 plus 128 as RGB; (128, 128, 128) for none. Optional |
| ``npz`` | float32 arrays of :class:`ShotPeople` by their names, ``K``, ``camera_from_world``, ``full_K``, |
|  | ``full_size``, ``crop_from_full`` |
| ``json`` | ``environment``, ``settings``, and per person ``support``, ``pose_source``, ``wears`` |

Arrays are exact; the picture is as good as its format, depth is rounded to the millimetre.
"""

from __future__ import annotations

import dataclasses
import io
import json
import zipfile
from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from jaxtyping import UInt8

from metrichmsr.datasets.shard_reader import ShardReader
from metrichmsr.errors import InputError
from metrichmsr.synthetic.shots import Shot, ShotPeople

Picture = Literal["jpg", "png"]
Field = Literal["image", "depth", "person", "ground", "normals"]
FIELDS: tuple[Field, ...] = ("image", "depth", "person", "ground", "normals")
"""The pictures of a shot, which a reader may leave out; people and camera always come."""

_FILES: Mapping[str, tuple[str, ...]] = {
    "image": ("jpg", "png"),
    "depth": ("depth.png",),
    "person": ("person.png",),
    "ground": ("ground.png",),
    "normals": ("normals.png",),
}
_STRINGS = ("support", "pose_source", "wears")
_ARRAYS = tuple(field.name for field in dataclasses.fields(ShotPeople) if field.name not in _STRINGS)
_CAMERA = ("K", "camera_from_world", "full_K", "crop_from_full")
_MAX_MM = 65535


def encode_shot(
    shot: Shot, *, picture: Picture = "jpg", quality: int = 95, normals: bool = False
) -> tuple[str, dict[str, bytes]]:
    """A shot as a sample: its key and its files.

    Args:
        shot: what is stored.
        picture: JPEG, or PNG where nothing may be lost.
        quality: of the JPEG.
        normals: store them too (they add more than all the rest).
    """
    millimetres = np.nan_to_num(shot.depth_m * np.float32(1000), nan=0.0, posinf=0.0, neginf=0.0).round()
    millimetres[(millimetres > _MAX_MM) | (millimetres < 0)] = 0
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if picture == "jpg" else []
    files = {
        picture: _encode(cv2.cvtColor(shot.image, cv2.COLOR_RGB2BGR), picture, options),
        "depth.png": _encode(millimetres.astype(np.uint16), "png"),
        "person.png": _encode(shot.person_id, "png"),
        "ground.png": _encode(shot.ground.astype(np.uint8) * 255, "png", [cv2.IMWRITE_PNG_BILEVEL, 1]),
    }
    if normals:
        shifted = (shot.normals.astype(np.int16) + 128).astype(np.uint8)
        files["normals.png"] = _encode(cv2.cvtColor(shifted, cv2.COLOR_RGB2BGR), "png")
    people = shot.people
    arrays = {name: getattr(people, name) for name in _ARRAYS} | {name: getattr(shot, name) for name in _CAMERA}
    packed = io.BytesIO()
    # Not compressed: noise of float32 shrinks by a tenth and costs three times as long.
    np.savez(packed, full_size=np.array(shot.full_size, dtype=np.int32), **arrays)
    files["npz"] = packed.getvalue()
    texts = {"environment": shot.environment, "settings": shot.settings}
    texts |= {name: getattr(people, name) for name in _STRINGS}
    files["json"] = json.dumps(texts, ensure_ascii=False, default=_plain).encode()
    return shot.key, files


def decode_shot(key: str, files: Mapping[str, bytes], *, fields: Collection[Field] = FIELDS) -> Shot:
    """A sample as a shot. Pictures that are not wanted, or not stored (normals), have no pixels (0×0).

    Raises:
        InputError: A file is missing or broken; the message names it.
    """
    truth = _arrays(files)
    try:
        texts: dict[str, Any] = json.loads(_need(files, "json"))
    except ValueError as error:
        raise InputError(f"json: cannot be read: {error}") from error
    try:
        people = ShotPeople(
            **{name: truth[name] for name in _ARRAYS},
            support=tuple(texts["support"]),
            pose_source=tuple(texts["pose_source"]),
            wears=tuple(tuple(names) for names in texts["wears"]),
        )
        width, height = (int(side) for side in truth["full_size"])
        return Shot(
            key=key,
            **_pictures(files, fields),
            **{name: truth[name] for name in _CAMERA},
            full_size=(width, height),
            people=people,
            environment=texts["environment"],
            settings=texts["settings"],
        )
    except KeyError as error:
        raise InputError(f"{error} is missing") from error


def read_shots(folder: Path, *, fields: Collection[Field] = FIELDS, **options: Any) -> ShardReader[Shot]:
    """A reader of the shots of a folder.

    Args:
        folder: with ``index.json`` and shards.
        fields: pictures that are read; the others come without pixels, and cost no time.
        options: of :class:`~metrichmsr.datasets.shard_reader.ShardReader` (shuffling, ranks, checks).

    Raises:
        InputError: There is no index, or it lists nothing.
    """
    names = {"npz", "json", *(name for field in fields for name in _FILES[field])}
    return ShardReader(folder, partial(decode_shot, fields=tuple(fields)), names=names, **options)


def _pictures(files: Mapping[str, bytes], fields: Collection[Field]) -> dict[str, np.ndarray]:
    color, gray = np.zeros((0, 0, 3), np.uint8), np.zeros((0, 0), np.uint8)
    image, depth, person, ground, normals = color, gray.astype(np.float32), gray, gray.astype(bool), color.view(np.int8)
    if "image" in fields:
        name = "png" if "png" in files else "jpg"
        image = cv2.cvtColor(_decode(files, name, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    if "depth" in fields:
        stored = _decode(files, "depth.png", cv2.IMREAD_UNCHANGED)
        if stored.dtype != np.uint16 or stored.ndim != 2:
            raise InputError("depth.png: not 16 bits of one channel")
        depth = stored.astype(np.float32) / np.float32(1000)
        depth[stored == 0] = np.nan
    if "person" in fields:
        person = _decode(files, "person.png", cv2.IMREAD_GRAYSCALE)
    if "ground" in fields:
        ground = _decode(files, "ground.png", cv2.IMREAD_GRAYSCALE) > 0
    if "normals" in fields and "normals.png" in files:
        stored = cv2.cvtColor(_decode(files, "normals.png", cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        normals = (stored.astype(np.int16) - 128).astype(np.int8)
    return {"image": image, "depth_m": depth, "person_id": person, "ground": ground, "normals": normals}


def _arrays(files: Mapping[str, bytes]) -> dict[str, np.ndarray]:
    try:
        with np.load(io.BytesIO(_need(files, "npz")), allow_pickle=False) as packed:
            return {name: packed[name] for name in packed.files}
    except (ValueError, OSError, zipfile.BadZipFile, EOFError) as error:
        raise InputError(f"npz: cannot be read: {error}") from error


def _need(files: Mapping[str, bytes], name: str) -> bytes:
    if name not in files:
        raise InputError(f"{name}: missing")
    return files[name]


def _decode(files: Mapping[str, bytes], name: str, flags: int) -> UInt8[np.ndarray, "H W ..."]:
    content = _need(files, name)
    picture = cv2.imdecode(np.frombuffer(content, np.uint8), flags) if content else None
    if picture is None:
        raise InputError(f"{name}: cannot be read as a picture")
    return picture


def _encode(picture: np.ndarray, kind: str, options: list[int] | None = None) -> bytes:
    fine, encoded = cv2.imencode(f".{kind}", picture, options or [])
    if not fine:
        raise ValueError(f"a picture {picture.shape} of {picture.dtype} cannot be stored as {kind}")
    return encoded.tobytes()


def _plain(value: Any) -> Any:
    # Settings are drawn with NumPy; JSON knows Python's own numbers only.
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} is no JSON value")
