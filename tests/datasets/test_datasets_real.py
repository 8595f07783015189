"""The readers on the sets themselves: numbers must agree with each other, across files, under our conventions."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from metrichmsr import datasets
from metrichmsr.datasets.joint_orders import present
from metrichmsr.structures import COCO17


@pytest.fixture(scope="module")
def real(shared_dir) -> Path:
    folder = shared_dir / "data" / "real"
    if not folder.is_dir():
        pytest.skip("no real sets beside the repository")
    return folder


def projected(points: np.ndarray, K: np.ndarray) -> np.ndarray:
    homogeneous = points @ K.T
    return homogeneous[..., :2] / homogeneous[..., 2:]


# ── 2D keypoints ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_lspet_has_one_person_a_picture_with_joints_inside(real):
    frames = datasets.read_lspet(real)
    assert len(frames) == 150
    inside = total = 0
    for frame in frames:
        (person,) = frame.people
        joints = person.keypoints_px
        assert not present(joints)[:5].any(), "LSP has no face points"
        assert frame.photo.camera is None
        height, width = frame.photo.read().shape[:2]
        seen = joints[present(joints)]
        total += len(seen)
        inside += ((seen > -5) & (seen < (width + 5, height + 5))).all(axis=1).sum()
    assert total == 1720, "labelled limb joints"
    assert inside / total > 0.99


def test_lspet_sides_are_not_mixed_up_by_the_mapping(real):
    """Mapping left to right would be seen on the head: the right shoulder is nearer to the right elbow."""
    nearer = []
    for frame in datasets.read_lspet(real):
        k = frame.people[0].keypoints_px
        pairs = [("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "ankle")]
        for upper, lower in pairs:
            own = np.linalg.norm(k[COCO17.index(f"left_{upper}")] - k[COCO17.index(f"left_{lower}")])
            other = np.linalg.norm(k[COCO17.index(f"left_{upper}")] - k[COCO17.index(f"right_{lower}")])
            if np.isfinite(own + other):
                nearer.append(own < other)
    assert np.mean(nearer) > 0.75


def test_mmpose_mini_has_all_pictures_and_keypoints_in_their_boxes(real):
    frames = datasets.read_mmpose_mini(real)
    assert Counter(frame.source for frame in frames) == {
        "coco": 4, "ochuman": 3, "crowdpose": 2, "exlpose": 2, "aic": 3, "jhmdb": 3, "posetrack18": 3, "humanart": 1,
        "mpii": 5,
    }  # fmt: skip
    inside = []
    for frame in frames:
        assert frame.photo.path.is_file()
        for person in frame.people:
            seen = person.keypoints_px[present(person.keypoints_px)]
            assert len(seen)
            assert person.area_px > 0
            size = (person.box_xyxy[2:] - person.box_xyxy[:2]).max()
            inside += list(
                ((seen > person.box_xyxy[:2] - 0.1 * size) & (seen < person.box_xyxy[2:] + 0.1 * size)).all(1)
            )
    assert np.mean(inside) > 0.97


# ── 3D joints ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_mpi3dhp_joints_project_onto_their_labels(real):
    frames = datasets.read_mpi3dhp(real)
    assert len(frames) == 4
    for frame in frames:
        assert frame.photo.camera.source == "given"
        np.testing.assert_allclose(projected(frame.joints_m, frame.photo.camera.K), frame.joints_px, atol=2.0)


def test_mpi3dhp_bones_have_human_lengths_on_both_sides(real):
    bones = [("shoulder", "elbow", 0.2, 0.4), ("elbow", "wrist", 0.18, 0.35), ("hip", "knee", 0.3, 0.6),
             ("knee", "ankle", 0.3, 0.5)]  # fmt: skip
    for frame in datasets.read_mpi3dhp(real):
        for upper, lower, least, most in bones:
            lengths = [
                np.linalg.norm(
                    frame.coco_m[COCO17.index(f"{side}_{upper}")] - frame.coco_m[COCO17.index(f"{side}_{lower}")]
                )
                for side in ("left", "right")
            ]
            assert all(least < length < most for length in lengths)
            # Hips are estimated, not tracked: the thighs of one frame differ by 16 cm.
            assert upper == "hip" or lengths[0] == pytest.approx(lengths[1], abs=0.001)


# ── depth ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", datasets.RGBD_SETS)
def test_depth_and_photo_have_one_size_and_a_plausible_range(real, name):
    for frame in datasets.read_rgbd(real, name)[:4]:
        depth = frame.read_depth()
        camera = frame.photo.camera
        assert depth.shape == frame.photo.read().shape[:2] == (camera.height, camera.width)
        assert depth.dtype == np.float32
        assert np.isnan(depth).any()
        assert 0.3 < np.nanmin(depth) < np.nanmedian(depth) < 6


def test_uc3m_masks_have_the_stated_depth_and_the_height_its_pixels_tell(real):
    frames = datasets.read_rgbd(real, "rgbd_uc3m_height")
    people = [(frame, person) for frame in frames for person in frame.people]
    assert len(people) == 4
    stated = [2.291, 2.249, 2.041, 2.054]
    for (frame, person), depth_m in zip(people, stated, strict=True):
        mask, depth = frame.read_mask(person), frame.read_depth()
        assert np.nanmedian(depth[mask]) == pytest.approx(depth_m, abs=0.002)
        height_m = (person.box_xyxy[3] - person.box_xyxy[1]) * depth_m / frame.photo.camera.K[1, 1]
        # Raised arms reach above the head: only a lower and an upper bound.
        assert 0.98 * person.height_m < height_m < 1.25 * person.height_m
    assert [frame.people_complete for frame in frames] == [True] * 4 + [False, True]


def test_uva_masks_are_of_one_body_at_arms_length(real):
    frames = datasets.read_rgbd(real, "rgbd_uva_turnaround")
    assert len(frames) == 20
    for frame in frames[::6]:
        (person,) = frame.people
        assert 0.7 < np.nanmedian(frame.read_depth()[frame.read_mask(person)]) < 1.0


@pytest.mark.parametrize(
    ("name", "counts"), [("rgbd_pcl_five_people", [5]), ("rgbd_tum_fr3_walking", [2, 2, 1, 1, 1, 1])]
)
def test_boxes_drawn_by_eye_hold_people(real, name, counts):
    frames = datasets.read_rgbd(real, name)
    assert [len(frame.people) for frame in frames] == counts
    for frame in frames:
        assert frame.people_complete
        depth = frame.read_depth()
        for person in frame.people:
            x0, y0, x1, y1 = person.box_xyxy.astype(int)
            # Somebody stands in the box: the near part of its inner third is at the distance of these people.
            assert 0.8 < np.nanquantile(depth[y0:y1, x0 + (x1 - x0) // 3 : x1 - (x1 - x0) // 3], 0.25) < 3


# ── pedestrians ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_kitti_feet_project_to_the_bottom_of_their_boxes(real):
    frames = datasets.read_kitti(real)
    people = [(frame, person) for frame in frames for person in frame.people]
    assert len(people) == 27
    assert Counter(person.kind for _, person in people) == {"Pedestrian": 25, "Cyclist": 2}
    for frame, person in people:
        if person.kind == "Pedestrian":
            u, v = projected(person.position_m, frame.photo.camera.K)
            x0, y0, x1, y1 = person.box_xyxy
            assert x0 < u < x1
            assert 0.94 < (v - y0) / (y1 - y0) < 1


def test_kitti_positions_move_into_the_frame_of_the_photo(real):
    """K · moved + the half pixel of our convention is P2 · stated."""
    import json

    record = json.loads((real / "kitti_pedestrians" / "meta.json").read_text())["frames"][0]
    frame = datasets.read_kitti(real)[0]
    P2 = np.array(record["P2"]).reshape(3, 4)
    for person, stated in zip(frame.people, record["persons"], strict=True):
        pixel = P2 @ [*stated["foot_xyz_cam_m"], 1]
        np.testing.assert_allclose(projected(person.position_m, frame.photo.camera.K), pixel[:2] / pixel[2] + 0.5)


def test_kitti_lidar_sees_the_lone_pedestrian_where_the_label_says(real):
    frame = datasets.read_kitti(real)[3]
    (person,) = frame.people
    x0, y0, x1, y1 = person.box_xyxy.astype(int)
    nearest = np.nanquantile(frame.read_lidar()[y0:y1, x0:x1], 0.1)
    assert nearest == pytest.approx(person.position_m[2], abs=0.6)


def test_nuscenes_centres_project_to_the_middle_of_their_boxes(real):
    frames = datasets.read_nuscenes(real)
    people = [(frame, person) for frame in frames for person in frame.people]
    assert len(people) == 25
    for frame, person in people:
        x0, y0, x1, y1 = person.box_xyxy
        u, v = projected(person.position_m, frame.photo.camera.K)
        assert (u - x0) / (x1 - x0) == pytest.approx(0.5, abs=0.05)
        assert (v - y0) / (y1 - y0) == pytest.approx(0.5, abs=0.05)


# ── video, photos ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_video_yields_the_frames_of_the_track(real):
    video = datasets.read_sports2d(real)
    frames = list(video.read(every=60))
    assert [number for number, _ in frames] == [60, 120, 180]
    for number, image in frames:
        assert image.shape == (994, 1768, 3)
        x0, y0, x1, y1 = video.box_at(number)
        assert 0 <= x0 < x1 <= 1768
        assert 350 < y1 - y0 < 450
    assert not np.array_equal(frames[0][1], frames[1][1])


def test_photos_are_listed(real):
    photos = datasets.list_photos(real)
    assert len(photos) == 40
    assert all(photo.is_file() for photo in photos)
