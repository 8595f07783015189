"""Every metric against a naive twin written with loops, and against what it must be by definition."""

import math

import numpy as np
import pytest
import roma
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from metrichmsr.evaluation import metrics
from metrichmsr.structures import COCO17

B, J = 5, 17


@pytest.fixture
def rng() -> torch.Generator:
    return torch.Generator().manual_seed(11)


def randn(rng: torch.Generator, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=rng, dtype=torch.float64)


def random_mask(rng: torch.Generator, *shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=rng) > 0.3


# ── naive twins ─────────────────────────────────────────────────────────────────────────────────────────────────────


def naive_mpjpe_mm(predicted, target, mask, root):
    p0 = np.mean([predicted[r] for r in root], axis=0) if root else 0
    t0 = np.mean([target[r] for r in root], axis=0) if root else 0
    errors = [math.dist(p - p0, t - t0) for p, t, m in zip(predicted, target, mask, strict=True) if m]
    return 1000 * sum(errors) / len(errors) if errors else math.nan


def naive_pa_mpjpe_mm(predicted, target, mask):
    """Similarity by Horn's quaternions instead of the SVD."""
    p, t = predicted[mask], target[mask]
    if len(p) < 3:
        return math.nan
    p, t = p - p.mean(0), t - t.mean(0)
    S = p.T @ t
    d = S.T - S
    delta = np.array([d[2, 1], d[0, 2], d[1, 0]])
    N = np.empty((4, 4))
    N[0, 0], N[0, 1:], N[1:, 0] = np.trace(S), -delta, -delta
    N[1:, 1:] = S + S.T - np.trace(S) * np.eye(3)
    w, *xyz = np.linalg.eigh(N)[1][:, -1]
    rotation = roma.unitquat_to_rotmat(torch.tensor([*xyz, w])).numpy()
    rotated = p @ rotation.T
    if (rotated * t).sum() < (p @ rotation * t).sum():
        rotated = p @ rotation
    scale = (rotated * t).sum() / (p**2).sum()
    return 1000 * np.mean(np.linalg.norm(scale * rotated - t, axis=1))


def naive_torso(k):
    first, second = math.dist(k[5], k[12]), math.dist(k[6], k[11])
    return second if math.isnan(first) else first


def naive_correct(predicted, target, size, threshold):
    return [math.dist(p, t) <= threshold * size for p, t in zip(predicted, target, strict=True)]


def naive_swap_tolerant(predicted, target, size, threshold):
    best = naive_correct(predicted, target, size, threshold)
    for i, name in enumerate(COCO17):
        if name.startswith("left_"):
            j = COCO17.index(name.replace("left", "right"))
            straight = (math.dist(predicted[i], target[i]), math.dist(predicted[j], target[j]))
            crossed = (math.dist(predicted[j], target[i]), math.dist(predicted[i], target[j]))
            hits = [[d <= threshold * size for d in pair] for pair in (straight, crossed)]
            best[i], best[j] = hits[1] if sum(hits[1]) > sum(hits[0]) else hits[0]
    return best


def naive_oks(predicted, target, area, mask):
    total = [
        math.exp(-(math.dist(p, t) ** 2) / (2 * area * (2 * s) ** 2))
        for p, t, s, m in zip(predicted, target, metrics.COCO_SIGMAS, mask, strict=True)
        if m
    ]
    return sum(total) / len(total) if total else math.nan


# ── 3D ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("root", [None, [11, 12], [0]])
def test_mpjpe_equals_its_naive_twin(rng, root):
    predicted, target = randn(rng, B, J, 3), randn(rng, B, J, 3)
    mask = random_mask(rng, B, J)
    ours = metrics.mpjpe_mm(predicted, target, mask, root=root)
    naive = [
        naive_mpjpe_mm(p.numpy(), t.numpy(), m.numpy(), root) for p, t, m in zip(predicted, target, mask, strict=True)
    ]
    np.testing.assert_allclose(ours, naive)


def test_pa_mpjpe_equals_its_naive_twin(rng):
    target = randn(rng, B, J, 3)
    predicted = target + 0.3 * randn(rng, B, J, 3)
    mask = random_mask(rng, B, J)
    ours = metrics.pa_mpjpe_mm(predicted, target, mask)
    naive = [naive_pa_mpjpe_mm(*(a.numpy() for a in sample)) for sample in zip(predicted, target, mask, strict=True)]
    np.testing.assert_allclose(ours, naive)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), scale=st.floats(0.2, 5))
def test_pa_mpjpe_ignores_every_similarity_and_mpjpe_every_translation(seed, scale):
    rng = torch.Generator().manual_seed(seed)
    target, shift = randn(rng, J, 3), randn(rng, 3)
    rotation = roma.unitquat_to_rotmat(torch.nn.functional.normalize(randn(rng, 4), dim=-1))
    assert metrics.pa_mpjpe_mm(scale * target @ rotation.T + shift, target).item() == pytest.approx(0, abs=1e-6)
    assert metrics.mpjpe_mm(target + shift, target, root=[11, 12]).item() == pytest.approx(0, abs=1e-6)


