"""A result folder back as a :class:`Recovery`: what other formats can be made of without recovering again.

Bodies are posed anew from ``result.json``, which holds pose, shape and place to a millionth: vertices come back within
a few micrometres. Depth comes from ``depth.npz``, the picture from where it was.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, UInt8

from metrichmsr.errors import InputError
from metrichmsr.export.read_entries import (
    camera_of,
    depth_file,
    distortion_of,
    number,
    numbers,
    person_of,
    photo_places,
    picture_of,
    scene_of,
)
from metrichmsr.export.result_json import read_result
from metrichmsr.export.schema import PersonEntry, ResultDocument
from metrichmsr.structures import Person, Recovery

if TYPE_CHECKING:
    from metrichmsr.bodies.protocol import BodyModel


def read_recovery(
    folder: str | Path,
    *,
    image: str | Path | None = None,
    body_model_dir: str | Path | None = None,
    surroundings: bool = True,
) -> Recovery:
    """Read a result folder.

    Masks of people are not in it and come back as None. Distortion that was removed from the photo is removed again.

    Args:
        folder: with ``result.json``, and ``depth.npz`` where the result has a scene.
        image: the picture, where it is no longer where it was (seen from the result folder, or by the name it was
            given), nor in the result folder; as it came, with its distortion. For a video, the video.
        body_model_dir: folder with the user's files, for results with bodies of the SMPL family.
        surroundings: whether picture and depth have to be there. If not, the picture is not read and black, and depth
            that was not saved is NaN: people, camera and world are all that is wanted.

    Raises:
        InputError: naming the file that is missing or does not fit.
        ModelFileError: the body model's file is missing.
    """
    folder = Path(folder)
    document = read_result(folder / "result.json")
    places = photo_places(document, folder, None if image is None else Path(image))
    path = next((place for place in places if place.is_file()), None)
    if surroundings:
        _require_depth(document, folder)
        pixels = _picture(document, path, places[0])
    else:
        pixels = np.zeros((document["image"]["height"], document["image"]["width"], 3), np.uint8)
    return Recovery(
        image_path=path or Path(document["image"]["path"]),
        image=pixels,
        camera=camera_of(document),
        people=read_people(document["people"], body_model_dir=body_model_dir, where=folder / "result.json"),
        scene=scene_of(folder, document),
        warnings=tuple(document["warnings"]),
        timings_ms={stage: number(ms) for stage, ms in document["timings_ms"].items()},
        versions=document["versions"],
        settings=document.get("settings") or {},
        removed_distortion=distortion_of(document),
    )


def read_people(
    entries: Collection[PersonEntry], *, body_model_dir: str | Path | None = None, where: Path
) -> tuple[Person, ...]:
    """The people of ``result.json``, their bodies posed anew.

    Raises:
        InputError: ``where`` (the file) has bones or shapes that the body model has not.
        ModelFileError: the body model's file is missing.
    """
    from metrichmsr.bodies import load_body_model

    models: dict[str, BodyModel] = {}
    people = []
    for entry in entries:
        name = entry["body_model"]
        if name not in models:
            models[name] = load_body_model(name, body_model_dir=body_model_dir)
        people.append(_person(entry, models[name], where))
    return tuple(people)


def body_parameters(
    entry: PersonEntry, body: BodyModel, where: Path
) -> tuple[Float[np.ndarray, "J 3"], Float[np.ndarray, "S"], Float[np.ndarray, "3"]]:
    """Rotation vectors (radians), shape and pelvis joint (camera frame, metres) of an entry, in the model's order.

    Raises:
        InputError: ``where`` (the file) has bones or shapes that the body model has not.
    """
    if tuple(entry["pose"]) != body.bone_names or not set(entry["shape"]) <= set(body.shape_names):
        raise InputError(f"{where}: person {entry['id']} has other bones or shapes than the body model {body.name}")
    rotvecs = np.array([numbers(row) for row in entry["pose"].values()])
    shape = np.array([number(entry["shape"].get(name, 0.0)) for name in body.shape_names])
    return rotvecs, shape, numbers(entry["translation_m"])


def _person(entry: PersonEntry, body: BodyModel, where: Path) -> Person:
    import roma
    import torch

    from metrichmsr.bodies.rig import rig_of

    rotvecs, shape, place = body_parameters(entry, body, where)
    with torch.no_grad():
        like = body.default_shape()
        pose = roma.rotvec_to_rotmat(torch.from_numpy(rotvecs)).to(like)[None]
        blend = torch.from_numpy(shape).to(like)[None]
        # Posed at the origin: float32 keeps micrometres there however far the person stands.
        posed = body(pose, blend)
        rest_pelvis = body.rest(blend).joints_m[0, 0].numpy().astype(np.float64)
    return person_of(
        entry,
        posed.vertices_m[0].numpy().astype(np.float64) + place,
        body.faces.numpy(),
        joints_m=posed.joints_m[0].numpy().astype(np.float64) + place,
        shape=dict(zip(body.shape_names, shape.tolist(), strict=True)),
        rig=rig_of(body),
        rest_pelvis_m=rest_pelvis,
    )


def _require_depth(document: ResultDocument, folder: Path) -> None:
    scene = document["scene"]
    if scene is not None and depth_file(document, folder) is None:
        where = folder if scene["depth"] is None else folder / scene["depth"]
        raise InputError(
            f"{where}: its depth was not saved, so its surroundings cannot be converted: recover with --save depth"
        )


def _picture(document: ResultDocument, path: Path | None, looked: Path) -> UInt8[np.ndarray, "H W 3"]:
    if path is None:
        raise InputError(
            f"{looked}: the picture of this result is not there: name it with --image (in Python image=…, or "
            "surroundings=False to do without it)"
        )
    entry = document["image"]
    frame = entry.get("frame")
    if frame is None:
        from metrichmsr.images import read_image

        # What was recovered from was not refused for its size.
        pixels = read_image(path, max_pixels=max(1, entry["width"] * entry["height"])).rgb
    else:
        from metrichmsr.images.video import iter_frames

        pixels = next((shown.rgb for shown in iter_frames(path) if shown.index == frame), None)
        if pixels is None:
            raise InputError(f"{path}: has no frame {frame}")
    if pixels.shape[:2] != (entry["height"], entry["width"]):
        height, width = pixels.shape[:2]
        raise InputError(f"{path}: is {width}×{height}, the result's picture {entry['width']}×{entry['height']}")
    return picture_of(document, pixels)
