"""Contact sheets and statistics: what is drawn where, and the numbers behind the plots."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from PIL import Image
from synthetic_fakes import look_at, make_shot

from metrichmsr.synthetic.preview import contact_sheet, depth_colors, draw_truth, write_preview
from metrichmsr.synthetic.shots import OUTSIDE, VISIBLE
from metrichmsr.synthetic.statistics import CATEGORIES, QUANTITIES, age_years, collect, root_tilt_deg, write_statistics


def test_sheet_holds_every_shot(tmp_path):
    shots = [make_shot(f"s{i}", i, people=i % 3, size=(64 + 16 * (i % 2), 48)) for i in range(5)]
    sheet = contact_sheet(shots, columns=2, height=96)
    assert sheet.shape == (3 * (96 + 30), 2 * (3 * (160 + 2) + 6), 3)
    assert contact_sheet(shots[:1], height=96, panels=1).shape == (126, 136, 3)
    write_preview(shots, tmp_path / "sheet.png", height=96)
    with Image.open(tmp_path / "sheet.png") as picture:
        assert np.array_equal(np.asarray(picture), sheet)
    with pytest.raises(ValueError, match="no shots"):
        contact_sheet([])


def test_joints_are_drawn_where_they_are():
    shot = make_shot(people=1, size=(64, 48))
    pixels = np.full((1, 17, 2), np.nan, np.float32)
    pixels[0, :2] = (50, 10), (10, 10)
    visibility = np.full((1, 17), OUTSIDE, np.uint8)
    visibility[0, 0] = VISIBLE
    people = dataclasses.replace(shot.people, coco17_px=pixels, visibility=visibility)
    drawn = draw_truth(dataclasses.replace(shot, people=people), height=192)
    assert drawn[40, 200].tolist() == [90, 255, 90]
    assert not (drawn[30:50, 30:50] == (90, 255, 90)).all(-1).any(), "outside: not drawn"


def test_masks_and_depth_have_colours():
    shot = make_shot(people=2)
    drawn = draw_truth(shot, height=48)
    assert np.array_equal(drawn[2], shot.image[2]), "nobody there"
    assert not np.array_equal(drawn[30, 12], drawn[30, 40]), "two people, two colours"
    colors = depth_colors(np.array([[1.0, 2.0, 4.0, np.nan]], np.float32))
    assert colors[0, 0, 0] > colors[0, 0, 2], "near is red"
    assert colors[0, 2, 2] > colors[0, 2, 0], "far is blue"
    assert colors[0, 3].tolist() == [70, 70, 74]
    assert (depth_colors(np.full((2, 2), np.nan, np.float32)) == (70, 70, 74)).all()


@pytest.mark.parametrize(("pitch", "roll", "height"), [(0, 0, 1.5), (-30, 0, 4), (20, 12, 1), (-50, -15, 2.5)])
def test_camera_angles(pitch, roll, height):
    camera = look_at(np.radians(pitch), np.radians(roll), height)
    shot = dataclasses.replace(make_shot(), camera_from_world=camera)
    quantities = collect([shot]).summary()["quantities"]
    assert quantities["pitch_deg"]["mean"] == pytest.approx(pitch, abs=1e-3)
    assert quantities["roll_deg"]["mean"] == pytest.approx(roll, abs=1e-3)
    assert quantities["camera_height_m"]["mean"] == pytest.approx(height, abs=1e-3)


def test_tilt_of_the_pelvis():
    up = np.array([0.0, -1.0, 0.0])  # a level camera
    upright = np.array([np.pi / 2, 0, 0])  # z up becomes −y
    assert root_tilt_deg(np.stack([upright, -upright, np.zeros(3)]), up) == pytest.approx([0, 180, 90], abs=1e-4)


def test_ages():
    assert age_years(np.array([-1 / 3, 0.7, 1.0])) == pytest.approx([0, 25, 90])


def test_numbers(tmp_path):
    shots = [make_shot(f"s{i}", i, people=1 + i % 3) for i in range(30)]
    summary = collect(shots).summary()
    heights = np.concatenate([shot.people.height_m for shot in shots])
    stature = summary["quantities"]["stature_m"]
    assert summary["shots"] == 30
    assert summary["people_seen"] == stature["n"] == len(heights) == sum(stature["counts"])
    assert stature["mean"] == pytest.approx(heights.mean(), rel=1e-3)
    assert stature["percentiles"]["50"] == pytest.approx(np.median(heights), rel=1e-3)
    assert summary["categories"]["pose_source"] == {"cmu": len(heights)}
    assert sum(summary["categories"]["environment"].values()) == 30
    assert summary["quantities"]["people"]["counts"][:5] == [0, 10, 10, 10, 0]
    write_statistics(summary, tmp_path)
    assert json.loads((tmp_path / "statistics.json").read_text()) == summary
    with Image.open(tmp_path / "statistics.png") as picture:
        assert picture.width > 1000
    assert set(QUANTITIES) == set(summary["quantities"])
    assert set(CATEGORIES) == set(summary["categories"])


def test_people_who_are_not_seen_do_not_count():
    shot = make_shot(people=2)
    people = dataclasses.replace(shot.people, visible_share=np.array([0.5, 0], np.float32))
    assert collect([dataclasses.replace(shot, people=people)]).summary()["people_seen"] == 1
    nobody = collect([make_shot(people=0)]).summary()
    assert nobody["people_seen"] == nobody["quantities"]["stature_m"]["n"] == 0
    from metrichmsr.synthetic.statistics import draw_statistics

    draw_statistics(nobody)
    draw_statistics(collect([]).summary())