def test_a_mirrored_body_is_not_aligned_away(rng):
    target = randn(rng, J, 3)
    mirrored = target * torch.tensor([-1.0, 1.0, 1.0], dtype=torch.float64)
    assert metrics.pa_mpjpe_mm(mirrored, target).item() > 50


def test_a_shift_of_a_centimetre_is_ten_millimetres(rng):
    target = randn(rng, J, 3)
    shifted = target + torch.tensor([0.0, 0.01, 0.0])
    assert metrics.mpjpe_mm(shifted, target, root=None).item() == pytest.approx(10)


def test_masked_joints_may_hold_anything(rng):
    predicted, target = randn(rng, J, 3), randn(rng, J, 3)
    mask = torch.ones(J, dtype=torch.bool)
    mask[:5] = False
    expected = (
        metrics.mpjpe_mm(predicted[5:], target[5:], root=[6, 7]),
        metrics.pa_mpjpe_mm(predicted[5:], target[5:]),
    )
    predicted[:5], target[:5] = math.nan, math.inf
    assert metrics.mpjpe_mm(predicted, target, mask, root=[11, 12]).item() == pytest.approx(expected[0].item())
    assert metrics.pa_mpjpe_mm(predicted, target, mask).item() == pytest.approx(expected[1].item())


def test_nothing_to_compare_is_not_a_perfect_score(rng):
    points, mask = randn(rng, J, 3), torch.zeros(J, dtype=torch.bool)
    assert metrics.mpjpe_mm(points, points, mask, root=None).isnan()
    assert metrics.pa_mpjpe_mm(points, points, mask).isnan()
    mask[:2] = True
    assert metrics.pa_mpjpe_mm(points, points, mask).isnan()
    assert metrics.oks(points[:, :2], points[:, :2], torch.tensor(9.0), torch.zeros(J, dtype=torch.bool)).isnan()


def test_pve_equals_its_naive_twin(rng):
    predicted, target = randn(rng, B, 40, 3), randn(rng, B, 40, 3)
    roots = randn(rng, 2, B, 3)
    ours = metrics.pve_mm(predicted, target, *roots)
    naive = [
        1000 * np.mean([math.dist(p - rp, t - rt) for p, t in zip(ps, ts, strict=True)])
        for ps, ts, rp, rt in zip(predicted.numpy(), target.numpy(), *roots.numpy(), strict=True)
    ]
    np.testing.assert_allclose(ours, naive)


# ── 2D ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def labelled_keypoints(rng):
    target = 100 * randn(rng, B, J, 2)
    target[0, 5] = math.nan
    target[1, 12], target[1, 3] = math.nan, math.nan
    target[2, [5, 6]] = math.nan
    return target + 5 * randn(rng, B, J, 2), target


def test_torso_is_one_diagonal_or_the_other(rng):
    _, target = labelled_keypoints(rng)
    np.testing.assert_allclose(metrics.torso_px(target), [naive_torso(k) for k in target.numpy()])
    assert metrics.torso_px(target)[2].isnan()


@pytest.mark.parametrize("threshold", [0.05, 0.2, 0.5])
def test_pck_equals_its_naive_twin(rng, threshold):
    predicted, target = labelled_keypoints(rng)
    torso = metrics.torso_px(target)
    for ours, naive in (
        (metrics.correct_keypoints, naive_correct),
        (metrics.correct_keypoints_swap_tolerant, naive_swap_tolerant),
    ):
        expected = [naive(p, t, s, threshold) for p, t, s in zip(predicted.numpy(), target.numpy(), torso, strict=True)]
        np.testing.assert_array_equal(ours(predicted, target, torso, threshold), expected)


def test_exchanged_sides_are_wrong_for_pck_and_right_for_its_tolerant_form(rng):
    target = 100 * randn(rng, J, 2)
    left, right = (list(side) for side in zip(*metrics.SIDE_PAIRS, strict=True))
    exchanged = target.clone()
    exchanged[left], exchanged[right] = target[right], target[left]
    size = torch.tensor(1.0)
    assert metrics.correct_keypoints(exchanged, target, size, 0.2).tolist() == [True] + [False] * 16
    assert metrics.correct_keypoints_swap_tolerant(exchanged, target, size, 0.2).all()


def test_side_pairs_are_left_then_right():
    assert len(metrics.SIDE_PAIRS) == 8
    for left, right in metrics.SIDE_PAIRS:
        assert COCO17[left].replace("left", "right") == COCO17[right] != COCO17[left]


