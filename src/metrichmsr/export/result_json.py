"""``result.json``: the result contract, schema ``metrichmsr/1`` (types in :mod:`metrichmsr.export.schema`)."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np

from metrichmsr.errors import InputError
from metrichmsr.export.atomic import atomic_file
from metrichmsr.export.schema import (
    ADDED_KEYS,
    SCHEMA,
    CameraEntry,
    GroundPlaneEntry,
    ImageEntry,
    MeasurementEntry,
    Number,
    PersonEntry,
    ResidualsEntry,
    ResultDocument,
    SceneEntry,
)
from metrichmsr.structures import COCO17, AnchorResiduals, Camera, Person, Recovery, Scene

# Micrometres, microradians and millionths of a pixel: finer than anything measured here, and short in the file.
_DECIMALS = 6


def result_document(
    recovery: Recovery,
    *,
    frame: int | None = None,
    meshes: Mapping[int, str] | None = None,
    depth: str | None = None,
    folder: Path | None = None,
) -> ResultDocument:
    """The content of ``result.json``: strict JSON types only, null for anything that is not a finite number.

    Args:
        recovery: What was recovered.
        frame: Number of the frame where the image came out of a video.
        meshes: Mesh file name of each person by id, where meshes were saved.
        depth: File name of the depth maps, where they were saved.
        folder: Where the document will lie, if it is written.

    Raises:
        ValueError: The record contradicts itself: as many joints as bones, and each bone's name once.
    """
    meshes = meshes or {}
    return {
        "schema": SCHEMA,
        "image": {
            "path": str(recovery.image_path),
            "width": recovery.camera.width,
            "height": recovery.camera.height,
            "frame": frame,
            "path_from_result": None if folder is None else _from_result(recovery.image_path, folder),
        },
        "camera": _camera_entry(recovery.camera, recovery.removed_distortion),
        "people": [_person_entry(person, meshes.get(person.id)) for person in recovery.people],
        "scene": None if recovery.scene is None else _scene_entry(recovery.scene, depth),
        "warnings": list(recovery.warnings),
        "timings_ms": {stage: _number(ms, decimals=3) for stage, ms in recovery.timings_ms.items()},
        "versions": dict(recovery.versions),
        "settings": dict(recovery.settings),
    }


def dump_result(document: ResultDocument, *, pretty: bool = False) -> str:
    """``document`` as strict JSON text without a line end: on one line, or pretty with a line a vector."""
    return _pretty(document, "\n") if pretty else _dumps(document)


def write_result(document: ResultDocument, path: Path) -> None:
    """Write ``result.json`` (UTF-8), atomically."""
    text = dump_result(document, pretty=True)
    with atomic_file(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def read_result(path: str | Path) -> ResultDocument:
    """Read ``result.json`` and check that it is one: schema, required keys, shapes of K and keypoints.

    Unknown keys are left alone; keys that were added to the schema after its first release may be absent.

    Raises:
        InputError: Naming the file and what is wrong with it.
    """
    path = Path(path)
    try:
        document = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:  # of JSON, of UTF-8, of _refuse_constant
        raise InputError(f"{path}: not a JSON file: {error}") from error
    try:
        _check_document(document)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error
    return cast("ResultDocument", document)


def _from_result(path: Path, folder: Path) -> str | None:
    if not path.is_file():
        return None
    # Without symbolic links: ".." leads out of where they point to.
    there = path.parent.resolve() / path.name
    try:
        return Path(os.path.relpath(there, folder.resolve())).as_posix()
    except ValueError:  # another drive of Windows
        return None


def _camera_entry(camera: Camera, removed_distortion: tuple[float, ...] | None) -> CameraEntry:
    return {
        "K": camera.K.tolist(),
        "source": camera.source,
        "focal_std_px": None if camera.focal_std_px is None else _number(camera.focal_std_px),
        "fov_x_deg": round(camera.fov_x_deg, _DECIMALS),
        "distortion": None if removed_distortion is None else [float(value) for value in removed_distortion],
    }


def _person_entry(person: Person, mesh: str | None) -> PersonEntry:
    return {
        "id": person.id,
        "score": _number(person.score),
        "box_xyxy": _numbers(person.box_xyxy),
        "height_m": _number(person.height_m),
        "height_std_m": _number(person.height_std_m),
        "distance_m": _number(person.distance_m),
        "distance_std_m": _number(person.distance_std_m),
        "translation_m": _numbers(person.translation_m),
        "keypoints_2d_px": _by_name(COCO17, person.keypoints_2d_px),
        "keypoints_3d_m": _by_name(COCO17, person.keypoints_3d_m),
        "joints_3d_m": _by_name(tuple(person.pose), person.joints_m),
        "body_model": person.body_model,
        "pose": {bone: _numbers(rotation) for bone, rotation in person.pose.items()},
        "shape": {name: _number(value) for name, value in person.shape.items()},
        "reprojection_px": _number(person.reprojection_px),
        "mesh": mesh,
        "measurements_m": _measurements(person),
    }


def _measurements(person: Person) -> dict[str, MeasurementEntry] | None:
    entries: dict[str, MeasurementEntry] = {
        name: {"value": _number(value_m), "std": _number(std_m)}
        for name, (value_m, std_m) in person.measurements.items()
    }
    return entries or None


def _scene_entry(scene: Scene, depth: str | None) -> SceneEntry:
    ground: GroundPlaneEntry | None = None
    if scene.ground_normal is not None and scene.ground_offset_m is not None:
        ground = {
            "normal": _numbers(scene.ground_normal),
            "offset_m": _number(scene.ground_offset_m),
            "offset_std_m": None if scene.ground_std_m is None else _number(scene.ground_std_m),
        }
    world = scene.world_from_camera
    return {
        "depth": depth,
        "source": scene.source,
        "refined": scene.refined,
        "ground_plane": ground,
        "refinement": scene.refinement,
        "residuals": None if scene.residuals is None else _residuals_entry(scene.residuals),
        "world_from_camera": None if world is None else np.round(world, 9).tolist(),
        "up_source": scene.up_source,
        "foot_clearance_m": {str(id_): _number(height) for id_, height in scene.foot_clearance_m.items()},
    }


def _residuals_entry(residuals: AnchorResiduals) -> ResidualsEntry:
    return {
        "initial": _number(residuals.initial),
        "closed_form": _number(residuals.closed_form),
        "refined": _number(residuals.refined),
        # A source without metres may count in thousands, or in thousandths.
        "scale": _number(residuals.scale, decimals=12),
        "shift_m": _number(residuals.shift_m),
        "pixels": int(residuals.pixels),
        "by_person": {str(id_): _number(value) for id_, value in residuals.by_person.items()},
    }


def _number(value: float | np.floating, *, decimals: int = _DECIMALS) -> Number:
    value = float(value)
    return round(value, decimals) if math.isfinite(value) else None


def _numbers(values: Iterable[float] | np.ndarray) -> list[Number]:
    return [_number(value) for value in values]


def _by_name(names: tuple[str, ...], rows: np.ndarray) -> dict[str, list[Number]]:
    return {name: _numbers(row) for name, row in zip(names, rows, strict=True)}


def _dumps(value: Any) -> str:
    return json.dumps(value, allow_nan=False, ensure_ascii=False)


def _pretty(value: Any, line: str) -> str:
    # json's own indentation gives every number of a vector a line of its own.
    inner = line + " "
    if isinstance(value, dict) and value:
        entries = [f"{_dumps(key)}: {_pretty(entry, inner)}" for key, entry in value.items()]
        return "{" + inner + f",{inner}".join(entries) + line + "}"
    if isinstance(value, list) and any(isinstance(entry, dict | list) for entry in value):
        return "[" + inner + f",{inner}".join(_pretty(entry, inner) for entry in value) + line + "]"
    return _dumps(value)


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _check_document(document: Any) -> None:
    if not isinstance(document, dict) or "schema" not in document:
        raise ValueError("not a metrichmsr result: it names no schema")
    if document["schema"] != SCHEMA:
        raise ValueError(f"its schema is {document['schema']!r}; this version reads {SCHEMA!r}")
    _require(document, ResultDocument, "the result")
    _require(document["image"], ImageEntry, "image")
    _require(document["camera"], CameraEntry, "camera")
    if np.shape(document["camera"]["K"]) != (3, 3):
        raise ValueError("camera.K is not a 3×3 matrix")
    distortion = document["camera"].get("distortion")
    if distortion is not None and not _is_vector(distortion, 5):
        raise ValueError("camera.distortion does not hold the five numbers k1, k2, p1, p2, k3")
    if document["scene"] is not None:
        _require(document["scene"], SceneEntry, "scene")
        if document["scene"]["ground_plane"] is not None:
            _require(document["scene"]["ground_plane"], GroundPlaneEntry, "scene.ground_plane")
    if not isinstance(document["people"], list):
        raise ValueError("people is not a list")
    for index, person in enumerate(document["people"]):
        _require(person, PersonEntry, f"people[{index}]")
        for key in ("keypoints_2d_px", "keypoints_3d_m"):
            if set(person[key]) != set(COCO17) or any(len(row) != 3 for row in person[key].values()):
                raise ValueError(f"people[{index}].{key} does not hold three numbers for each of the 17 COCO keypoints")


def _is_vector(value: Any, length: int) -> bool:
    return isinstance(value, list) and len(value) == length and all(type(number) in (int, float) for number in value)


def _require(entry: Any, kind: Any, where: str) -> None:
    if not isinstance(entry, dict):
        raise ValueError(f"{where} is not an object")
    missing = sorted(kind.__required_keys__ - ADDED_KEYS - set(entry))
    if missing:
        raise ValueError(f"{where} lacks {', '.join(missing)}")
