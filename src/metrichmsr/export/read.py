"""A result folder back as a :class:`Recovery`: what other formats can be made of without recovering again.

Bodies are posed anew from ``result.json``, which holds pose, shape and place to a millionth: vertices come back within
a few micrometres. Depth comes from ``depth.npz``, the picture from where it was.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import UInt8

from metrichmsr.errors import InputError
from metrichmsr.export.result_json import read_result
from metrichmsr.export.schema import PersonEntry, ResultDocument, SceneEntry
from metrichmsr.structures import COCO17, AnchorResiduals, Camera, Person, Recovery, Scene

if TYPE_CHECKING:
    from metrichmsr.bodies.protocol import BodyModel


def read_recovery(
    folder: str | Path, *, image: str | Path | None = None, body_model_dir: str | Path | None = None
) -> Recovery:
    """Read a result folder.

    Masks of people are not in it and come back as None.

    Args:
        folder: with ``result.json``, and ``depth.npz`` where the result has a scene.
        image: the picture, where it is no longer at the path that the result names (relative ones count from the
            working folder, then from the result folder). For a video, the video.
        body_model_dir: folder with the user's files, for results with bodies of the SMPL family.

    Raises:
        InputError: naming the file that is missing or does not fit.
        ModelFileError: the body model's file is missing.
    """
    folder = Path(folder)
    document = read_result(folder / "result.json")
    entry = document["camera"]
    size = document["image"]
    distortion = entry.get("distortion")
    k1, k2, p1, p2, k3 = distortion or [0.0] * 5
    camera = Camera(
        K=np.array(entry["K"]),
        width=size["width"],
        height=size["height"],
        source=entry["source"],
        focal_std_px=entry["focal_std_px"],
        distortion=(k1, k2, p1, p2, k3) if distortion else None,
    )
    scene = document["scene"]
    return Recovery(
        image_path=Path(size["path"]),
        image=_picture(document, folder, None if image is None else Path(image)),
        camera=camera,
        people=read_people(document["people"], body_model_dir=body_model_dir, where=folder / "result.json"),
        scene=None if scene is None else _scene(scene, folder, (camera.height, camera.width)),
        warnings=tuple(document["warnings"]),
        timings_ms={stage: _float(ms) for stage, ms in document["timings_ms"].items()},
        versions=document["versions"],
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


def _person(entry: PersonEntry, body: BodyModel, where: Path) -> Person:
    import roma
    import torch

    from metrichmsr.bodies.rig import rig_of

    if tuple(entry["pose"]) != body.bone_names or not set(entry["shape"]) <= set(body.shape_names):
        raise InputError(f"{where}: person {entry['id']} has other bones or shapes than the body model {body.name}")
    rotvecs = np.array([[_float(value) for value in row] for row in entry["pose"].values()])
    shape = np.array([_float(entry["shape"].get(name, 0.0)) for name in body.shape_names])
    place = _vector(entry["translation_m"])
    with torch.no_grad():
        like = body.default_shape()
        pose = roma.rotvec_to_rotmat(torch.from_numpy(rotvecs)).to(like)[None]
        blend = torch.from_numpy(shape).to(like)[None]
        # Posed at the origin: float32 keeps micrometres there however far the person stands.
        posed = body(pose, blend)
        rest_pelvis = body.rest(blend).joints_m[0, 0].numpy().astype(np.float64)
    return Person(
        id=entry["id"],
        score=_float(entry["score"]),
        box_xyxy=_vector(entry["box_xyxy"]),
        body_model=body.name,
        translation_m=place,
        pose=dict(zip(body.bone_names, rotvecs, strict=True)),
        shape=dict(zip(body.shape_names, shape.tolist(), strict=True)),
        height_m=_float(entry["height_m"]),
        height_std_m=_float(entry["height_std_m"]),
        distance_std_m=_float(entry["distance_std_m"]),
        keypoints_2d_px=np.stack([_vector(entry["keypoints_2d_px"][name]) for name in COCO17]),
        keypoints_3d_m=np.stack([_vector(entry["keypoints_3d_m"][name]) for name in COCO17]),
        vertices_m=posed.vertices_m[0].numpy().astype(np.float64) + place,
        faces=body.faces.numpy(),
        joints_m=posed.joints_m[0].numpy().astype(np.float64) + place,
        reprojection_px=_float(entry.get("reprojection_px")),
        rig=rig_of(body),
        rest_pelvis_m=rest_pelvis,
    )


def _picture(document: ResultDocument, folder: Path, given: Path | None) -> UInt8[np.ndarray, "H W 3"]:
    entry = document["image"]
    named = Path(entry["path"])
    places = [named, folder / named.name] if given is None else [given]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        raise InputError(f"{places[0]}: the picture of this result is not there: name it with --image")
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
    return pixels


def _scene(entry: SceneEntry, folder: Path, shape: tuple[int, int]) -> Scene:
    if entry["depth"] is None:
        raise InputError(
            f"{folder}: its depth was not saved, so its surroundings cannot be converted: recover with --save depth"
        )
    path = folder / entry["depth"]
    try:
        # Opened here: of a damaged file, NumPy would leave it open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as maps:
            arrays = {name: maps[name] for name in ("depth_m", "initial_depth_m", "anchor_m", "confidence")}
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, EOFError) as error:
        raise InputError(f"{path}: not the depth maps of a result: {error}") from error
    for name, values in arrays.items():
        if values.shape != shape:
            raise InputError(f"{path}: {name} is {values.shape}, the picture {shape} (height, width)")
    plane, world = entry["ground_plane"], entry.get("world_from_camera")
    return Scene(
        depth_m=arrays["depth_m"],
        source=entry["source"],
        refined=entry["refined"],
        initial_depth_m=arrays["initial_depth_m"],
        anchor_m=arrays["anchor_m"],
        confidence=arrays["confidence"],
        refinement=entry.get("refinement", "none"),
        residuals=_residuals(entry.get("residuals")),
        ground_normal=None if plane is None else _vector(plane["normal"]),
        ground_offset_m=None if plane is None else plane["offset_m"],
        ground_std_m=None if plane is None else plane.get("offset_std_m"),
        world_from_camera=None if world is None else np.asarray(world, np.float64),
        up_source=entry.get("up_source"),
        foot_clearance_m={int(id_): _float(value) for id_, value in entry.get("foot_clearance_m", {}).items()},
    )


def _residuals(entry: Mapping[str, Any] | None) -> AnchorResiduals | None:
    if entry is None:
        return None
    numbers = {name: _float(entry[name]) for name in ("initial", "closed_form", "refined", "scale", "shift_m")}
    by_person = {int(id_): _float(value) for id_, value in entry["by_person"].items()}
    return AnchorResiduals(**numbers, pixels=entry["pixels"], by_person=by_person)


def _float(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _vector(values: Collection[float | None]) -> np.ndarray:
    return np.array([_float(value) for value in values])
