"""The overlay: people where they are, at their size, the nearer before the farther; and any number of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import cv2
import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from metrichmsr.export.overlay import draw_overlay
from metrichmsr.export.overlay_text import Labels, font, overlap, text_size, wrap
from metrichmsr.export.overlay_views import FRONT, SIDE, TOP, draw_view
from metrichmsr.export.palette import clay_color
from metrichmsr.structures import Camera

GREY = 90


def camera_of(width: int, height: int) -> Camera:
    focal = float(max(width, height))
    K = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1.0]])
    return Camera(K=K, width=width, height=height, source="exif", focal_std_px=0.03 * focal)


def painted(picture: np.ndarray, person_id: int) -> np.ndarray:
    """Pixels in the shades of a person's colour, by their chromaticity."""
    color = clay_color(person_id)
    rgb = picture.astype(float)
    direction = rgb / np.maximum(np.linalg.norm(rgb, axis=-1, keepdims=True), 1)
    saturated = rgb.max(-1) - rgb.min(-1) > 25
    return saturated & (direction @ (color / np.linalg.norm(color)) > 0.996)


def largest(mask: np.ndarray) -> np.ndarray:
    """The largest connected part: the body without the id or label beside it."""
    count, parts, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    assert count > 1
    return parts == 1 + np.argmax(stats[1:, cv2.CC_STAT_AREA])


def center(mask: np.ndarray) -> np.ndarray:
    """Mean pixel (x, y), counted from the outer corner."""
    assert mask.sum() > 30
    return np.argwhere(mask).mean(axis=0)[::-1] + 0.5


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Pictures this small are not worth the waiting of threads for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


SIZES = {
    "landscape": (1280, 960),
    "portrait": (900, 1200),
    "panorama": (3000, 600),
    "strip": (100, 1000),
    "tiny": (64, 64),
}


