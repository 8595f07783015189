"""The fit as laws: what it must do on people whose truth is known."""

import dataclasses

import numpy as np
import pytest
import roma
import torch

from metrichmsr.bodies import load_body_model
from metrichmsr.bodies.shape_prior import ShapePrior
from metrichmsr.geometry import intrinsics, project
from metrichmsr.hmr.estimates import BodyEstimates
from metrichmsr.hmr.fitting.evidence import DISTANCE_MAP_SIZE, OUTLINE_POINTS, Evidence, mask_evidence, sample_map
from metrichmsr.hmr.fitting.expected import JOINT_OF_33
from metrichmsr.hmr.fitting.fit import FitOptions, Fitter
from metrichmsr.hmr.fitting.objective import Objective, Weights, geman_mcclure
from metrichmsr.hmr.fitting.seen_landmarks import SeenLandmarks
from metrichmsr.hmr.fitting.solver import minimise
from metrichmsr.hmr.fitting.starts import place_on_rays
from metrichmsr.hmr.fitting.state import FitState, decode_position, encode_position, left_jacobian
from metrichmsr.hmr.pose_prior import PosePrior
from metrichmsr.structures import BLAZEPOSE33, COCO17

TILT = torch.tensor([[1.0, 0, 0], [0, 0, -1.0], [0, 1.0, 0]])  # body frame (z up, facing −y) to a level camera


@pytest.fixture(scope="module")
def fitter() -> Fitter:
    body = load_body_model("anny")
    return Fitter(
        body=body,
        pose_prior=PosePrior.load(),
        shape_prior=ShapePrior.load(),
        seen=SeenLandmarks.load(body),
        options=FitOptions(surface_points=40),
    )


def make_state(fitter: Fitter, n: int, seed: int) -> FitState:
    """People of the pose prior, upright in front of a level camera, two to six metres away."""
    rng = torch.Generator().manual_seed(seed)
    coefficients, up = fitter.posed.prior.sample(8 * n, rng)
    coefficients = coefficients[up[:, 2] > 0.9][:n]
    yaw = 0.8 * torch.randn(n, generator=rng)
    heading = roma.rotvec_to_rotmat(torch.stack([0 * yaw, yaw, 0 * yaw], -1))
    depth = 2 + 4 * torch.rand(n, generator=rng)
    position = torch.stack([0.2 * torch.randn(n, generator=rng), 0 * yaw, depth.log()], -1)
    return FitState(
        coefficients=coefficients,
        root=heading @ TILT,
        shape=fitter.body.default_shape().expand(n, -1),
        position=position,
        up=torch.tensor([0.0, -1.0, 0.0]).expand(n, 3),
    )


def make_evidence(fitter: Fitter, state: FitState, *, focal: float = 1000.0, noise_px: float = 0.0) -> Evidence:
    """Exact landmarks of those people, and the true 3D as the landmark network's guess."""
    n = len(state.shape)
    K = intrinsics(focal, focal, 640, 480, dtype=torch.float32).expand(n, 3, 3)
    points = fitter.posed.points(state).landmarks_m
    pixels = project(points, K)
    pixels = pixels + noise_px * torch.randn(pixels.shape, generator=torch.Generator().manual_seed(1))
    size = (pixels.amax(1) - pixels.amin(1)).amax(-1)
    nothing = torch.full((n,), torch.nan)
    return Evidence(
        K=K,
        landmarks_px=pixels,
        landmark_sigma_px=(0.015 * size)[:, None].expand(n, 33),
        seen=torch.ones(n, 33, dtype=torch.bool),
        size_px=size,
        world_m=points - points[:, 23:25].mean(1, keepdim=True),
        score=torch.ones(n),
        outside_map=torch.zeros(n, DISTANCE_MAP_SIZE, DISTANCE_MAP_SIZE),
        map_from_image=torch.eye(3).expand(n, 3, 3),
        outline_px=torch.full((n, OUTLINE_POINTS, 2), torch.nan),
        outline_normal=torch.full((n, OUTLINE_POINTS, 2), torch.nan),
        has_mask=torch.zeros(n, dtype=torch.bool),
        known_height_m=nothing,
        known_depth_m=nothing,
        expected_m=torch.zeros(n, 33, 3),
        expected_sigma_m=torch.full((n, 33), torch.inf),
    )


