"""A result folder read back: what ``write_recovery`` wrote, as far as it is there."""

from __future__ import annotations

import dataclasses
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from metrichmsr.errors import InputError
from metrichmsr.export.overlay import paint_people, photo_size
from metrichmsr.export.schema import Number, PersonEntry, ResultDocument, SceneEntry
from metrichmsr.structures import COCO17, AnchorResiduals, Camera, Person, Recovery, Scene

# The photo with meshes and the overlay's are compared at this size; in the same picture their median difference (of
# 255) is at most this: labels cover less than half of it.
_COMPARED_PX, _SAME = 160, 8


class ReadBack(NamedTuple):
    """What could be read."""

    recovery: Recovery | None
    """None where the files that are there do not make one."""
    drawn_over: UInt8[np.ndarray, "h w 3"] | None
    """The photo of ``overlay.png``, with meshes and labels, where it had to stand in for the photo itself."""


def read_recovery(folder: Path, document: ResultDocument) -> ReadBack:
    """The recovery of a result folder, as far as it can be had.

    Masks were not saved and are None. The photo is looked for where it was, and has to be the same still; else the one
    in ``overlay.png`` stands in.

    Args:
        folder: The result folder.
        document: Its ``result.json`` (:func:`~metrichmsr.export.result_json.read_result`).

    Raises:
        InputError: A file is there but damaged; the message names it.
    """
    camera = _camera(document)
    meshes = [folder / entry["mesh"] for entry in document["people"] if entry["mesh"] is not None]
    if len(meshes) < len(document["people"]) or not all(mesh.is_file() for mesh in meshes):
        return ReadBack(None, None)
    people = tuple(_person(entry, mesh) for entry, mesh in zip(document["people"], meshes, strict=True))
    photo, drawn_over = _photo(document), _photo_of_overlay(folder, document)
    if photo is None and drawn_over is None:
        return ReadBack(None, None)
    recovery = Recovery(
        image_path=Path(document["image"]["path"]),
        image=np.zeros((camera.height, camera.width, 3), np.uint8) if photo is None else photo,
        camera=camera,
        people=people,
        scene=read_scene(folder, document),
        warnings=tuple(document["warnings"]),
        timings_ms={stage: _number(value) for stage, value in document["timings_ms"].items()},
        versions=document["versions"],
        settings=document.get("settings") or {},
    )
    if drawn_over is None or (photo is not None and _same_picture(paint_people(recovery), drawn_over)):
        return ReadBack(recovery, None)
    image = cv2.resize(drawn_over, (camera.width, camera.height))
    return ReadBack(dataclasses.replace(recovery, image=image), drawn_over)


def _camera(document: ResultDocument) -> Camera:
    """The camera of a result."""
    camera, image = document["camera"], document["image"]
    distortion = camera.get("distortion")
    return Camera(
        K=np.array(camera["K"]),
        width=image["width"],
        height=image["height"],
        source=camera["source"],
        focal_std_px=camera["focal_std_px"],
        distortion=None if distortion is None else tuple(distortion),  # pyright: ignore[reportArgumentType]
    )


def _photo(document: ResultDocument) -> UInt8[np.ndarray, "H W 3"] | None:
    """The photo of a result where it still is what it was: upright RGB; None for frames of videos.

    Nor can the picture be had again whose distortion was removed: the result holds the camera after that alone.
    """
    from metrichmsr.images import read_image

    image = document["image"]
    if image.get("frame") is not None or any(document["camera"].get("distortion") or ()):
        return None
    try:
        photo = read_image(image["path"]).rgb
    except InputError:
        return None
    return photo if photo.shape[:2] == (image["height"], image["width"]) else None


