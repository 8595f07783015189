"""A folder that is not what it should be: one line that names file and cause."""

import json

import cv2
import numpy as np
import pytest

from metrichmsr import datasets
from metrichmsr.errors import InputError, UsageError


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_no_folder_named(monkeypatch):
    monkeypatch.delenv(datasets.DATA_VARIABLE, raising=False)
    with pytest.raises(UsageError, match="--data DIR or set METRICHMSR_REAL_DATA"):
        datasets.real_data_folder()


def test_option_goes_before_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv(datasets.DATA_VARIABLE, str(tmp_path / "absent"))
    assert datasets.real_data_folder(tmp_path) == tmp_path
    with pytest.raises(InputError, match="absent: not a folder"):
        datasets.real_data_folder()


READERS = [
    datasets.read_lspet,
    datasets.read_mmpose_mini,
    datasets.read_mpi3dhp,
    datasets.read_kitti,
    datasets.read_nuscenes,
    datasets.read_sports2d,
    datasets.list_photos,
    lambda folder: datasets.read_rgbd(folder, "rgbd_uc3m_height"),
]


@pytest.mark.parametrize("read", READERS)
def test_a_missing_set_is_named(read, tmp_path):
    with pytest.raises(InputError, match=str(tmp_path)):
        read(tmp_path)


def test_an_unknown_rgbd_set(tmp_path):
    with pytest.raises(InputError, match="rgbd_other: not a known set"):
        datasets.read_rgbd(tmp_path, "rgbd_other")


LSP = ["rankle", "rknee", "rhip", "lhip", "lknee", "lankle", "rwrist", "relbow", "rshoulder", "lshoulder", "lelbow",
       "lwrist", "neck", "head_top"]  # fmt: skip


@pytest.mark.parametrize(
    ("meta", "message"),
    [
        ("{", "not JSON"),
        ({}, "no 'joint_order'"),
        ([], "no 'joint_order'"),
        ({"joint_order": LSP[::-1], "frames": []}, "is not that of LSP"),
        ({"joint_order": LSP, "frames": [{"image": "a.jpg"}]}, "no 'joints_xyv'"),
        ({"joint_order": LSP, "frames": [{"image": "a.jpg", "joints_xyv": [[1, 2, 1]]}]}, r"shape \(1, 3\)"),
        ({"joint_order": LSP, "frames": [{"image": "a.jpg", "joints_xyv": [["x"] * 3] * 14}]}, "is not numeric"),
    ],
)
def test_a_damaged_meta_file(meta, message, tmp_path):
    path = write(tmp_path / "kp2d_lspet" / "meta.json", meta)
    with pytest.raises(InputError, match=message) as caught:
        datasets.read_lspet(tmp_path)
    assert str(path) in str(caught.value)


def test_an_unreadable_photo_is_named(tmp_path):
    path = write(tmp_path / "photo.jpg", "no image")
    with pytest.raises(InputError, match=r"photo\.jpg: cannot be read as an image"):
        datasets.PhotoFile(path).read()


def test_depth_of_eight_bits_is_refused(tmp_path):
    folder = tmp_path / "rgbd_deepdeform"
    folder.mkdir()
    for name in ("rgb.png", "depth.png"):
        cv2.imwrite(str(folder / name), np.zeros((4, 6), dtype=np.uint8))
    K = [[5, 0, 3], [0, 5, 2], [0, 0, 1]]
    write(folder / "meta.json", {"K": K, "frames": [{"rgb": "rgb.png", "depth": "depth.png"}]})
    (frame,) = datasets.read_rgbd(tmp_path, "rgbd_deepdeform")
    with pytest.raises(InputError, match=r"depth\.png: not a 16-bit depth image"):
        frame.read_depth()


def test_depth_units_and_missing_readings(tmp_path):
    folder = tmp_path / "rgbd_tum_fr3_walking"
    folder.mkdir()
    cv2.imwrite(str(folder / "rgb.png"), np.zeros((2, 3, 3), dtype=np.uint8))
    cv2.imwrite(str(folder / "depth.png"), np.array([[0, 5000, 10000], [2500, 0, 1]], dtype=np.uint16))
    K = [[5, 0, 1], [0, 5, 0.5], [0, 0, 1]]
    write(folder / "meta.json", {"K": K, "frames": [{"rgb": "rgb.png", "depth": "depth.png"}]})
    (frame,) = datasets.read_rgbd(tmp_path, "rgbd_tum_fr3_walking")
    np.testing.assert_allclose(frame.read_depth(), [[np.nan, 1, 2], [0.5, np.nan, 0.0002]], rtol=1e-6)
    # 0-based calibration: the middle of three pixels is at 1, in continuous pixels at 1.5.
    np.testing.assert_array_equal(frame.photo.camera.K[:2, 2], [1.5, 1.0])


def test_a_video_that_is_none(tmp_path):
    path = write(tmp_path / "video_sports2d" / "Demo" / "demo.mp4", "no video")
    with pytest.raises(InputError, match="cannot be read as a video") as caught:
        list(datasets.read_sports2d(tmp_path).read(every=1))
    assert str(path) in str(caught.value)


def test_boxes_outside_the_track_are_refused(tmp_path):
    video = datasets.HeightVideo(tmp_path / "v.mp4", 1.7, ((10, (0, 0, 10, 20)), (20, (10, 0, 20, 40))))
    np.testing.assert_allclose(video.box_at(15), [5, 0, 15, 30])
    with pytest.raises(ValueError, match="outside the track 10-20"):
        video.box_at(9)
