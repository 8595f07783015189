"""Boxes, regions and the constants, against naive twins and closed forms."""

import numpy as np
import pytest

from metrichmsr.evaluation import baselines, regions
from metrichmsr.evaluation.blazepose_world import rotation_to_ray
from metrichmsr.evaluation.matching import box_iou, match_boxes
from metrichmsr.evaluation.session import Gallery, spread
from metrichmsr.structures import COCO17, Camera


def naive_iou(a, b):
    width = max(0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0, min(a[3], b[3]) - max(a[1], b[1]))
    area = [max(0, x1 - x0) * max(0, y1 - y0) for x0, y0, x1, y1 in (a, b)]
    union = sum(area) - width * height
    return width * height / union if union else 0


def test_iou_equals_its_naive_twin():
    rng = np.random.default_rng(3)
    a, b = (np.concatenate([low, low + rng.uniform(-1, 6, (9, 2))], axis=1) for low in rng.uniform(0, 5, (2, 9, 2)))
    np.testing.assert_allclose(box_iou(a, b), [[naive_iou(x, y) for y in b] for x in a])


def test_matching_is_one_to_one_best_first():
    labelled = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [50, 50, 60, 60]], dtype=float)
    found = np.array([[1, 0, 11, 10], [100, 100, 110, 110]], dtype=float)
    assert match_boxes(labelled, found, min_iou=0.3) == {1: 0}
    assert match_boxes(labelled, found[:0], min_iou=0.3) == {}
    assert match_boxes(labelled[:0], found, min_iou=0.3) == {}


def test_matching_refuses_small_overlaps():
    boxes = np.array([[0, 0, 10, 10]], dtype=float), np.array([[5, 0, 15, 10]], dtype=float)
    assert match_boxes(*boxes, min_iou=0.33) == {0: 0}
    assert match_boxes(*boxes, min_iou=0.34) == {}


def test_erosion_takes_the_edge_and_spares_the_border():
    mask = np.zeros((20, 20), dtype=bool)
    mask[5:, 4:14] = True
    eroded = regions.erode(mask, 3)
    rows, columns = np.nonzero(eroded)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (8, 19, 7, 10)


def torso(left: float, right: float) -> np.ndarray:
    keypoints = np.full((17, 2), np.nan)
    keypoints[[COCO17.index("left_shoulder"), COCO17.index("left_hip")]] = (left, 20), (left, 80)
    keypoints[[COCO17.index("right_shoulder"), COCO17.index("right_hip")]] = (right, 20), (right, 80)
    return keypoints


def test_torso_region_is_the_quadrilateral():
    region = regions.torso_region(torso(70, 30), 100, 100)
    assert region[21:79, 31:69].all()
    assert region.sum() < 1.25 * 40 * 60


def test_torso_from_the_side_keeps_a_band():
    region = regions.torso_region(torso(50, 50), 100, 100)
    assert 8 <= region[50].sum() <= 16
    assert region[50, 49:51].all()


def test_torso_of_unknown_joints_is_empty():
    keypoints = torso(70, 30)
    keypoints[5] = np.nan
    assert not regions.torso_region(keypoints, 100, 100).any()


def test_standing_figure_is_upright_and_symmetric():
    figure = baselines.standing_figure(1.8)
    by_name = dict(zip(COCO17, figure, strict=True))
    np.testing.assert_allclose((by_name["left_hip"] + by_name["right_hip"]) / 2, 0, atol=1e-12)
    assert by_name["left_shoulder"][1] < by_name["left_elbow"][1] < by_name["left_hip"][1] < by_name["left_ankle"][1]
    assert by_name["left_knee"][0] == -by_name["right_knee"][0] > 0
    assert by_name["left_ankle"][1] - by_name["left_shoulder"][1] == pytest.approx(0.779 * 1.8)


def test_figure_fills_the_box():
    box = np.array([10.0, 20, 50, 220])
    figure = baselines.figure_in_box(box)[5:]
    np.testing.assert_allclose([*figure.min(axis=0), *figure.max(axis=0)], box)


def test_box_rule_is_exact_for_someone_of_that_stature():
    camera = Camera(K=np.array([[500.0, 0, 50], [0, 600, 50], [0, 0, 1]]), width=100, height=100, source="given")
    box = np.array([0, 10, 5, 10 + 600 * 1.69 / 4])
    assert baselines.depth_from_box(box, camera) == pytest.approx(4)


@pytest.mark.parametrize("ray", [(0, 0, 1), (0.4, -0.2, 1), (-3, 1, 0.5)])
def test_rotation_to_ray_is_the_smallest_that_gets_there(ray):
    unit = np.array(ray, dtype=float) / np.linalg.norm(ray)
    rotation = rotation_to_ray(np.array(ray, dtype=float))
    np.testing.assert_allclose(rotation @ (0, 0, 1), unit, atol=1e-12)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert (np.trace(rotation) - 1) / 2 == pytest.approx(unit[2])


def test_gallery_draws_and_keeps_only_the_worst():
    gallery, drawn = Gallery(2), []

    def picture(value):
        return lambda: drawn.append(value) or np.full((1, 1, 3), value, dtype=np.uint8)

    for badness in (1.0, 5.0, 0.5, float("nan"), 2.0):
        gallery.offer("a", badness, picture(int(10 * np.nan_to_num(badness))))
    assert [int(p[0, 0, 0]) for p in gallery.pictures("a")] == [0, 50], "not-a-number is the worst"
    assert drawn == [10, 50, 0]
    assert gallery.pictures("b") == []


def test_an_empty_gallery_draws_nothing():
    Gallery(0).offer("a", 1.0, lambda: pytest.fail("drawn"))


@pytest.mark.parametrize(
    ("at_most", "expected"), [(None, list("abcde")), (9, list("abcde")), (3, list("ace")), (1, ["a"])]
)
def test_spread_takes_ends_and_middle(at_most, expected):
    assert spread("abcde", at_most) == expected