@pytest.mark.parametrize("people", [0, 1, 5, 30])
@pytest.mark.parametrize("shape", SIZES)
def test_any_number_of_people_in_any_shape(make_recovery, make_person, shape: str, people: int) -> None:
    camera = camera_of(*SIZES[shape])
    crowd = tuple(make_person(i, (0.6 * (i % 6 - 2.5), 0.1, 4.0 + 2 * (i // 6)), camera) for i in range(people))
    recovery = make_recovery(people=crowd, camera=camera)
    before = recovery.image.copy()
    picture = draw_overlay(recovery)
    assert picture.dtype == np.uint8
    assert picture.ndim == 3
    assert picture.shape[2] == 3
    assert (recovery.image == before).all()
    scale = min(max(max(SIZES[shape]), 960), 1600) / max(SIZES[shape])
    width, height = round(SIZES[shape][0] * scale), round(SIZES[shape][1] * scale)
    photo = picture[:height, :width]
    changed = (photo != GREY).any(-1)
    if people:
        assert changed.any()
        assert (picture.shape[1] > width) or (picture.shape[0] > height + 200)
    else:
        assert not changed.any()
        assert picture.shape[1] == max(width, 480)
        assert height < picture.shape[0] < height + 120
        assert picture[height:].min() < 100 < picture[height:].max()


@pytest.mark.parametrize("width", [640, 1000, 3000])
def test_people_are_painted_where_the_camera_sees_them(make_recovery, make_person, width: int) -> None:
    """Whatever the photo is scaled to: the middle of an ellipsoid far away lies where its centre is projected."""
    camera = camera_of(width, round(0.75 * width))
    point = np.array([1.3, -0.4, 9.0])
    picture = draw_overlay(make_recovery(people=(make_person(0, point, camera),), camera=camera))
    shown_width = min(max(width, 960), 1600)
    photo = picture[: round(0.75 * shown_width), :shown_width]
    mask = largest(painted(photo, 0))
    u, v, w = camera.K @ point
    expected = np.array([u / w, v / w]) * shown_width / width
    np.testing.assert_allclose(center(mask), expected, atol=1.5)
    rows, columns = np.nonzero(mask)
    scale = shown_width / 9.0
    assert np.ptp(rows) == pytest.approx(2 * 0.85 * scale, rel=0.03, abs=2)
    assert np.ptp(columns) == pytest.approx(2 * 0.25 * scale, rel=0.03, abs=2)


@pytest.mark.parametrize("near_first", [True, False])
def test_the_nearer_person_hides_the_farther(make_recovery, make_person, near_first: bool) -> None:
    camera = camera_of(1000, 760)
    depths = (3.0, 6.0) if near_first else (6.0, 3.0)
    people = tuple(make_person(i, (0.0, 0.0, depth), camera) for i, depth in enumerate(depths))
    picture = draw_overlay(make_recovery(people=people, camera=camera))[:760, :1000]
    near = 0 if near_first else 1
    assert painted(picture, near)[340:420, 480:520].all()
    assert not painted(picture, 1 - near)[340:420, 480:520].any()


def ball(make_person, id: int, at: tuple[float, float, float]):
    """A person who is a ball of 30 cm radius."""
    person = make_person(id, at)
    around = (person.vertices_m - person.translation_m) / (0.25, 0.85, 0.2) * 0.3
    return dataclasses.replace(person, vertices_m=around + at)


@pytest.mark.parametrize(("view", "right", "down"), [(FRONT, 0, 1), (SIDE, 2, 1), (TOP, 0, 2)])
def test_views_show_distances_in_their_proportions(make_person, view, right: int, down: int) -> None:
    points = np.array([(-0.8, 0.5, 3.0), (0.9, -0.3, 4.4)])
    people = [ball(make_person, 1 + i, tuple(point)) for i, point in enumerate(points)]
    panel = np.asarray(draw_view(view, people, camera_of(640, 480), 620, 420))
    masks = [largest(painted(panel, 1 + i)) for i in range(2)]
    diameter_px = np.mean([np.sqrt(mask.sum() / np.pi) * 2 for mask in masks])
    offset = (center(masks[1]) - center(masks[0])) / diameter_px * 0.6
    expected = (points[1] - points[0])[[right, down]] * (1, -1 if view is TOP else 1)
    np.testing.assert_allclose(offset, expected, atol=0.08)


def test_the_top_view_has_the_camera_before_the_people(make_person) -> None:
    panel = np.asarray(draw_view(TOP, [ball(make_person, 1, (0.0, 0.2, 5.0))], camera_of(640, 480), 500, 500))
    dark = (panel.max(-1) < 90) & (np.arange(500)[:, None] > 300) & (np.abs(np.arange(500) - 260) < 40)
    x, y = center(dark)
    person = center(largest(painted(panel, 1)))
    assert x == pytest.approx(person[0], abs=3)
    assert y > person[1] + 200


def test_odd_people_are_no_obstacle(make_recovery, make_person) -> None:
    """Vertices that are not finite, behind the camera, through it; an unknown sigma."""
    camera = camera_of(640, 480)
    good = make_person(0, (0.0, 0.0, 4.0), camera)
    nan = dataclasses.replace(make_person(1, (1.0, 0.0, 4.0), camera), vertices_m=np.full((4, 3), np.nan))
    behind = make_person(2, (0.0, 0.0, -3.0), camera)
    through = make_person(3, (0.0, 0.3, 0.05), camera)
    unsure = dataclasses.replace(good, id=4, height_std_m=np.nan, distance_std_m=np.nan)
    for people in ((nan,), (behind,), (through,), (unsure,), (good, nan, behind, through, unsure)):
        picture = draw_overlay(make_recovery(people=people, camera=camera))
        assert picture.shape[0] > 720
    alone = draw_overlay(make_recovery(people=(good,), camera=camera))
    with_nan = draw_overlay(make_recovery(people=(good, nan), camera=camera))
    assert (alone[:720, :960] == with_nan[:720, :960]).all()


def test_arrays_may_be_read_only_and_of_any_layout(make_recovery, make_person) -> None:
    camera = camera_of(320, 240)
    person = make_person(0, (0.0, 0.0, 4.0), camera)
    odd = dataclasses.replace(
        person,
        vertices_m=np.asfortranarray(person.vertices_m.astype(np.float32)),
        faces=person.faces.astype(np.uint32)[::-1],
    )
    odd.vertices_m.setflags(write=False)
    image = np.full((240, 320, 3), GREY, dtype=np.uint8)[::-1, :, ::-1]
    image.setflags(write=False)
    usual = draw_overlay(make_recovery(people=(person,), camera=camera)).astype(int)
    other = draw_overlay(make_recovery(people=(odd,), camera=camera, image=image)).astype(int)
    assert (np.abs(usual - other) > 8).mean() < 1e-3


def test_labels_keep_out_of_each_others_way() -> None:
    draw = ImageDraw.Draw(Image.new("RGB", (400, 300)), "RGBA")
    head = (180.0, 100.0, 220.0, 140.0)
    labels = Labels(draw, 400, 300, size_px=13, in_sight=[head])
    for i in range(5):
        labels.add((150.0, 100.0, 250.0, 280.0), (255, 0, 0), [(f"{i}  1.70 m tall", "3.0 m away"), (f"{i}",)])
    boxes = labels._taken
    assert len(boxes) == 6
    assert not any(overlap(a, b) for i, a in enumerate(boxes) for b in boxes[:i])
    assert all(0 <= x0 < x1 <= 400 and 0 <= y0 < y1 <= 300 for x0, y0, x1, y1 in boxes)


def test_a_label_without_room_is_drawn_all_the_same() -> None:
    picture = Image.new("RGB", (100, 60))
    labels = Labels(ImageDraw.Draw(picture, "RGBA"), 100, 60, size_px=13, in_sight=[(0.0, 0.0, 100.0, 60.0)])
    labels.add((20.0, 20.0, 60.0, 60.0), (255, 0, 0), [("a long label with no room", "at all"), ("7",)])
    assert np.asarray(picture).any()


def test_wrapped_lines_keep_all_words_and_fit() -> None:
    text = "photo.jpg: 5 people | focal length 1200 ± 40 px (exif), 53° x 41° | camera frame"
    lines = wrap(text, font(14), 180)
    assert " ".join(lines) == text
    assert len(lines) > 1
    assert all(text_size(line, font(14))[0] <= 180 for line in lines)
    assert wrap("", font(14), 50) == []
