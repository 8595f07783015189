"""Heat maps and the joining of two networks, on made-up maps and points."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from metrichmsr.people.find import joint_score
from metrichmsr.people.fusion import agreement, join_keypoints
from metrichmsr.people.heatmaps import MIN_PEAK, SIGMA_FLOOR, TARGET_SIGMA, refine, sigma_of_peak


def gaussian_map(x: float, y: float, height: float = 0.95, sigma: float = TARGET_SIGMA) -> torch.Tensor:
    """Logits of a Gaussian around (x, y) crop pixels; cell (i, j) stands for (4j, 4i)."""
    rows, columns = torch.meshgrid(4.0 * torch.arange(64), 4.0 * torch.arange(64), indexing="ij")
    heat = height * torch.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * sigma**2))
    return torch.logit(heat.clamp(1e-6, 1 - 1e-6))[None, None]


@given(x=st.floats(30, 226), y=st.floats(30, 226), off_x=st.floats(-6, 6), off_y=st.floats(-6, 6))
@settings(max_examples=40, deadline=None)
def test_refinement_finds_the_center_of_the_map(x: float, y: float, off_x: float, off_y: float) -> None:
    refined = refine(torch.tensor([[[x + off_x, y + off_y]]]), gaussian_map(x, y))
    before = np.hypot(off_x, off_y)
    after = (refined.xy[0, 0] - torch.tensor([x, y])).norm().item()
    assert after < max(0.5 * before, 0.6)
    assert refined.peak[0, 0] > 0.7


def test_low_maps_refine_nothing() -> None:
    xy = torch.tensor([[[100.0, 100.0]]])
    refined = refine(xy, gaussian_map(104, 98, height=MIN_PEAK - 0.1))
    torch.testing.assert_close(refined.xy, xy)
    assert refined.peak[0, 0] < MIN_PEAK


@pytest.mark.parametrize("place", [(-500.0, 20.0), (0.0, 0.0), (256.0, 256.0), (300.0, 1e6)])
def test_landmarks_at_and_beyond_the_edge(place: tuple[float, float]) -> None:
    xy = torch.tensor([[place]])
    refined = refine(xy, gaussian_map(128, 128))
    torch.testing.assert_close(refined.xy, xy)
    assert refined.peak[0, 0] < 1e-3


def test_sigma_follows_from_blurring_the_target() -> None:
    """Average the training target over an uncertain place; its height gives the uncertainty back."""
    rng = np.random.default_rng(0)
    for sigma in (2.0, 5.0, 9.0):
        places = rng.normal(0, sigma, (200_000, 2))
        height = np.exp(-(places**2).sum(1) / (2 * TARGET_SIGMA**2)).mean()
        expected = np.hypot(2 * sigma, SIGMA_FLOOR)
        assert sigma_of_peak(np.array(height)) == pytest.approx(expected, rel=0.02)


def test_sigma_falls_with_the_peak_and_stays_finite() -> None:
    sigma = sigma_of_peak(np.array([0.0, 0.2, 0.5, 0.9, 1.0]))
    assert (np.diff(sigma) < 0).all()
    assert np.isfinite(sigma).all()
    assert sigma[-1] == SIGMA_FLOOR


def points(*, confidence: float, shift: float = 0.0) -> np.ndarray:
    places = np.random.default_rng(1).uniform(0, 100, (1, 17, 2)) + shift
    return np.concatenate([places, np.full((1, 17, 1), confidence)], axis=-1)


def test_joining_equal_keypoints_changes_nothing() -> None:
    theirs = points(confidence=0.8)
    joined = join_keypoints(
        theirs[..., :2], np.full((1, 17), 0.8), np.full((1, 17), 2.0), theirs, np.full((1, 17), 2.0)
    )
    np.testing.assert_allclose(joined.xy, theirs[..., :2])
    np.testing.assert_allclose(joined.sigma_px, 2)


def test_joining_with_nothing_changes_nothing() -> None:
    ours, theirs = points(confidence=0.6), points(confidence=0.0, shift=50)
    joined = join_keypoints(ours[..., :2], ours[..., 2], np.full((1, 17), 3.0), theirs, np.full((1, 17), 99.0))
    np.testing.assert_allclose(joined.xy, ours[..., :2])
    np.testing.assert_allclose(joined.confidence, 0.6)
    np.testing.assert_allclose(joined.sigma_px, 3)


def test_disagreement_is_doubt_and_the_surer_one_wins() -> None:
    ours, theirs = points(confidence=0.9), points(confidence=0.4, shift=30)
    sigma = np.full((1, 17), 2.0)
    joined = join_keypoints(ours[..., :2], ours[..., 2], sigma, theirs, sigma)
    moved = np.linalg.norm(joined.xy - ours[..., :2], axis=-1)
    assert (moved < 0.1 * 30 * np.sqrt(2)).all()
    assert (joined.sigma_px > 2.5).all()
    even = join_keypoints(ours[..., :2], np.full((1, 17), 0.28), sigma, theirs, sigma)
    np.testing.assert_allclose(even.xy, (ours[..., :2] + theirs[..., :2]) / 2, atol=0.1)
    assert (even.sigma_px > joined.sigma_px).all()


def test_agreement_falls_with_distance_and_ignores_unsure_keypoints() -> None:
    ours, size = points(confidence=0.9), np.array([300.0])
    assert agreement(ours[..., :2], ours, size)[0] == pytest.approx(1)
    near, far = (agreement(ours[..., :2] + d, ours, size)[0] for d in (5, 40))
    assert 1 > near > far
    wrong = ours.copy()
    wrong[:, 9:, :2] += 500
    wrong[:, 9:, 2] = 0
    assert agreement(ours[..., :2], wrong, size)[0] == pytest.approx(1)


def test_joint_score_needs_both() -> None:
    faint_but_sure, chair, plain = joint_score(np.array([0.12, 0.25, 0.6]), np.array([0.7, 0.2, 0.8]))
    assert faint_but_sure > 0.27 > chair
    assert plain > faint_but_sure
