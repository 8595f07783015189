"""Entries of ``result.json`` back as the structures they came from; whoever reads a result folder starts here.

What a folder holds beside it differs with what was saved and with who reads: bodies may be posed anew
(:mod:`~metrichmsr.export.read`) or taken from meshes, depth may be needed or not.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8

from metrichmsr.errors import InputError
from metrichmsr.export.schema import Number, PersonEntry, ResultDocument
from metrichmsr.structures import COCO17, AnchorResiduals, Camera, Measurement, Person, Scene


def camera_of(document: ResultDocument) -> Camera:
    """The camera of a result's picture: a pinhole, as distortion was removed from it.

    Raises:
        ValueError: K is none.
    """
    entry, image = document["camera"], document["image"]
    return Camera(
        K=np.array(entry["K"], dtype=np.float64),
        width=image["width"],
        height=image["height"],
        source=entry["source"],
        focal_std_px=entry["focal_std_px"],
    )


def distortion_of(document: ResultDocument) -> tuple[float, float, float, float, float] | None:
    """Distortion of the photo as it came (k1, k2, p1, p2, k3), None where none was known."""
    coefficients = document["camera"].get("distortion")
    if coefficients is None:
        return None
    k1, k2, p1, p2, k3 = map(float, coefficients)
    return k1, k2, p1, p2, k3


def photo_places(document: ResultDocument, folder: Path, given: Path | None = None) -> list[Path]:
    """Where the photo or video of a result may be, the likeliest first.

    Args:
        document: ``result.json``.
        folder: where it lies.
        given: where the user says it is; then it is nowhere else.
    """
    if given is not None:
        return [given]
    image = document["image"]
    named = Path(image["path"])
    places = [named, folder / named.name]
    after = image.get("path_from_result")
    if after is not None:
        there, here = (path.parent.resolve() / named.name for path in (folder / after, named))
        if there != here:
            # A relative name counts from the working folder of that run; in today's another photo may bear it.
            places.insert(1 if named.is_absolute() else 0, there)
    return places


def picture_of(document: ResultDocument, photo: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "H W 3"]:
    """The picture that a result speaks of: its photo without the distortion that was removed before recovering.

    Args:
        document: ``result.json``.
        photo: as read again from its file, upright RGB, of the result's size.

    Raises:
        ValueError: K is none.
    """
    distortion = distortion_of(document)
    if distortion is None:
        return photo
    from metrichmsr.geometry.distortion import undistort_image

    return undistort_image(photo, camera_of(document).replace(distortion=distortion))[0]


def person_of(
    entry: PersonEntry, vertices_m: Float[np.ndarray, "V 3"], faces: Int[np.ndarray, "F 3"], **more: Any
) -> Person:
    """A person with a mesh that was read or made elsewhere.

    Args:
        entry: of ``result.json``.
        vertices_m: camera frame.
        faces: triangles of the mesh.
        **more: other fields of :class:`~metrichmsr.structures.Person`, in place of the entry's.
    """
    joints = entry.get("joints_3d_m") or {}
    values: dict[str, Any] = {
        "id": entry["id"],
        "score": number(entry["score"]),
        "box_xyxy": numbers(entry["box_xyxy"]),
        "body_model": entry["body_model"],
        "translation_m": numbers(entry["translation_m"]),
        "pose": {bone: numbers(rotation) for bone, rotation in entry["pose"].items()},
        "shape": {name: number(value) for name, value in entry["shape"].items()},
        "height_m": number(entry["height_m"]),
        "height_std_m": number(entry["height_std_m"]),
        "distance_std_m": number(entry["distance_std_m"]),
        "keypoints_2d_px": np.stack([numbers(entry["keypoints_2d_px"][name]) for name in COCO17]),
        "keypoints_3d_m": np.stack([numbers(entry["keypoints_3d_m"][name]) for name in COCO17]),
        "joints_m": np.stack([numbers(joint) for joint in joints.values()]) if joints else np.zeros((0, 3)),
        "reprojection_px": number(entry.get("reprojection_px")),
        "measurements": {
            name: Measurement(number(measured["value"]), number(measured["std"]))
            for name, measured in (entry.get("measurements_m") or {}).items()
        },
    }
    return Person(**{**values, "vertices_m": vertices_m, "faces": faces, **more})


def scene_of(folder: Path, document: ResultDocument) -> Scene | None:
    """The scene of a result folder, None where no depth stage ran; depth is NaN where its maps were not saved.

    Raises:
        InputError: the maps are damaged, or of another picture.
    """
    entry = document["scene"]
    if entry is None:
        return None
    shape = document["image"]["height"], document["image"]["width"]
    file = depth_file(document, folder)
    maps = {} if file is None else _depth(file, shape)
    plane, world = entry["ground_plane"], entry.get("world_from_camera")
    return Scene(
        depth_m=maps.get("depth_m", np.full(shape, np.nan, np.float32)),
        source=entry["source"],
        refined=entry["refined"],
        initial_depth_m=maps.get("initial_depth_m"),
        anchor_m=maps.get("anchor_m"),
        confidence=maps.get("confidence"),
        refinement=entry.get("refinement") or "none",
        residuals=_residuals(entry.get("residuals")),
        ground_normal=None if plane is None else numbers(plane["normal"]),
        ground_offset_m=None if plane is None else plane["offset_m"],
        ground_std_m=None if plane is None else plane.get("offset_std_m"),
        world_from_camera=None if world is None else np.asarray(world, np.float64),
        up_source=entry.get("up_source"),
        foot_clearance_m={int(id_): number(value) for id_, value in (entry.get("foot_clearance_m") or {}).items()},
    )


def depth_file(document: ResultDocument, folder: Path) -> Path | None:
    """The depth maps of a result; None where they were not saved, or are gone."""
    scene = document["scene"]
    if scene is None or scene["depth"] is None:
        return None
    path = folder / scene["depth"]
    return path if path.is_file() else None


def _depth(path: Path, shape: tuple[int, int]) -> dict[str, np.ndarray]:
    """The maps of ``depth.npz``."""
    try:
        # Opened here: of a damaged file, NumPy would leave it open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            maps = {name: np.asarray(archive[name]) for name in archive.files}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: not the depth maps of a result: {error}") from error
    if "depth_m" not in maps:
        raise InputError(f"{path}: not the depth maps of a result: it has no depth_m")
    for name, values in maps.items():
        if values.shape != shape:
            raise InputError(f"{path}: {name} is {values.shape}, the picture {shape} (height, width)")
    return maps


def _residuals(entry: Any) -> AnchorResiduals | None:
    if entry is None:
        return None
    values = {name: number(entry[name]) for name in ("initial", "closed_form", "refined", "scale", "shift_m")}
    by_person = {int(id_): number(value) for id_, value in entry["by_person"].items()}
    return AnchorResiduals(**values, pixels=entry["pixels"], by_person=by_person)


def number(value: Number) -> float:
    """A number; NaN where JSON had null."""
    return math.nan if value is None else float(value)


def numbers(values: Iterable[Number]) -> Float[np.ndarray, "N"]:
    """The same of several."""
    return np.array([number(value) for value in values], dtype=np.float64)
