"""A result made larger: its first person copied over the ground, its depth map fine enough for a number of points."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
from pathlib import Path

import cv2
import numpy as np

from metrichmsr.export.ply import write_person_ply
from metrichmsr.scene.surface import scene_points
from metrichmsr.structures import Person
from metrichmsr.viewer.depth_maps import open_depth_maps
from metrichmsr.viewer.result_folder import ResultFolder

_ROW, _ASIDE_M, _BEHIND_M = 10, 1.2, 1.6


def crowd_of(source: ResultFolder, people: int, points: int, folder: Path) -> Path:
    """A result with ``people`` copies of the first person, ten in a row, in rows behind one another.

    Args:
        source: a result with a person and a mesh of them.
        people: how many.
        points: how many points of the scene there are to be shown, as near as the map's shape allows; 0 leaves the
            maps as they are.
        folder: where the folder of the new result goes.
    """
    target = folder / f"crowd_{people}"
    target.mkdir()
    document = json.loads((source.folder / "result.json").read_text())
    entry, person = document["people"][0], source.people()[0]
    scene = document["scene"]
    world = None if scene is None else scene["world_from_camera"]
    camera_from_world = np.diag([1.0, -1.0, -1.0]) if world is None else np.array(world)[:3, :3].T
    document["people"] = []
    for i in range(people):
        row, place = divmod(i, _ROW)
        moved = _moved(person, i, camera_from_world @ (_ASIDE_M * (place - _ROW // 2), 0.0, -_BEHIND_M * row))
        mesh = f"person_{i}.ply"
        write_person_ply(moved, target / mesh)
        document["people"].append(
            {
                **entry,
                "id": i,
                "mesh": mesh,
                "translation_m": moved.translation_m.tolist(),
                "keypoints_3d_m": {
                    name: place
                    for name, place in zip(entry["keypoints_3d_m"], moved.keypoints_3d_m.tolist(), strict=True)
                },
                "joints_3d_m": {
                    name: place for name, place in zip(entry["joints_3d_m"], moved.joints_m.tolist(), strict=True)
                },
                "distance_m": float(np.linalg.norm(moved.translation_m)),
            }
        )
    for name in ("depth.npz", "scene.glb"):  # scene.glb is where the viewer finds the photo
        if (source.folder / name).is_file():
            shutil.copy(source.folder / name, target / name)
    if points:
        _resize(source, document, points, target)
    (target / "result.json").write_text(json.dumps(document))
    return target


def _moved(person: Person, id: int, by_m: np.ndarray) -> Person:
    return dataclasses.replace(
        person,
        id=id,
        vertices_m=person.vertices_m + by_m,
        translation_m=person.translation_m + by_m,
        keypoints_3d_m=person.keypoints_3d_m + by_m,
        joints_m=person.joints_m + by_m,
    )


def _resize(source: ResultFolder, document: dict, points: int, target: Path) -> None:
    """Enlarge maps and camera, each pixel to a block, so that of all pixels about ``points`` can be shown."""
    camera = source.camera
    maps = open_depth_maps(source, camera.width * camera.height)
    if maps is None:
        raise SystemExit(f"{source.folder}: holds no depth to show points of")
    blank = np.zeros((camera.height, camera.width, 3), np.uint8)
    every = scene_points(
        blank, maps.depth_m, camera, confidence=maps.confidence, exclude=maps.left_out, max_points=blank.size
    )
    scale = math.sqrt(points / len(every.points_m))
    width, height = round(scale * camera.width), round(scale * camera.height)
    with np.load(target / "depth.npz", allow_pickle=False) as stored:
        resized = {
            name: cv2.resize(values, (width, height), interpolation=cv2.INTER_NEAREST)
            for name, values in stored.items()
        }
    np.savez(target / "depth.npz", **resized)
    document["image"].update(width=width, height=height)
    document["camera"]["K"] = (np.diag([width / camera.width, height / camera.height, 1.0]) @ camera.K).tolist()
