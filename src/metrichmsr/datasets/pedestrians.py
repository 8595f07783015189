"""Street photos with the 3D boxes of pedestrians: KITTI and nuScenes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from jaxtyping import Float

from metrichmsr.datasets.photo import ZERO_BASED, PhotoFile, entry, given_camera, numbers, read_json
from metrichmsr.errors import InputError

Anchor = Literal["foot", "centre"]
"""What of the 3D box a position is: the middle of its bottom face, or of the whole box."""


@dataclass(frozen=True)
class Pedestrian:
    """One labelled person on the street."""

    box_xyxy: Float[np.ndarray, "4"]
    """Box in the image around the projected 3D box, continuous pixels: looser than the visible person."""
    position_m: Float[np.ndarray, "3"]
    """The anchor point of the 3D box in the frame of the camera that took the photo, metres."""
    height_m: float
    """Height of the 3D box: of the walking person with shoes and hat."""
    kind: str
    """``Pedestrian``, or ``Cyclist`` (whose box spans the bicycle: no distance of a body follows from it)."""
    occlusion: int
    """KITTI's 0 visible, 1 partly, 2 largely occluded; -1 where the set does not say."""


@dataclass(frozen=True)
class PedestrianFrame:
    """A street photo and everybody labelled in it."""

    photo: PhotoFile
    anchor: Anchor
    people: tuple[Pedestrian, ...]
    lidar_path: Path | None = None
    """Sparse LiDAR depth, where there is one."""

    def read_lidar(self) -> Float[np.ndarray, "H W"] | None:
        """Sparse z-depth in metres, float32, NaN where no point fell; None where the frame has none."""
        if self.lidar_path is None:
            return None
        stored = cv2.imread(str(self.lidar_path), cv2.IMREAD_UNCHANGED)
        if stored is None or stored.dtype != np.uint16 or stored.ndim != 2:
            raise InputError(f"{self.lidar_path}: not a 16-bit depth image")
        depth = stored.astype(np.float32) / np.float32(256.0)
        depth[stored == 0] = np.nan
        return depth


def read_kitti(folder: Path) -> list[PedestrianFrame]:
    """``kitti_pedestrians``: foot points at 5–21 m.

    KITTI states positions in the rectified frame of camera 0 and projects with ``P2 = K [I | t]``; the photo is camera
    2's, so positions are moved by t (6 cm to the right) into the frame that K belongs to.
    """
    path = folder / "kitti_pedestrians" / "meta.json"
    frames = []
    for record in entry(read_json(path), "frames", path):
        image = path.parent / entry(record, "image", path)
        P2 = numbers(entry(record, "P2", path), (12,), path, "P2").reshape(3, 4)
        camera2_from_camera0 = np.linalg.solve(P2[:, :3], P2[:, 3])
        people = tuple(
            Pedestrian(
                box_xyxy=numbers(entry(person, "bbox_xyxy", path), (4,), path, "bbox_xyxy") + ZERO_BASED,
                position_m=numbers(entry(person, "foot_xyz_cam_m", path), (3,), path, "foot_xyz_cam_m")
                + camera2_from_camera0,
                height_m=float(entry(person, "height_m", path)),
                kind=str(person.get("type", "Pedestrian")),
                occlusion=int(person.get("occluded", -1)),
            )
            for person in entry(record, "persons", path)
        )
        camera = given_camera(P2[:, :3], image, pixel_offset=ZERO_BASED)
        frames.append(PedestrianFrame(PhotoFile(image, camera), "foot", people, _lidar(record, path)))
    return frames


def read_nuscenes(folder: Path) -> list[PedestrianFrame]:
    """``nuscenes_pedestrians``: box centres, 10–70 m; most people are under 60 px tall and some wholly hidden."""
    path = folder / "nuscenes_pedestrians" / "meta.json"
    frames = []
    for record in entry(read_json(path), "frames", path):
        image = path.parent / entry(record, "image", path)
        people = tuple(
            Pedestrian(
                box_xyxy=numbers(entry(person, "bbox_xyxy", path), (4,), path, "bbox_xyxy") + ZERO_BASED,
                position_m=numbers(entry(person, "centre_xyz_cam_m", path), (3,), path, "centre_xyz_cam_m"),
                height_m=float(entry(person, "height_m", path)),
                kind="Pedestrian",
                occlusion=-1,
            )
            for person in entry(record, "persons", path)
        )
        camera = given_camera(entry(record, "K", path), image, pixel_offset=ZERO_BASED)
        frames.append(PedestrianFrame(PhotoFile(image, camera), "centre", people, _lidar(record, path)))
    return frames


def _lidar(record: Any, path: Path) -> Path | None:
    # KITTI's entry has its unit behind the file name.
    name = str(record.get("lidar_depth", "")).split(" ")[0]
    return path.parent / name if name else None
