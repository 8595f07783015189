"""A result folder read back for its report: what ``write_recovery`` wrote, as far as it is there, meshes as they are.

:mod:`~metrichmsr.export.read` is the strict one, whose bodies can be moved.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import Image

from metrichmsr.errors import InputError
from metrichmsr.export.overlay import paint_people, photo_size
from metrichmsr.export.read_entries import (
    camera_of,
    distortion_of,
    number,
    person_of,
    photo_places,
    picture_of,
    scene_of,
)
from metrichmsr.export.schema import PersonEntry, ResultDocument
from metrichmsr.structures import Person, Recovery

# The photo with meshes and the overlay's are compared at this size; in the same picture their median difference (of
# 255) is at most this: labels cover less than half of it.
_COMPARED_PX, _SAME = 160, 8


class ReadBack(NamedTuple):
    """What could be read."""

    recovery: Recovery | None
    """None where the files that are there do not make one."""
    drawn_over: UInt8[np.ndarray, "h w 3"] | None
    """The photo of ``overlay.png``, with meshes and labels, where it had to stand in for the photo itself."""


def read_back(folder: Path, document: ResultDocument) -> ReadBack:
    """The recovery of a result folder, as far as it can be had.

    Masks were not saved and are None. The photo is looked for where it was, and has to be the same still; else the one
    in ``overlay.png`` stands in.

    Args:
        folder: The result folder.
        document: Its ``result.json`` (:func:`~metrichmsr.export.result_json.read_result`).

    Raises:
        InputError: A file is there but damaged; the message names it.
    """
    camera = camera_of(document)
    meshes = [folder / entry["mesh"] for entry in document["people"] if entry["mesh"] is not None]
    if len(meshes) < len(document["people"]) or not all(mesh.is_file() for mesh in meshes):
        return ReadBack(None, None)
    people = tuple(_person(entry, mesh) for entry, mesh in zip(document["people"], meshes, strict=True))
    photo, drawn_over = _photo(folder, document), _photo_of_overlay(folder, document)
    if photo is None and drawn_over is None:
        return ReadBack(None, None)
    recovery = Recovery(
        image_path=Path(document["image"]["path"]),
        image=np.zeros((camera.height, camera.width, 3), np.uint8) if photo is None else photo,
        camera=camera,
        people=people,
        scene=scene_of(folder, document),
        warnings=tuple(document["warnings"]),
        timings_ms={stage: number(value) for stage, value in document["timings_ms"].items()},
        versions=document["versions"],
        settings=document.get("settings") or {},
        removed_distortion=distortion_of(document),
    )
    if drawn_over is None or (photo is not None and _same_picture(paint_people(recovery), drawn_over)):
        return ReadBack(recovery, None)
    image = cv2.resize(drawn_over, (camera.width, camera.height))
    return ReadBack(dataclasses.replace(recovery, image=image), drawn_over)


def _photo(folder: Path, document: ResultDocument) -> UInt8[np.ndarray, "H W 3"] | None:
    """The photo where it still is what it was: upright RGB, distortion removed; None for frames of videos."""
    from metrichmsr.images import read_image

    image = document["image"]
    if image.get("frame") is not None:
        return None
    for path in photo_places(document, folder):
        try:
            photo = read_image(path).rgb
        except InputError:
            continue
        if photo.shape[:2] == (image["height"], image["width"]):
            return picture_of(document, photo)
    return None


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
    return person_of(entry, vertices, faces)