def test_a_missing_prediction_is_wrong(rng):
    target = 100 * randn(rng, J, 2)
    missing = torch.full_like(target, math.nan)
    assert not metrics.correct_keypoints(missing, target, torch.tensor(50.0), 0.2).any()
    assert not metrics.correct_keypoints_swap_tolerant(missing, target, torch.tensor(50.0), 0.2).any()


def test_oks_equals_its_naive_twin(rng):
    target, area = 100 * randn(rng, B, J, 2), 500 + 4000 * torch.rand(B, generator=rng, dtype=torch.float64)
    predicted, mask = target + 8 * randn(rng, B, J, 2), random_mask(rng, B, J)
    expected = [naive_oks(*(a.numpy() for a in sample)) for sample in zip(predicted, target, area, mask, strict=True)]
    np.testing.assert_allclose(metrics.oks(predicted, target, area, mask), expected)
    assert (metrics.oks(target, target, area) == 1).all()


# ── depth ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_depth_errors_equal_their_naive_twins(rng):
    target = 1 + 4 * torch.rand(B, 6, 7, generator=rng, dtype=torch.float64)
    predicted = target * (0.6 + 0.9 * torch.rand(B, 6, 7, generator=rng, dtype=torch.float64))
    mask = random_mask(rng, B, 6, 7)
    target[0, 0], target[1, 2, 3], predicted[2, 1, 1] = math.nan, 0, math.nan
    mask[2, 1, 1] = False
    ours = metrics.depth_errors(predicted, target, mask)
    for b in range(B):
        pairs = [
            (p, t)
            for p, t, m in zip(
                predicted[b].flatten().tolist(), target[b].flatten().tolist(), mask[b].flatten(), strict=True
            )
            if m and t > 0
        ]
        assert ours.abs_rel[b].item() == pytest.approx(np.mean([abs(p - t) / t for p, t in pairs]))
        assert ours.mae_m[b].item() == pytest.approx(np.mean([abs(p - t) for p, t in pairs]))
        assert ours.rmse_m[b].item() == pytest.approx(np.mean([(p - t) ** 2 for p, t in pairs]) ** 0.5)
        for power, share in enumerate((ours.delta1, ours.delta2, ours.delta3), start=1):
            expected = np.mean([max(p / t, t / p) < 1.25**power for p, t in pairs])
            assert share[b].item() == pytest.approx(expected)


def test_a_hole_in_the_predicted_depth_is_not_forgiven():
    target = torch.full((1, 2, 2), 2.0)
    predicted = target.clone()
    predicted[0, 0, 0] = math.nan
    errors = metrics.depth_errors(predicted, target)
    assert errors.abs_rel.isnan()
    assert errors.rmse_m.isnan()
    assert errors.delta1.item() == errors.delta3.item() == 0.75


# ── scalars ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-100, 100) | st.just(math.nan), max_size=12))
def test_summary_equals_numpy(errors):
    summary, known = metrics.summarise_errors(errors), np.array([e for e in errors if not math.isnan(e)])
    assert summary.n == len(known)
    ours = [summary.mean, summary.median, summary.mean_abs, summary.median_abs]
    if not len(known):
        assert all(map(math.isnan, ours))
    else:
        size = np.abs(known)
        naive = [known.mean(), np.median(known), size.mean(), np.median(size)]
        np.testing.assert_allclose(ours, naive, atol=1e-9)


def test_relative_error_is_positive_when_too_far():
    error = metrics.relative_error_percent(torch.tensor([2.2, 1.8]), torch.tensor([2.0, 2.0]))
    torch.testing.assert_close(error, torch.tensor([10.0, -10.0]))


def test_coverage_counts_errors_within_a_sigma_and_drops_unknown_ones():
    assert metrics.coverage_percent([0.1, -0.3, 0.2, math.nan, 5], [0.2, 0.2, 0.2, 0.2, math.nan]) == pytest.approx(
        200 / 3
    )
    assert math.isnan(metrics.coverage_percent([], []))


def test_honest_normal_sigmas_cover_68_percent(rng):
    sigma = 0.1 + torch.rand(20_000, generator=rng, dtype=torch.float64)
    assert metrics.coverage_percent(sigma * randn(rng, 20_000), sigma) == pytest.approx(68.3, abs=1)


def test_bootstrap_interval_is_reproducible_and_matches_theory(rng):
    counts = torch.full((400,), 12.0, dtype=torch.float64)
    hits = 12 * (torch.rand(400, generator=rng, dtype=torch.float64) < 0.7).double()
    low, high = metrics.bootstrap_interval(hits, counts)
    assert (low, high) == metrics.bootstrap_interval(hits, counts)
    share = (hits.sum() / counts.sum()).item()
    half = 1.96 * math.sqrt(share * (1 - share) / 400)
    assert low == pytest.approx(share - half, abs=0.01)
    assert high == pytest.approx(share + half, abs=0.01)