def test_jacobian_is_the_derivative_of_the_points(fitter):
    """Forward differences through the body itself, unknown by unknown, at poses of the prior."""
    state = make_state(fitter, 2, seed=0)
    posed = fitter.posed
    points = posed.points(state)
    eps = 2e-3
    for unknown in range(posed.layout.size):
        step = torch.zeros(2, posed.layout.size)
        step[:, unknown] = eps
        moved = posed.points(posed.moved(state, step))
        numeric = (moved.landmarks_m - points.landmarks_m) / eps
        # Skin near joints blends; the closed form takes it as rigid. Joints and shape must agree to rounding.
        scale = max(numeric.abs().max().item(), 0.1)
        assert (numeric - points.landmarks_by[..., unknown]).abs().max().item() < 0.15 * scale, unknown
        height = (moved.height_m - points.height_m) / eps
        torch.testing.assert_close(height, points.height_by[:, unknown], atol=2e-3, rtol=2e-2)


def test_held_shape_changes_nothing_but_its_own_columns(fitter):
    state = make_state(fitter, 2, 4)
    at, whole, held = (
        fitter.posed.layout,
        fitter.posed.points(state),
        fitter.posed.points(state, held=fitter.posed.body.shaped(state.shape)),
    )
    others = torch.ones(at.size, dtype=torch.bool)
    others[at.shape] = False
    for name in ("landmarks_m", "surface_m", "height_m"):
        torch.testing.assert_close(getattr(held, name), getattr(whole, name))
    for name in ("landmarks_by", "surface_by", "height_by"):
        torch.testing.assert_close(getattr(held, name)[..., others], getattr(whole, name)[..., others])
        assert not getattr(held, name)[..., at.shape].any()
    objective = Objective(
        fitter.posed, fitter.shape_prior, make_evidence(fitter, state, noise_px=5.0), Weights(), held_shape=state.shape
    )
    moved, _ = minimise(objective, state, iterations=3)
    torch.testing.assert_close(moved.shape, state.shape, rtol=0, atol=0)
    assert bool((moved.coefficients != state.coefficients).any())


def test_energy_gradient_is_the_derivative_of_the_energy(fitter):
    state = make_state(fitter, 2, seed=4)
    evidence = make_evidence(fitter, state, noise_px=6.0)
    expected = evidence.world_m + 0.1 * torch.randn(2, 33, 3, generator=torch.Generator().manual_seed(2))
    evidence = dataclasses.replace(evidence, expected_m=expected, expected_sigma_m=torch.full((2, 33), 0.05))
    objective = Objective(fitter.posed, fitter.shape_prior, evidence, Weights(world=0.0))
    normal = objective.normal(state)
    at = fitter.posed.layout
    for unknown in (0, 3, 11, at.root.start, at.root.start + 1, at.position.start, at.position.stop - 1, at.up.start):
        step = torch.zeros(2, at.size)
        eps = 2e-3
        step[:, unknown] = eps
        above = objective.normal(fitter.posed.moved(state, step)).energy
        below = objective.normal(fitter.posed.moved(state, -step)).energy
        numeric = (above - below) / (2 * eps)
        assert torch.allclose(numeric, normal.gradient[:, unknown], rtol=0.12, atol=0.5), (unknown, numeric)


def test_exact_landmarks_are_explained(fitter):
    state = make_state(fitter, 3, seed=1)
    evidence = make_evidence(fitter, state)
    result = fitter(evidence)
    error = (project(fitter.posed.seen(result.body), evidence.K) - evidence.landmarks_px).norm(dim=-1)
    assert (error.median(1).values < 0.02 * evidence.size_px).all()


def test_pose_and_place_come_back(fitter):
    """With stature known, everything is determined: joints within centimetres, distance within two per cent."""
    state = make_state(fitter, 3, seed=2)
    truth = fitter.body(fitter.posed.pose_matrices(state), state.shape, state.translation_m)
    evidence = dataclasses.replace(make_evidence(fitter, state), known_height_m=truth.height_m)
    result = fitter(evidence)
    torch.testing.assert_close(result.body.height_m, truth.height_m, atol=0.005, rtol=0)
    distance_error = result.state.translation_m.norm(dim=-1) / state.translation_m.norm(dim=-1) - 1
    assert distance_error.abs().max() < 0.03
    limbs = [5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]
    relative = result.body.coco17_m - result.body.joints_m[:, :1]
    expected = truth.coco17_m - truth.joints_m[:, :1]
    assert (relative - expected)[:, limbs].norm(dim=-1).mean() < 0.06


