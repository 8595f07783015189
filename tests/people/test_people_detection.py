from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from metrichmsr.images import read_image
from metrichmsr.people.detection import Detections, box_iou, empty_detections, keypoint_similarity, remove_duplicates
from metrichmsr.people.movenet import HEADS, decode
from metrichmsr.people.movenet_detector import MoveNetDetector, View, _in_image, tile_windows

PHOTO = Path(__file__).parents[2] / "examples" / "photos" / "street.jpg"
rng = np.random.default_rng(0)


def person(x: float, y: float, height: float) -> tuple[list[float], np.ndarray]:
    """A box and 17 keypoints in it."""
    points = np.random.default_rng(3).uniform([0, 0], [0.4 * height, height], (17, 2)) + [x, y]
    return [x, y, x + 0.4 * height, y + height], np.concatenate([points, np.full((17, 1), 0.8)], axis=1)


def detections(*people: tuple[list[float], np.ndarray], scores: list[float]) -> Detections:
    return Detections(np.array([p[0] for p in people]), np.array(scores), np.array([p[1] for p in people]))


def test_iou_of_known_boxes() -> None:
    a = np.array([[0.0, 0, 2, 2], [0, 0, 1, 1]])
    b = np.array([[1.0, 1, 3, 3], [5, 5, 6, 6], [0, 0, 2, 2]])
    np.testing.assert_allclose(box_iou(a, b), [[1 / 7, 0, 1], [0, 0, 1 / 4]])


def test_similarity_of_a_person_with_itself_and_with_nobody() -> None:
    _, points = person(0, 0, 100)
    area = np.array(2000.0)
    assert keypoint_similarity(points, points, area) == pytest.approx(1)
    unseen = points.copy()
    unseen[:, 2] = 0
    assert np.isnan(keypoint_similarity(points, unseen, area))
    moved = points + [30, 0, 0]
    assert keypoint_similarity(points, moved, area) < 0.2


def test_one_person_in_two_tiles_is_one() -> None:
    box, points = person(100, 100, 200)
    cut_box, cut_points = [100, 100, 180, 190], points + [1.5, -1, 0]
    cut_points[points[:, 1] > 190, 2] = 0
    found = remove_duplicates(detections((cut_box, cut_points), (box, points), scores=[0.4, 0.7]))
    assert len(found) == 1
    np.testing.assert_array_equal(found.boxes_xyxy[0], box)


def test_two_people_in_contact_are_two() -> None:
    first, second = person(100, 100, 200), person(150, 104, 200)
    found = remove_duplicates(detections(first, second, scores=[0.5, 0.6]))
    assert len(found) == 2
    assert found.scores[0] == 0.6


def test_duplicates_of_nobody() -> None:
    assert len(remove_duplicates(empty_detections(with_keypoints=True))) == 0


@pytest.mark.parametrize(("width", "height"), [(640, 480), (100, 900), (64, 64), (1, 1)])
@pytest.mark.parametrize("fraction", [0.5, 0.3])
def test_tiles_cover_the_picture(width: int, height: int, fraction: float) -> None:
    seen = np.zeros((height, width), int)
    for x0, y0, x1, y1 in tile_windows(width, height, fraction):
        assert 0 <= x0 < x1 <= width
        assert 0 <= y0 < y1 <= height
        seen[y0:y1, x0:x1] += 1
    assert seen.min() >= 1


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_views_lead_back_to_the_image(quarters: int) -> None:
    """A point marked in the turned, scaled window returns to where it was in the image."""
    window, point = (20, 10, 120, 60), np.array([47.5, 33.5])  # the centre of pixel (47, 33)
    marked = np.zeros((200, 300))
    marked[33, 47] = 1
    patch = np.rot90(marked[10:60, 20:120], quarters)
    row, column = np.argwhere(patch)[0]
    scale = 3.0
    keypoints = np.full((1, 17, 3), 0.5)
    keypoints[..., :2] = scale * np.array([column + 0.5, row + 0.5])
    box = np.concatenate([keypoints[0, 0, :2] - 3, keypoints[0, 0, :2] + 3])[None]
    size = (int(patch.shape[1] * scale), int(patch.shape[0] * scale))
    view = View(window, max(size), quarters)
    found = _in_image(Detections(box, np.ones(1), keypoints), view, size, (200, 300))
    assert found.keypoints is not None
    np.testing.assert_allclose(found.keypoints[0, :, :2], np.tile(point, (17, 1)))
    np.testing.assert_allclose(found.boxes_xyxy[0], [*(point - 1), *(point + 1)])


