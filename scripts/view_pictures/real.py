"""Real pictures with known K, for measuring only: none of them, nor their sets, is trained on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from metrichmsr.calibration.exif import exif_camera
from metrichmsr.datasets import RGBD_SETS, list_photos, read_kitti, read_mpi3dhp, read_nuscenes, read_rgbd
from metrichmsr.images import read_image
from view_pictures.pinholes import Pinhole, read_frames


def real_pictures(folder: Path | None, frames: Path | None) -> Iterator[Pinhole]:
    """The sets of real photos with K, those photos whose EXIF data tell it, and the RGB-D frames not trained on."""
    if folder is not None:
        for name in RGBD_SETS:
            yield from _of(name, read_rgbd(folder, name))
        yield from _of("mpi3dhp_mini", read_mpi3dhp(folder))
        yield from _of("kitti_pedestrians", read_kitti(folder))
        yield from _of("nuscenes_pedestrians", read_nuscenes(folder))
        for path in list_photos(folder):
            photo = read_image(path)
            camera, _ = exif_camera(photo)
            if camera is not None:
                yield Pinhole(photo.rgb, camera.K, None, "photos with EXIF")
    if frames is not None:
        yield from read_frames(frames, trained_on=False)


def _of(name: str, labelled: list) -> Iterator[Pinhole]:
    for frame in labelled:
        camera = frame.photo.camera
        if camera is not None:
            yield Pinhole(frame.photo.read(), camera.K, None, name)