def test_longer_lens_same_picture_means_further_away(fitter):
    """Focal twins: the same pixels through twice the focal length lie about twice as far."""
    state = make_state(fitter, 2, seed=3)
    near = make_evidence(fitter, state, focal=900.0)
    K = near.K.clone()
    K[:, 0, 0] *= 2
    K[:, 1, 1] *= 2
    first, second = fitter(near), fitter(dataclasses.replace(near, K=K))
    ratio = second.state.translation_m[:, 2] / first.state.translation_m[:, 2]
    assert ((ratio > 1.85) & (ratio < 2.2)).all()


def test_without_a_known_length_the_doubt_is_stature_s(fitter):
    """One picture leaves scale open: distance is as doubtful as stature, and a known height closes both."""
    state = make_state(fitter, 2, seed=5)
    evidence = make_evidence(fitter, state)
    free = fitter(evidence)
    relative = free.height_std_m / free.body.height_m
    assert ((free.log_depth_std > 0.02) & (free.log_depth_std < 0.2)).all()
    assert ((free.log_depth_std / relative > 0.7) & (free.log_depth_std / relative < 1.5)).all()
    known = fitter(dataclasses.replace(evidence, known_height_m=free.body.height_m))
    assert (known.height_std_m < 0.005).all()
    assert (known.log_depth_std < 0.75 * free.log_depth_std).all()


def test_known_depth_is_kept(fitter):
    state = make_state(fitter, 2, seed=6)
    depth = state.translation_m[:, 2]
    result = fitter(dataclasses.replace(make_evidence(fitter, state), known_depth_m=depth))
    torch.testing.assert_close(result.state.translation_m[:, 2], depth, rtol=0.005, atol=0)


def test_wrong_landmarks_lose_their_say(fitter):
    state = make_state(fitter, 1, seed=7)
    clean = make_evidence(fitter, state)
    pixels = clean.landmarks_px.clone()
    pixels[:, 15] += 0.6 * clean.size_px[:, None]  # a wrist on somebody else
    result = fitter(dataclasses.replace(clean, landmarks_px=pixels))
    others = [i for i in range(11, 29) if i not in (13, 15, 17, 19, 21)]
    error = (project(fitter.posed.seen(result.body), clean.K) - clean.landmarks_px).norm(dim=-1)[:, others]
    assert error.median() < 0.03 * clean.size_px[0]


def test_people_do_not_influence_each_other(fitter):
    state = make_state(fitter, 3, seed=8)
    evidence = make_evidence(fitter, state)
    together = fitter(evidence)
    alone = fitter(evidence[torch.tensor([1])])
    torch.testing.assert_close(together.state.translation_m[1], alone.state.translation_m[0], atol=0.02, rtol=0.01)


def test_unseen_people_get_an_answer_too(fitter):
    """Nothing seen at all: finite numbers and a large doubt, no crash."""
    evidence = make_evidence(fitter, make_state(fitter, 1, seed=9))
    blind = dataclasses.replace(evidence, landmark_sigma_px=torch.full((1, 33), torch.inf))
    result = fitter(blind)
    assert result.body.vertices_m.isfinite().all()
    assert result.log_depth_std.item() > 0.1


def test_placing_is_exact_for_exact_landmarks(fitter):
    state = make_state(fitter, 2, seed=10)
    evidence = make_evidence(fitter, state)
    relative = fitter.posed.points(state).landmarks_m - state.translation_m[:, None]
    placed = place_on_rays(relative[:, None], evidence)[:, 0]
    torch.testing.assert_close(placed, state.translation_m, atol=1e-2, rtol=1e-3)


def test_position_code_is_a_round_trip():
    points = torch.tensor([[0.3, -0.2, 4.0], [-2.0, 1.0, 0.7]])
    torch.testing.assert_close(decode_position(encode_position(points)), points)