def test_finds_at_a_tiles_inner_edge_lose_score_and_at_the_pictures_edge_do_not() -> None:
    boxes = np.array([[0.0, 10, 30, 40], [60, 10, 100, 40], [40, 10, 60, 40]])
    found = Detections(boxes, np.ones(3), np.zeros((3, 17, 3)))
    moved = _in_image(found, View((0, 0, 100, 50), 100), (100, 50), (200, 300))
    np.testing.assert_allclose(moved.scores, [1, 0.6, 1])


def maps_with_people(count: int) -> dict[str, torch.Tensor]:
    """Head maps in which people stand in a row, each with all keypoints at its centre."""
    height, width = 16, 8 * count
    maps = {name: torch.zeros(channels, height, width) for name, channels in HEADS.items()}
    maps["center"][:] = -9
    maps["keypoint_heatmap"][:] = -9
    for i in range(count):
        maps["center"][0, 8, 4 + 8 * i] = 2 - 0.05 * i
        maps["keypoint_heatmap"][:, 8, 4 + 8 * i] = 3
    maps["box_scale"][0], maps["box_scale"][1] = 10, 4
    maps["box_offset"][:] = 0.25
    maps["keypoint_offset"][0::2], maps["keypoint_offset"][1::2] = 0.5, 0.75
    return maps


def test_decoding_keeps_more_than_six_people() -> None:
    people = decode(maps_with_people(11))
    assert len(people.scores) == 11
    assert (people.scores.diff() < 0).all()
    np.testing.assert_allclose(people.boxes[0], 4 * np.array([4.25 - 2, 8.25 - 5, 4.25 + 2, 8.25 + 5]))
    np.testing.assert_allclose(people.keypoints[0, :, :2], np.tile([4 * 4.75, 4 * 8.5], (17, 1)))
    assert len(decode(maps_with_people(11), max_people=4).scores) == 4


def test_decoding_assigns_keypoints_to_their_own_box() -> None:
    """A hotter keypoint outside the person's box is not taken."""
    maps = maps_with_people(2)
    maps["keypoint_heatmap"][:, 8, 4] = 1
    people = decode(maps)
    centers = people.keypoints[:, :, 0].mean(1)
    np.testing.assert_allclose(sorted(centers.tolist()), [4 * 4.75, 4 * 12.75])


def test_decoding_nobody() -> None:
    maps = maps_with_people(1)
    maps["center"][:] = -9
    people = decode(maps)
    assert people.boxes.shape == (0, 4)
    assert people.keypoints.shape == (0, 17, 3)


@pytest.fixture(scope="module")
def detector() -> MoveNetDetector:
    return MoveNetDetector()


def test_nobody_in_noise(detector: MoveNetDetector) -> None:
    noise = rng.integers(0, 256, (120, 160, 3)).astype(np.uint8)
    assert (detector(noise).scores < 0.3).all()


@pytest.mark.parametrize("size", [(1, 1), (3, 500), (700, 2)])
def test_tiny_and_thin_images(detector: MoveNetDetector, size: tuple[int, int]) -> None:
    found = detector(np.zeros((*size, 3), np.uint8))
    assert found.boxes_xyxy.shape == (len(found), 4)


def test_people_of_a_panorama_are_found(detector: MoveNetDetector) -> None:
    street = read_image(PHOTO).rgb
    wide = np.pad(street, ((0, 0), (0, 4 * street.shape[1]), (0, 0)), mode="edge")
    once = detector(street)
    found = detector(wide)
    best = box_iou(once.boxes_xyxy[once.scores.argmax()][None], found.boxes_xyxy)[0]
    assert best.max() > 0.6
    assert found.scores[best.argmax()] > 0.3
