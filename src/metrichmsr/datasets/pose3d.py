"""People with 3D joints in metres: frames of MPI-INF-3DHP."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from metrichmsr.datasets.joint_orders import MPI3DHP17, canonical_name, select_joints
from metrichmsr.datasets.photo import PhotoFile, entry, given_camera, numbers, read_json
from metrichmsr.errors import InputError
from metrichmsr.structures import COCO17


@dataclass(frozen=True)
class Pose3dFrame:
    """A photo of one person with joints in the camera frame."""

    photo: PhotoFile
    joints_m: Float[np.ndarray, "17 3"]
    """The set's own joints (order :data:`~metrichmsr.datasets.joint_orders.MPI3DHP17`), camera frame, metres."""
    joints_px: Float[np.ndarray, "17 2"]
    """The same joints as labelled in the image, pixels; up to 2 px from the projected ones (lens distortion)."""
    split: str
    """Which of the set's camera groups took it."""

    @property
    def coco_m(self) -> Float[np.ndarray, "17 3"]:
        """COCO-17 in the camera frame, metres; NaN for the five face points, which the set lacks."""
        return select_joints(self.joints_m, MPI3DHP17, COCO17)

    @property
    def box_xyxy(self) -> Float[np.ndarray, "4"]:
        """Box around the labelled joints, clipped to the picture, pixels."""
        assert self.photo.camera is not None
        limit = np.array([self.photo.camera.width, self.photo.camera.height], dtype=np.float64)
        low, high = self.joints_px.min(axis=0), self.joints_px.max(axis=0)
        return np.concatenate([np.clip(low, 0, limit), np.clip(high, 0, limit)])


def read_mpi3dhp(folder: Path) -> list[Pose3dFrame]:
    """``mpi3dhp_mini``: 4 frames, one person each, 17 joints from a multi-camera system, K per camera.

    Pixels are taken as continuous as they come: the set does not say, and its reprojection is 1–2 px anyway.
    """
    path = folder / "mpi3dhp_mini" / "meta.json"
    meta = read_json(path)
    names = tuple(canonical_name(name) for name in entry(meta, "joint_order", path))
    if names != MPI3DHP17:
        raise InputError(f"{path}: joint order {names} is not that of MPI-INF-3DHP")
    frames = []
    for record in entry(meta, "frames", path):
        image = path.parent / entry(record, "image", path)
        frames.append(
            Pose3dFrame(
                photo=PhotoFile(image, given_camera(entry(record, "K", path), image, pixel_offset=0.0)),
                joints_m=numbers(entry(record, "joints3d_cam_m", path), (17, 3), path, "joints3d_cam_m"),
                joints_px=numbers(entry(record, "joints2d_px", path), (17, 2), path, "joints2d_px"),
                split=str(record.get("split", "")),
            )
        )
    return frames