def _photo_of_overlay(folder: Path, document: ResultDocument) -> UInt8[np.ndarray, "h w 3"] | None:
    path = folder / "overlay.png"
    if not path.is_file():
        return None
    try:
        with Image.open(path) as picture:
            sheet = np.asarray(picture.convert("RGB"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not a picture: {error}") from error
    width, height = photo_size(document["image"]["width"], document["image"]["height"])
    photo = sheet[:height, :width]
    return photo if photo.shape[:2] == (height, width) else None


def _same_picture(one: UInt8[np.ndarray, "H W 3"], other: UInt8[np.ndarray, "h w 3"]) -> bool:
    """Whether two pictures are the same but for labels on less than half of one."""
    size = (_COMPARED_PX, _COMPARED_PX)
    a, b = (cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype(int) for picture in (one, other))
    return float(np.median(np.abs(a - b).max(-1))) <= _SAME


def _person(entry: PersonEntry, mesh: Path) -> Person:
    import trimesh

    try:
        body = trimesh.load(mesh, process=False, file_type="ply")
        vertices, faces = np.array(body.vertices), np.array(body.faces)  # pyright: ignore[reportAttributeAccessIssue]
    except Exception as error:  # whatever its reader stumbles over
        raise InputError(f"{mesh}: not a mesh: {error}") from error

    joints = entry.get("joints_3d_m") or {}
    return Person(
        id=entry["id"],
        score=_number(entry["score"]),
        box_xyxy=_floats(entry["box_xyxy"]),
        body_model=entry["body_model"],
        translation_m=_floats(entry["translation_m"]),
        pose={bone: _floats(rotation) for bone, rotation in entry["pose"].items()},
        shape={name: _number(value) for name, value in entry["shape"].items()},
        height_m=_number(entry["height_m"]),
        height_std_m=_number(entry["height_std_m"]),
        distance_std_m=_number(entry["distance_std_m"]),
        keypoints_2d_px=np.stack([_floats(entry["keypoints_2d_px"][name]) for name in COCO17]),
        keypoints_3d_m=np.stack([_floats(entry["keypoints_3d_m"][name]) for name in COCO17]),
        vertices_m=vertices,
        faces=faces,
        joints_m=np.stack([_floats(joint) for joint in joints.values()]) if joints else np.zeros((0, 3)),
        reprojection_px=_number(entry.get("reprojection_px")),
    )


def read_scene(folder: Path, document: ResultDocument) -> Scene | None:
    """The scene of a result folder, None where no depth stage ran; depth is unknown where its maps were not saved.

    Raises:
        InputError: The maps are damaged, or of another picture.
    """
    entry, camera = document["scene"], _camera(document)
    if entry is None:
        return None
    maps = _depth(entry, folder, camera)
    plane, residuals, world = entry["ground_plane"], entry.get("residuals"), entry.get("world_from_camera")
    return Scene(
        depth_m=maps.get("depth_m", np.full((camera.height, camera.width), np.nan, np.float32)),
        source=entry["source"],
        refined=entry["refined"],
        initial_depth_m=maps.get("initial_depth_m"),
        anchor_m=maps.get("anchor_m"),
        confidence=maps.get("confidence"),
        refinement=entry.get("refinement") or "none",
        residuals=None
        if residuals is None
        else AnchorResiduals(
            initial=_number(residuals["initial"]),
            closed_form=_number(residuals["closed_form"]),
            refined=_number(residuals["refined"]),
            scale=_number(residuals["scale"]),
            shift_m=_number(residuals["shift_m"]),
            pixels=residuals["pixels"],
            by_person={int(id_): _number(value) for id_, value in residuals["by_person"].items()},
        ),
        ground_normal=None if plane is None else np.array(plane["normal"], dtype=np.float64),
        ground_offset_m=None if plane is None else plane["offset_m"],
        ground_std_m=None if plane is None else plane.get("offset_std_m"),
        world_from_camera=None if world is None else np.array(world),
        up_source=entry.get("up_source"),
        foot_clearance_m={int(id_): _number(value) for id_, value in (entry.get("foot_clearance_m") or {}).items()},
    )


def _depth(entry: SceneEntry, folder: Path, camera: Camera) -> dict[str, np.ndarray]:
    """The maps of ``depth.npz``, each H×W; none where it was not saved.

    Raises:
        InputError: The file is damaged, or of another picture.
    """
    if entry["depth"] is None or not (folder / entry["depth"]).is_file():
        return {}
    path = folder / entry["depth"]
    try:
        with np.load(path, allow_pickle=False) as archive:
            maps = {name: np.asarray(archive[name]) for name in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: not depth maps: {error}") from error
    if any(values.shape != (camera.height, camera.width) for values in maps.values()):
        raise InputError(f"{path}: its maps are not of the size of the picture, {camera.width}×{camera.height}")
    return maps


def _floats(values: Iterable[Number]) -> Float[np.ndarray, "N"]:
    return np.array([_number(value) for value in values], dtype=np.float64)


def _number(value: Number) -> float:
    return np.nan if value is None else float(value)
