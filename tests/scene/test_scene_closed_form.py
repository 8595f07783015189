"""One scale and shift for a picture: exact where it can be, robust where it must be."""

from __future__ import annotations

import math

import pytest
import torch

from metrichmsr.scene.closed_form import align

H, W = 40, 60


def two_people(near: float = 3.0, far: float = 6.0):
    """Anchors of two people at two depths, left and right."""
    person = torch.full((H, W), -1, dtype=torch.long)
    person[10:30, 5:20], person[10:30, 40:55] = 0, 1
    anchor = torch.full((H, W), math.nan)
    anchor[person == 0], anchor[person == 1] = near, far
    return anchor, person >= 0, person


def relative(found, initial, truth):
    """Largest relative error of what the closed form makes of the initial depth."""
    return float((((found.scale * initial + found.shift_m) - truth).abs() / truth).nan_to_num().max())


def test_relative_depth_gets_its_scale_and_shift_from_two_people():
    anchor, mask, person = two_people()
    initial = (torch.where(mask, anchor, 5.0) - 0.8) / 40
    found = align(initial, anchor, mask, person, torch.tensor([0.05, 0.05]), metric=False)
    assert found.found
    assert found.scale == pytest.approx(40, rel=0.02)
    assert found.shift_m == pytest.approx(0.8, abs=0.1)
    assert found.residual < 0.01
    assert set(found.by_person) == {0, 1}


def test_the_scale_of_a_source_of_metres_is_mended():
    anchor, mask, person = two_people()
    initial = torch.where(mask, anchor, 5.0) * 1.2
    found = align(initial, anchor, mask, person, torch.tensor([0.03, 0.03]))
    assert found.scale == pytest.approx(1 / 1.2, rel=0.03)
    assert abs(found.shift_m) < 0.1


def test_people_at_one_depth_give_a_scale_and_no_shift():
    anchor, mask, person = two_people(4.0, 4.0)
    found = align(torch.where(mask, 5.0, 9.0), anchor, mask, person, torch.tensor([0.05, 0.05]), metric=False)
    assert found.scale == pytest.approx(0.8, rel=1e-3)
    assert abs(found.shift_m) < 0.01


def test_a_few_wild_pixels_change_nothing():
    anchor, mask, person = two_people()
    initial = torch.where(mask, anchor, 5.0) * 1.1
    clean = align(initial, anchor, mask, person, torch.tensor([0.05, 0.05]))
    wild = initial.clone()
    wild[12:14, 5:20] = 40.0
    found = align(wild, anchor, mask, person, torch.tensor([0.05, 0.05]))
    assert found.scale == pytest.approx(clean.scale, rel=0.03)


def test_a_doubtful_person_pulls_less_than_a_sure_one():
    anchor, mask, person = two_people(4.0, 4.0)
    initial = torch.full((H, W), 4.0)
    anchor[person == 1] = 6.0  # they contradict each other: the picture is a plane
    sure_first = align(initial, anchor, mask, person, torch.tensor([0.03, 0.4]))
    sure_second = align(initial, anchor, mask, person, torch.tensor([0.4, 0.03]))
    at = [found.scale * 4 + found.shift_m for found in (sure_first, sure_second)]
    assert at[0] == pytest.approx(4, rel=0.03)
    assert at[1] > 5
    assert sure_first.by_person[1] > 0.25
    assert sure_first.by_person[0] < 0.05


def test_a_person_counts_once_however_many_pixels_show_them():
    anchor, mask, person = two_people(4.0, 4.0)
    anchor[person == 1] = 5.0
    mask = mask.clone()
    mask[:, 40:] &= torch.arange(H)[:, None] < 12  # a tenth of the second one
    found = align(torch.full((H, W), 4.0), anchor, mask, person, torch.tensor([0.1, 0.1]), metric=False)
    assert 4.3 < found.scale * 4 + found.shift_m < 4.7


@pytest.mark.parametrize("why", ["no mask", "no depth", "too few"])
def test_nothing_to_align_to(why):
    anchor, mask, person = two_people()
    initial = torch.full((H, W), 4.0)
    if why == "no mask":
        mask = torch.zeros_like(mask)
    elif why == "no depth":
        initial = torch.full((H, W), math.nan)
    else:
        mask = mask & (torch.arange(W) < 6) & (torch.arange(H)[:, None] < 20)
    found = align(initial, anchor, mask, person, torch.tensor([0.05, 0.05]))
    assert not found.found
    assert (found.scale, found.shift_m) == (1.0, 0.0)
    assert math.isnan(found.residual)


def test_depth_that_runs_the_wrong_way_never_turns_the_scene_inside_out():
    anchor, mask, person = two_people()
    inverse = 1 / torch.where(mask, anchor, 5.0)
    found = align(inverse, anchor, mask, person, torch.tensor([0.02, 0.02]), metric=False)
    assert found.scale > 0
    assert relative(found, inverse, anchor) > 0.2  # it cannot be right, and the residual says so
    assert max(found.by_person.values()) > 0.2
