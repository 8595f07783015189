"""Statures of a picture's people: each one's distribution, and what a shared ground makes of them."""

from __future__ import annotations

import math

import pytest
import torch

from metrichmsr.hmr.population import (
    CHILDREN,
    LEARNED,
    MEN,
    ages,
    photographed,
    photographed_people,
    photographed_statures,
)
from metrichmsr.hmr.stature import (
    POSE_SIGMA,
    Footing,
    among,
    as_photographed,
    as_seen,
    distance_sigma,
    footing,
    fuse,
    summary,
)
from metrichmsr.hmr.stature_grid import STATURES_M, quantile, soft_bins

HEIGHTS = torch.tensor(STATURES_M)


def normal(mean: float, sigma: float) -> torch.Tensor:
    return (-0.5 * ((HEIGHTS - mean) / sigma).square()).softmax(-1)


def child_or_adult() -> torch.Tensor:
    return 0.5 * normal(1.15, 0.05) + 0.5 * normal(1.70, 0.05)


def standing(*drops: float, seen: bool = True) -> Footing:
    """People whose feet lie so many statures below the camera."""
    n = len(drops)
    return Footing(torch.tensor(drops), torch.full((n,), 3.0), torch.full((n,), seen))


def test_the_summary_of_a_normal_distribution_is_its_mean_and_sigma() -> None:
    for mean, sigma in ((1.712, 0.06), (1.131, 0.12)):
        middle, half = summary(normal(mean, sigma)[None])
        assert float(middle) == pytest.approx(mean, abs=0.004)
        assert float(half) == pytest.approx(sigma, rel=0.08)
    assert float(quantile(soft_bins(torch.tensor([1.5])), 0.5)) == pytest.approx(1.5, abs=0.01)


def test_without_a_ground_everybody_is_believed_alone() -> None:
    people = torch.stack([normal(1.7, 0.07), child_or_adult()])
    assert torch.equal(fuse(people), people)
    assert torch.equal(fuse(people, standing(0.9, 0.9)), people), "which way is up is not known"


def test_the_small_of_a_group_are_found_by_the_tall() -> None:
    adult = normal(1.72, 0.06)
    # Eye level, 1.5 m: a grown-up's feet lie 0.87 statures below, a child's 1.3.
    people = torch.stack([adult, adult, child_or_adult(), child_or_adult()])
    fused = fuse(people, standing(0.87, 0.87, 1.30, 0.88), up_sigma_rad=math.radians(2))
    heights, _ = summary(fused)
    assert float(heights[2]) == pytest.approx(1.15, abs=0.04)
    assert float(heights[3]) == pytest.approx(1.70, abs=0.04)
    assert torch.allclose(fused.sum(-1), torch.ones(4), atol=1e-5)
    # The order of people means nothing.
    turned = fuse(people.flip(0), standing(0.88, 1.30, 0.87, 0.87), up_sigma_rad=math.radians(2))
    torch.testing.assert_close(turned.flip(0), fused)


def test_a_camera_is_rather_at_eye_level_than_at_the_ceiling() -> None:
    alone = fuse(child_or_adult()[None], standing(1.35), up_sigma_rad=math.radians(2))
    assert float(alone[0, HEIGHTS < 1.45].sum()) > 0.6
    unsure = fuse(child_or_adult()[None], standing(1.35), up_sigma_rad=math.radians(25))
    assert 0.45 < float(unsure[0, HEIGHTS < 1.45].sum()) < float(alone[0, HEIGHTS < 1.45].sum())


def test_children_are_as_rare_as_in_photographs() -> None:
    weighed = as_photographed(child_or_adult()[None])
    assert weighed.sum() == pytest.approx(1.0)
    # Odds of 1 : 1 among people of whom 17 % are children, where 10 % are; 1.70 m is as common in both.
    odds = (0.10 / 0.90) / (0.174 / 0.826)
    assert float(weighed[0, HEIGHTS < 1.45].sum()) == pytest.approx(odds / (1 + odds), rel=0.03)


def test_of_whom_nothing_is_seen_the_answer_is_the_population_of_photographs() -> None:
    learned, there = LEARNED.grown_ups(HEIGHTS), photographed()
    children = (HEIGHTS < 1.45) / (HEIGHTS < 1.45).sum()
    unseen = as_photographed((LEARNED.children * children + (1 - LEARNED.children) * learned)[None])[0]
    grown_up = HEIGHTS >= 1.45
    assert float(unseen[grown_up].sum()) == pytest.approx(1 - there.children, abs=1e-3)
    mean = float((unseen * HEIGHTS)[grown_up].sum() / unseen[grown_up].sum())
    assert mean == pytest.approx(float((there.grown_ups(HEIGHTS) * HEIGHTS).sum()), abs=1e-3)


