"""Landmarks of photographs: hips and knees go up along their limbs, in the picture and in 3D, whichever way is up."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from metrichmsr.hmr.photographed import HIPS_UP, KNEES_UP, as_rendered
from metrichmsr.people.landmarks import Landmarks
from metrichmsr.structures import BLAZEPOSE33


def at(name: str) -> list[int]:
    return [BLAZEPOSE33.index(f"{side}_{name}") for side in ("left", "right")]


@pytest.fixture
def standing() -> Landmarks:
    """One person, of whom shoulders are at 0, hips at 100, knees at 180, ankles at 260 pixels below the first."""
    xy = np.random.default_rng(0).normal(size=(1, 33, 2))
    for name, y in (("shoulder", 0), ("hip", 100), ("knee", 180), ("ankle", 260)):
        xy[0, at(name)] = [[20.0, y], [-20.0, y]]
    nothing = np.zeros((1, 33))
    world = np.concatenate([xy / 200, np.zeros((1, 33, 1))], axis=-1)
    world -= world[:, at("hip")].mean(1, keepdims=True)
    return Landmarks(
        xy=xy, z=nothing, confidence=nothing, sigma_px=nothing, visibility=nothing, presence=nothing, world=world,
        score=np.zeros(1), agreement=np.zeros(1), mask_logits=np.zeros((1, 256, 256)), crop_from_image=np.eye(3)[None],
        features=np.zeros((1, 192, 16, 16)), grid32=np.zeros((1, 56, 32, 32)),
    )  # fmt: skip


def test_hips_and_knees_go_up_and_nothing_else_moves(standing: Landmarks) -> None:
    after = as_rendered(standing)
    np.testing.assert_allclose(after.xy[0, at("hip"), 1], 100 - 100 * HIPS_UP)
    np.testing.assert_allclose(after.xy[0, at("knee"), 1], 180 - 80 * KNEES_UP)
    moved = at("hip") + at("knee")
    others = [i for i in range(33) if i not in moved]
    np.testing.assert_array_equal(after.xy[:, others], standing.xy[:, others])
    np.testing.assert_allclose(after.xy[..., 0], standing.xy[..., 0])
    np.testing.assert_allclose(after.world[0, at("hip")].mean(0), 0, atol=1e-12)
    before = standing.world[0, at("shoulder")].mean(0) - standing.world[0, at("hip")].mean(0)
    np.testing.assert_allclose(after.world[0, at("shoulder")].mean(0), (1 - HIPS_UP) * before)


def test_it_turns_and_grows_with_the_picture(standing: Landmarks) -> None:
    turn = 3.0 * np.array([[0.6, -0.8], [0.8, 0.6]])
    turned = replace(standing, xy=standing.xy @ turn.T + 500)
    np.testing.assert_allclose(as_rendered(turned).xy, as_rendered(standing).xy @ turn.T + 500)