def test_left_jacobian_against_differences():
    rotvec = torch.tensor([[0.3, -1.1, 0.4], [0.0, 0.0, 0.0], [2.5, 0.2, -0.1]], dtype=torch.float64)
    step = 1e-6 * torch.randn(3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    exact = roma.rotvec_to_rotmat(rotvec + step)
    turn = (left_jacobian(rotvec) @ step[..., None]).squeeze(-1)
    torch.testing.assert_close(roma.rotvec_to_rotmat(turn) @ roma.rotvec_to_rotmat(rotvec), exact, atol=1e-10, rtol=0)


def test_robust_energy_and_weight_belong_together():
    squared = torch.linspace(0.0, 60.0, 50, dtype=torch.float64, requires_grad=True)
    energy, weight = geman_mcclure(squared, 3.0)
    (slope,) = torch.autograd.grad(energy.sum(), squared)
    torch.testing.assert_close(2 * slope, weight)
    assert energy.max() < 0.5 * 9.0  # no landmark can cost more than this


def disc(radius: float) -> np.ndarray:
    y, x = np.mgrid[:256, :256] + 0.5
    return 1 / (1 + np.exp(-(radius - np.hypot(x - 128, y - 128)) / 1.5))


def test_mask_outline_and_distances_of_a_disc():
    image_from_crop = np.array([[2.0, 0, 100], [0, 2.0, 50], [0, 0, 1]])
    found = mask_evidence(disc(60.0), image_from_crop, (2000, 2000))
    center = np.array([2 * 128 + 100, 2 * 128 + 50])
    assert found.usable
    np.testing.assert_allclose(np.linalg.norm(found.outline_px - center, axis=1), 120, atol=5)
    outward = (found.outline_px - center) / np.linalg.norm(found.outline_px - center, axis=1, keepdims=True)
    assert ((found.outline_normal * outward).sum(1) > 0.95).all()
    at = found.map_from_image @ np.array([center[0] + 200, center[1], 1.0])
    value, gradient = sample_map(torch.tensor(found.outside_map)[None], torch.tensor(at[:2])[None, None].float())
    assert value.item() == pytest.approx((200 - 120) / 4, abs=1.0)  # cells of four image pixels
    assert gradient[0, 0, 0].item() == pytest.approx(1.0, abs=0.1)


def test_no_mask_is_no_evidence():
    assert not mask_evidence(np.zeros((256, 256)), np.eye(3), (256, 256)).usable


def test_outline_on_the_picture_s_border_does_not_count():
    """A person cut off by the picture ends at its border, the body does not."""
    found = mask_evidence(disc(60.0), np.eye(3), (128, 256))
    points = found.outline_px[np.isfinite(found.outline_px).all(1)]
    assert (points[:, 0] < 128 - 2).all()


def test_body_outside_its_mask_is_pulled_in(fitter):
    """The mask's gradient points back inside."""
    state = make_state(fitter, 1, seed=11)
    evidence = make_evidence(fitter, state)
    mask = mask_evidence(disc(40.0), np.array([[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1]]), (2000, 2000))
    with_mask = dataclasses.replace(
        evidence,
        outside_map=torch.tensor(mask.outside_map)[None],
        map_from_image=torch.tensor(mask.map_from_image)[None].float(),
        has_mask=torch.tensor([True]),
        landmark_sigma_px=torch.full((1, 33), torch.inf),
    )
    # Put the person beside the mask, at its right, and look where the energy falls.
    position = state.position.clone()
    position[:, :2] = (torch.tensor([[190.0, 128.0]]) - evidence.K[:, :2, 2]) / 1000.0
    position[:, 2] = np.log(20.0)
    moved = dataclasses.replace(state, position=position)
    weights = Weights(landmarks=0.0, world=0.0, pose_prior=0.0, shape_prior=0.0, outside=1.0, outline=0.0)
    normal = Objective(fitter.posed, fitter.shape_prior, with_mask, weights).normal(moved)
    assert normal.gradient[0, fitter.posed.layout.position.start] > 0


def test_contradicting_landmarks_do_not_send_the_body_to_infinity(fitter: Fitter) -> None:
    evidence = make_evidence(fitter, make_state(fitter, 4, 3))
    low, high = evidence.landmarks_px.amin(1, keepdim=True), evidence.landmarks_px.amax(1, keepdim=True)
    noise = torch.rand(evidence.landmarks_px.shape, generator=torch.Generator().manual_seed(2))
    nonsense = dataclasses.replace(evidence, landmarks_px=low + noise * (high - low))
    depth = fitter(nonsense).state.translation_m[:, 2]
    assert (depth < 3 * 2.0 * nonsense.K[:, 0, 0] / nonsense.size_px).all()
    assert (depth > 0).all()


@pytest.fixture(scope="module")
def guessed(fitter):
    """Four people, evidence of them, and the answer of a network some 6 cm off, as it says."""
    state = make_state(fitter, 4, seed=11)
    noise = 0.04 * torch.randn(state.coefficients.shape, generator=torch.Generator().manual_seed(3))
    wrong = dataclasses.replace(state, coefficients=state.coefficients + noise)
    pose = fitter.posed.pose_matrices(wrong)
    body = fitter.body(pose, wrong.shape, wrong.translation_m)
    doubt = torch.full((4,), 0.05)
    answer = BodyEstimates(body, pose, wrong.shape, doubt, doubt, torch.full((4, 17), 0.06))
    truth = fitter.body(fitter.posed.pose_matrices(state), state.shape, state.translation_m)
    return make_evidence(fitter, state), answer, truth


def joint_errors(body, truth) -> torch.Tensor:
    return (body.coco17_m - truth.coco17_m).norm(dim=-1)


def test_polishing_brings_an_answer_nearer_and_holds_its_size(fitter, guessed):
    evidence, answer, truth = guessed
    polished = fitter.refine(evidence, answer)
    before, after = (joint_errors(a.body, truth).mean(1) for a in (answer, polished))
    assert (after < 0.9 * before).all()
    torch.testing.assert_close(polished.body.height_m, answer.body.height_m, atol=0.005, rtol=0)
    torch.testing.assert_close(polished.body.joints_m[:, 0, 2], answer.body.joints_m[:, 0, 2], rtol=5e-3, atol=0)
    assert polished.height_std_m is answer.height_std_m


def test_polishing_stays_near_an_answer_where_landmarks_are_seen_badly(fitter, guessed):
    """One wrist is marked a third of the person away: only what is expected keeps the arm where it was."""
    evidence, answer, _ = guessed
    wrist, left_wrist = 15, COCO17.index("left_wrist")
    pixels = evidence.landmarks_px.clone()
    pixels[:, wrist, 0] += 0.3 * evidence.size_px
    sigma = evidence.landmark_sigma_px.clone()
    sigma[:, wrist] = 0.08 * evidence.size_px  # a doubtful one, but no outlier
    wrong = dataclasses.replace(evidence, landmarks_px=pixels, landmark_sigma_px=sigma)
    alone = dataclasses.replace(answer, joint_std_m=None)

    def moved_by_the_mark(said: BodyEstimates, **seen: torch.Tensor) -> float:
        with_it, without = (
            fitter.refine(dataclasses.replace(marks, **seen), said).body.coco17_m[:, left_wrist]
            for marks in (wrong, evidence)
        )
        return float((with_it - without).norm(dim=-1).mean())

    badly = torch.full((4,), 0.4)
    kept, drawn, pulled = moved_by_the_mark(answer, score=badly), moved_by_the_mark(answer), moved_by_the_mark(alone)
    assert kept < 0.5 * pulled, (kept, drawn, pulled)
    assert kept < drawn < pulled


def test_many_are_polished_as_if_alone(fitter, guessed):
    evidence, answer, _ = guessed
    index = torch.arange(4).repeat(3)  # more than are polished at once
    fields = {f.name: getattr(answer, f.name) for f in dataclasses.fields(answer) if f.name != "body"}
    body = {f.name: getattr(answer.body, f.name)[index] for f in dataclasses.fields(answer.body)}
    many = BodyEstimates(type(answer.body)(**body), **{name: value[index] for name, value in fields.items()})
    few, all_of_them = fitter.refine(evidence, answer), fitter.refine(evidence[index], many)
    torch.testing.assert_close(all_of_them.body.joints_m, few.body.joints_m[index], atol=2e-3, rtol=0)


def test_landmarks_share_the_doubt_of_the_joint_that_carries_them():
    pairs = {BLAZEPOSE33[i]: COCO17[joint] for i, joint in enumerate(JOINT_OF_33)}
    assert pairs["left_thumb"] == "left_wrist"
    assert pairs["right_heel"] == "right_ankle"
    assert pairs["mouth_left"] == "nose"
    assert pairs["right_eye_outer"] == "right_eye"
    assert all(pairs[name] == name for name in COCO17)