def test_who_is_not_seen_is_anybody() -> None:
    sure = normal(0.65, 0.03).expand(3, -1)
    unseen, half, seen = as_seen(sure, torch.tensor([0.1, 0.375, 0.9]))
    torch.testing.assert_close(seen, sure[0])
    torch.testing.assert_close(unseen, photographed_statures().to(sure))
    torch.testing.assert_close(half, 0.5 * (seen + unseen))


def test_the_population_of_photographs_is_of_both_sexes_and_all_ages() -> None:
    joint = photographed_people()
    assert float(joint.sum()) == pytest.approx(1.0)
    assert float(joint[:, 0].sum()) == pytest.approx(MEN)
    assert float(joint[ages() < 11].sum()) == pytest.approx(CHILDREN)
    there = photographed()
    assert 0.09 < there.children < 0.12, "below 1.45 m are about those below 11 years"
    # Between women of 1.63 m and men of 1.76 m, and a little below their mean: youths and the old are there.
    assert 1.685 < there.mean_m < 1.63 + MEN * 0.13
    grown_ups = there.grown_ups(HEIGHTS)
    assert float(grown_ups.sum()) == pytest.approx(1.0)
    assert float(grown_ups[HEIGHTS < 1.45].sum()) == 0


def test_who_is_known_to_be_in_the_picture_leaves_only_such_statures() -> None:
    people = torch.stack([child_or_adult(), normal(1.0, 0.03)])
    assert torch.equal(among(people, "anybody"), people)
    adults, children = among(people, "adults"), among(people, "children")
    assert float(adults[:, HEIGHTS < 1.45].sum()) == 0
    assert float(children[:, HEIGHTS >= 1.45].sum()) == 0
    assert torch.allclose(adults.sum(-1), torch.ones(2))
    assert float(summary(adults)[0][0]) == pytest.approx(1.70, abs=0.02)
    assert float(summary(children)[0][0]) == pytest.approx(1.15, abs=0.02)
    # Sure of the contrary: what is usual counts, and the sigma says that it is no more than that.
    assert float(summary(adults)[0][1]) == pytest.approx(1.70, abs=0.02)
    assert 0.08 < float(summary(adults)[1][1]) < 0.12


def test_a_stature_that_is_known_tells_of_the_others() -> None:
    people = torch.stack([child_or_adult(), normal(1.65, 0.12)])
    known = torch.tensor([1.12, math.nan])
    heights, sigmas = summary(fuse(people, standing(1.34, 0.84), up_sigma_rad=math.radians(1), known_height_m=known))
    assert float(heights[0]) == pytest.approx(1.12, abs=0.01)
    # The camera is 1.5 m high, so that the other would be 1.79 m; their own distribution says 1.65 ± 0.12.
    assert 1.69 < float(heights[1]) < 1.79
    assert float(sigmas[1]) < 0.1


def test_whoever_stands_elsewhere_is_not_bent_to_the_ground() -> None:
    people = torch.stack([normal(1.72, 0.06)] * 3)
    heights, _ = summary(fuse(people, standing(0.87, 0.87, 0.30), up_sigma_rad=math.radians(2)))
    assert float(heights[2]) == pytest.approx(1.72, abs=0.03)


def test_footing_does_not_change_with_size() -> None:
    up = torch.nn.functional.normalize(torch.tensor([0.1, -1.0, 0.2]), dim=0)
    vertices = torch.randn(2, 50, 3, generator=torch.Generator().manual_seed(0)) * 0.4 + torch.tensor([0.0, 0.5, 4.0])
    small = footing(vertices, torch.tensor([1.6, 1.2]), up, torch.tensor([True, False]))
    large = footing(1.7 * vertices, 1.7 * torch.tensor([1.6, 1.2]), up, torch.tensor([True, False]))
    torch.testing.assert_close(small.drop, large.drop)
    torch.testing.assert_close(small.reach, large.reach)
    assert (small.reach > 1).all()
    # Straight below a level camera.
    point = torch.tensor([[[0.0, 1.5, 3.0]]])
    level = footing(point, torch.tensor([1.5]), torch.tensor([0.0, -1.0, 0.0]), torch.tensor([True]))
    assert float(level.drop) == pytest.approx(1.0)
    assert float(level.reach) == pytest.approx(2.0)


def test_the_doubt_of_a_distance_shrinks_with_that_of_the_stature_but_the_poses_part_stays() -> None:
    told, alone = torch.tensor([0.10, 0.10, 0.10, 0.03]), torch.full((4,), 0.14)
    better = distance_sigma(told, torch.tensor([0.07, 0.001, 0.3, 0.07]), alone)
    torch.testing.assert_close(better, torch.tensor([0.05, POSE_SIGMA, 0.10, 0.03]))
