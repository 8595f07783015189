"""From a picture to people: drawn people whose joints, masks and number are known."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from metrichmsr.people import COCO17_OF_33, Detections, Landmarker, MoveNetDetector, find_people
from metrichmsr.people.exposure import brighten_if_dark

Scene = Callable[[int, int], np.ndarray]
Draw = Callable[..., np.ndarray]
COCO_MIRROR = [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15]
BODY = slice(5, 17)


def distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.linalg.norm(a[..., :2] - b[..., :2], axis=-1)


def test_drawn_person(scene: Scene, draw_person: Draw, detector: MoveNetDetector, landmarker: Landmarker) -> None:
    image, truth = scene(360, 480), np.zeros(0)
    before = image.copy()
    truth = draw_person(image, 240.0, 190.0)
    people = find_people(image, detector=detector, landmarker=landmarker)
    assert len(people) == 1
    landmarks = people.landmarks
    error = distance(landmarks.coco17[0], truth)[BODY]
    assert np.median(error) < 6
    assert error.max() < 16
    assert (landmarks.coco17[0, BODY, 2] > 0.4).all()
    assert landmarks.score[0] > 0.7
    assert landmarks.agreement[0] > 0.8
    assert np.mean(error < 2.5 * landmarks.sigma_px[0, list(COCO17_OF_33)][BODY]) > 0.8
    box = people.detections.boxes_xyxy[0]
    np.testing.assert_allclose(box, [175, 32, 305, 335], atol=15)

    drawn = (image != before).any(-1)
    seen = landmarks.mask(0, height=360, width=480)
    assert (drawn & seen).sum() / (drawn | seen).sum() > 0.85
    region = np.array([[2.0, 0, -2 * 100], [0, 2, -2 * 50], [0, 0, 1]])
    part = landmarks.soft_mask(0, height=400, width=300, region_from_image=region) > 0.5
    whole = np.kron(seen[50:250, 100:250], np.ones((2, 2), bool))
    assert (part == whole).mean() > 0.99

    world = landmarks.world[0]
    assert world[0, 1] < world[23, 1] < world[27, 1]  # y points down: nose, hip, ankle
    assert world[11, 0] > world[12, 0]  # the left shoulder of somebody who faces us is on the right: x points right
    assert landmarks.features.shape == (1, 192, 16, 16)


def test_mirrored_picture_gives_the_mirrored_person(
    scene: Scene, draw_person: Draw, detector: MoveNetDetector, landmarker: Landmarker
) -> None:
    image = scene(360, 480)
    draw_person(image, 200.0, 190.0)
    image[:, 300:] = cv2.GaussianBlur(image[:, 300:], (0, 0), 3) // 2
    straight = find_people(image, detector=detector, landmarker=landmarker).landmarks
    mirror = find_people(np.ascontiguousarray(image[:, ::-1]), detector=detector, landmarker=landmarker).landmarks
    back = mirror.coco17[:, COCO_MIRROR]
    back[..., 0] = 480 - back[..., 0]
    assert np.median(distance(back, straight.coco17)) < 1.5
    assert distance(back, straight.coco17)[0, BODY].max() < 6


@pytest.mark.parametrize("shift", [(1, 0), (0, 3), (17, 9)])
def test_cropping_the_picture_by_whole_pixels_moves_landmarks_by_as_much(
    scene: Scene, draw_person: Draw, landmarker: Landmarker, shift: tuple[int, int]
) -> None:
    dx, dy = shift
    image = scene(560, 680)
    draw_person(image, 340.0, 290.0)
    box = np.array([[270.0, 125, 410, 445]])
    whole = landmarker(image, box)
    part = landmarker(np.ascontiguousarray(image[dy:, dx:]), box - [dx, dy, dx, dy])
    np.testing.assert_allclose(part.xy + [dx, dy], whole.xy, atol=0.02)
    np.testing.assert_allclose(part.world, whole.world, atol=1e-3)


def test_enlarged_picture_gives_the_enlarged_landmarks(scene: Scene, draw_person: Draw, landmarker: Landmarker) -> None:
    """No half-pixel slip between scales: with pixel centres at integers everything would move by 1.5 pixels."""
    image = scene(360, 480)
    draw_person(image, 240.0, 190.0)
    image = cv2.GaussianBlur(image, (0, 0), 2)
    large = cv2.resize(image, None, fx=4, fy=4, interpolation=cv2.INTER_LINEAR)
    box = np.array([[170.0, 30, 310, 340]])
    small_xy, large_xy = landmarker(image, box).xy, landmarker(large, 4 * box).xy
    assert np.abs((large_xy - 4 * small_xy)[:, 11:].mean((0, 1))).max() < 1.0


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_turned_people_are_found_and_read(
    scene: Scene, draw_person: Draw, detector: MoveNetDetector, landmarker: Landmarker, quarters: int
) -> None:
    image = scene(400, 400)
    truth = draw_person(image, 200.0, 205.0)
    turned = np.ascontiguousarray(np.rot90(image, quarters))
    for _ in range(quarters):  # counter-clockwise: x' = y, y' = 400 − x
        truth = np.stack([truth[:, 1], 400 - truth[:, 0]], axis=-1)
    by_box = landmarker(turned, np.array([[30.0, 30, 370, 370]]))
    assert np.median(distance(by_box.coco17[0], truth)[BODY]) < 8
    people = find_people(turned, detector=detector, landmarker=landmarker)
    assert len(people) == 1
    assert np.median(distance(people.landmarks.coco17[0], truth)[BODY]) < 8


def test_crowd_of_more_than_six(
    scene: Scene, draw_person: Draw, detector: MoveNetDetector, landmarker: Landmarker
) -> None:
    image = scene(560, 1200)
    centers = [(60 + 120 * i, y) for y in (125, 290, 455) for i in range(10)]
    for x, y in centers:
        draw_person(image, float(x), float(y), 0.45)
    people = find_people(image, detector=detector, landmarker=landmarker)
    boxes = people.detections.boxes_xyxy
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    nearest = [int(np.argmin(np.linalg.norm(middles - np.array(c), axis=1))) for c in centers]
    near = [np.linalg.norm(middles[i] - np.array(c)) < 25 for i, c in zip(nearest, centers, strict=True)]
    assert sum(near) >= 27  # of 30
    assert len(set(nearest)) >= 27
    assert len(people) <= 32
    assert len(find_people(image, detector=detector, landmarker=landmarker, max_people=4)) == 4


def test_two_people_arm_in_arm_are_two(
    scene: Scene, draw_person: Draw, detector: MoveNetDetector, landmarker: Landmarker
) -> None:
    image = scene(360, 480)
    truth = [draw_person(image, 190.0, 190.0), draw_person(image, 280.0, 192.0)]
    people = find_people(image, detector=detector, landmarker=landmarker)
    assert len(people) == 2
    order = np.argsort(people.detections.boxes_xyxy[:, 0])
    for row, joints in zip(order, truth, strict=True):
        assert np.median(distance(people.landmarks.coco17[row], joints)[BODY]) < 10


def test_cut_off_legs_are_not_trusted(
    scene: Scene, draw_person: Draw, detector: MoveNetDetector, landmarker: Landmarker
) -> None:
    image = scene(360, 480)
    draw_person(image, 240.0, 190.0)
    people = find_people(np.ascontiguousarray(image[:215]), detector=detector, landmarker=landmarker)
    assert len(people) == 1
    coco = people.landmarks.coco17[0]
    below = coco[:, 1] > 215
    assert below[[15, 16]].all()  # ankles are guessed below the edge
    assert (coco[below, 2] < 0.1).all()
    assert (coco[[5, 6, 7, 8], 2] > 0.4).all()


def test_nobody_at_all(detector: MoveNetDetector, landmarker: Landmarker) -> None:
    for image in (np.zeros((200, 300, 3), np.uint8), np.full((1, 1, 3), 255, np.uint8)):
        people = find_people(image, detector=detector, landmarker=landmarker)
        assert len(people) == 0
        assert people.landmarks.xy.shape == (0, 33, 2)
        assert people.landmarks.coco17.shape == (0, 17, 3)
        assert people.landmarks.world.shape == (0, 33, 3)
        assert people.landmarks.mask_logits.shape == (0, 256, 256)


def test_given_boxes_are_all_kept_in_order(scene: Scene, draw_person: Draw, landmarker: Landmarker) -> None:
    image = scene(360, 640)
    truth = [draw_person(image, 150.0, 190.0), draw_person(image, 480.0, 190.0)]
    boxes = np.array([[410.0, 30, 550, 340], [80, 30, 220, 340], [280, 100, 340, 200]])
    people = find_people(image, boxes=boxes, landmarker=landmarker)
    np.testing.assert_array_equal(people.detections.boxes_xyxy, boxes)
    coco = people.landmarks.coco17
    assert np.median(distance(coco[0], truth[1])[BODY]) < 6
    assert np.median(distance(coco[1], truth[0])[BODY]) < 6
    assert people.landmarks.score[2] < people.landmarks.score[:2].min()
    assert np.isnan(people.landmarks.agreement).all()


def test_any_detector_may_be_used(scene: Scene, draw_person: Draw, landmarker: Landmarker) -> None:
    """A detector without keypoints, whose second find is no person."""
    image = scene(360, 640)
    truth = draw_person(image, 150.0, 190.0)

    def detect(_: np.ndarray) -> Detections:
        return Detections(np.array([[400.0, 20, 600, 300], [80, 30, 220, 340]]), np.array([0.3, 0.9]))

    people = find_people(image, detector=detect, landmarker=landmarker, min_score=0.4)
    assert len(people) == 1
    assert np.median(distance(people.landmarks.coco17[0], truth)[BODY]) < 6


def test_near_darkness(scene: Scene, draw_person: Draw, detector: MoveNetDetector, landmarker: Landmarker) -> None:
    image = scene(360, 480)
    draw_person(image, 240.0, 190.0)
    dark = image // 20
    assert len(find_people(dark, detector=detector, landmarker=landmarker)) == 1
    assert brighten_if_dark(image) is image
    assert brighten_if_dark(np.zeros((4, 4, 3), np.uint8)).max() == 0


def test_one_look_is_what_a_sure_person_gets(scene: Scene, draw_person: Draw, landmarker: Landmarker) -> None:
    image = scene(360, 480)
    draw_person(image, 240.0, 190.0)
    box = np.array([[170.0, 30, 310, 340]])
    quick = Landmarker(network=landmarker.network, thorough=False)
    np.testing.assert_array_equal(quick(image, box).xy, landmarker(image, box).xy)
