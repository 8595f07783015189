"""COLMAP's text model: read by COLMAP itself where it is installed, and by our own reader of intrinsics."""

from __future__ import annotations

import numpy as np
import pytest

from metrichmsr.calibration.colmap import read_colmap
from metrichmsr.export.colmap import CAMERAS, IMAGES, POINTS, write_colmap


def test_our_own_reader_finds_the_camera(world, tmp_path):
    recovery = world()
    write_colmap(recovery, tmp_path)
    entry, by_name = read_colmap(tmp_path / CAMERAS)
    assert entry is not None
    assert set(by_name) == {recovery.image_path.name}
    np.testing.assert_array_equal(entry["K"], recovery.camera.K)
    assert (entry["width"], entry["height"]) == (recovery.camera.width, recovery.camera.height)


def test_points_are_the_depth_map(world, tmp_path):
    recovery = world()
    write_colmap(recovery, tmp_path)
    rows = np.loadtxt(tmp_path / POINTS)
    points, colors = rows[:, 1:4], rows[:, 4:7].astype(int)
    projected = points @ recovery.camera.K.T
    u, v = np.floor(projected[:, :2] / projected[:, 2:]).astype(int).T
    np.testing.assert_allclose(points[:, 2], recovery.scene.depth_m[v, u], atol=1e-5)
    np.testing.assert_array_equal(colors, recovery.image[v, u])
    inside = recovery.scene.anchor_m[v, u]
    assert np.isfinite(inside).sum() > 50, "people are among them"


def test_colmap_reads_it(world, tmp_path):
    pycolmap = pytest.importorskip("pycolmap")
    recovery = world()
    write_colmap(recovery, tmp_path)
    model = pycolmap.Reconstruction(tmp_path)
    (image,) = model.images.values()
    assert image.name == recovery.image_path.name
    np.testing.assert_array_equal(image.cam_from_world().matrix(), np.eye(4)[:3])
    np.testing.assert_array_equal(model.cameras[image.camera_id].calibration_matrix(), recovery.camera.K)
    assert len(model.points3D) == len(image.points2D) > 500
    for point in list(model.points3D.values())[::100]:
        (seen,) = point.track.elements
        np.testing.assert_allclose(image.project_point(point.xyz), image.points2D[seen.point2D_idx].xy, atol=2e-3)


def test_without_depth_there_is_a_camera_only(make_recovery, tmp_path):
    write_colmap(make_recovery(), tmp_path)
    assert read_colmap(tmp_path / CAMERAS)[0] is not None
    assert all(line.startswith("#") for line in (tmp_path / POINTS).read_text().splitlines())
    assert len((tmp_path / IMAGES).read_text().splitlines()) == 3
