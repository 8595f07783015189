"""Training: losses are zero at the truth, a run overfits a batch, resumes to the bit, and stops where it diverges."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import roma
import torch

pytest.importorskip("accelerate")

from metrichmsr.bodies.anny import AnnyBody
from metrichmsr.errors import InputError, ModelFileError
from metrichmsr.hmr.body_parameters import SIZES, BodyParameters
from metrichmsr.hmr.checkpoint import load_network, save_network
from metrichmsr.hmr.config import SMALL
from metrichmsr.hmr.fitting.seen_landmarks import SeenLandmarks
from metrichmsr.hmr.heads import HeadOutput, crop_focal
from metrichmsr.hmr.network import NetworkOutput, build
from metrichmsr.synthetic.crowd_sampler import CrowdSampler
from metrichmsr.training.augment import misproportion, other_gains, spoil, wrong_intrinsics
from metrichmsr.training.config import TrainConfig
from metrichmsr.training.landmark_errors import LandmarkErrors, true_landmarks
from metrichmsr.training.losses import age_loss, all_terms, laplace_nll
from metrichmsr.training.samples import Samples, batches, frequencies, mixed, read_samples, taken, write_samples
from metrichmsr.training.simulated import SimulatedLandmarks
from metrichmsr.training.trainer import BEST, LOG, STATE, DivergedError, Trainer, training_body
from metrichmsr.training.validation import validate

TINY = replace(SMALL, width=24, heads=2, hidden=48, queries=2, slots=2, patch_layers=1, global_layers=1)
CONFIG = TrainConfig(
    network=TINY, steps=6, batch=8, warmup=2, vertices=60, validate_every=3, log_every=2, precision="no", ema=0.5
)
UNSPOILED = replace(
    CONFIG, landmark_swaps=0.0, landmark_misses=0.0, landmark_noise=0.0, landmark_proportions=0.0, world_turn_deg=0.0
)


@pytest.fixture(scope="module")
def samples() -> Samples:
    return SimulatedLandmarks.load(None).sample(24, torch.Generator().manual_seed(0))


def source(samples: Samples):
    def from_step(step: int) -> Iterator[Samples]:
        return batches(samples, CONFIG.batch, seed=CONFIG.seed, start=step)

    return from_step


def test_losses_are_zero_at_the_truth(samples: Samples) -> None:
    parameters = training_body(CONFIG)
    truth = samples.truth(parameters)
    pixel = (truth.K_crop @ truth.translation_m[..., None]).squeeze(-1)
    extent = truth.translation_m[:, 2] * 256 / crop_focal(truth.K_crop)
    n = len(samples)
    heads = HeadOutput(
        rotations=truth.rotations,
        shape=truth.shape,
        place=pixel[:, :2] / pixel[:, 2:] / 128 - 1,
        log_extent=extent.log(),
        xyz_m=None,
        log_sigma_distance=torch.zeros(n),
        log_sigma_height=torch.zeros(n),
        log_sigma_joints=torch.zeros(n, 17),
    )
    network = build(TINY)
    bodies = network.place(heads, truth.K_crop, parameters)
    terms = all_terms(NetworkOutput(heads, (), ()), bodies, truth, crop_size=256, age=1).numbers()
    assert all(abs(value) < 2e-3 for value in terms.values()), terms
    assert torch.allclose(bodies.translation_m, samples.translation_m, atol=1e-3)


def test_likelihood_is_least_where_sigma_is_the_error() -> None:
    error = torch.tensor([0.3])
    sigmas = torch.linspace(-4, 2, 601)
    best = sigmas[laplace_nll(error, sigmas).argmin()].exp()
    assert best == pytest.approx(0.3, rel=0.02)


def test_wrong_intrinsics_scale_the_focal_length_alone(samples: Samples) -> None:
    wrong = wrong_intrinsics(samples.K_crop, 0.1, torch.Generator().manual_seed(0))
    factor = crop_focal(wrong).div(crop_focal(samples.K_crop))
    assert torch.allclose(wrong[..., 2], samples.K_crop[..., 2])
    assert 0.03 < factor.log().std() < 0.2


def test_proportions_change_and_places_stay(samples: Samples) -> None:
    before = samples.landmarks
    after = misproportion(before, 0.2, torch.Generator().manual_seed(0))
    face, shoulders, elbows, wrist, thumb, hips = slice(0, 11), [11, 12], [13, 14], 15, 21, [23, 24]

    def width(landmarks: torch.Tensor, columns: slice) -> torch.Tensor:
        part = landmarks[:, face, columns]
        return (part - part.mean(1, keepdim=True)).norm(dim=-1).mean(1)

    in_picture = width(after, slice(0, 2)) / width(before, slice(0, 2))
    in_space = width(after, slice(6, 9)) / width(before, slice(6, 9))
    assert 0.1 < in_picture.log().std() < 0.3
    torch.testing.assert_close(in_picture, in_space, rtol=1e-3, atol=1e-4)
    assert torch.equal(after[:, elbows, :2], before[:, elbows, :2])
    trunk = [(at[:, shoulders, :2].mean(1) - at[:, hips, :2].mean(1)).norm(dim=-1) for at in (before, after)]
    assert 0.1 < (trunk[1] / trunk[0]).log().std() < 0.3, "hips and shoulders are marked elsewhere along the trunk"
    reach = [(landmarks[:, thumb] - landmarks[:, wrist])[:, :2].norm(dim=-1) for landmarks in (before, after)]
    assert not torch.allclose(*reach, rtol=0.05)
    assert torch.equal(after[..., 2:6], before[..., 2:6]), "how sure it is of them"
    torch.testing.assert_close(misproportion(before, 0.0, torch.Generator()), before, atol=1e-6, rtol=0)


def test_gains_are_of_channels() -> None:
    features = torch.rand(4, 192, 16, 16) + 0.5
    ratio = other_gains(features, 0.2, torch.Generator().manual_seed(0)) / features
    torch.testing.assert_close(ratio, ratio[..., :1, :1].expand_as(ratio))
    assert ratio[..., 0, 0].log().std() == pytest.approx(0.2, rel=0.2)


def test_3d_landmarks_turn_as_a_whole(samples: Samples) -> None:
    config = replace(UNSPOILED, world_turn_deg=20.0)
    before, after = (s.landmarks[..., 6:] for s in (samples, spoil(samples, config, torch.Generator().manual_seed(0))))
    assert torch.allclose(
        torch.linalg.norm(before[:, :, None] - before[:, None], dim=-1),
        torch.linalg.norm(after[:, :, None] - after[:, None], dim=-1),
        atol=1e-4,
    )
    assert not torch.allclose(before, after, atol=0.02)
    still = spoil(samples, replace(config, world_turn_deg=0.0), torch.Generator().manual_seed(0))
    assert torch.allclose(still.landmarks, samples.landmarks, atol=1e-6)


def test_spoiled_landmarks_stay_landmarks(samples: Samples) -> None:
    spoiled = spoil(
        samples,
        replace(UNSPOILED, landmark_swaps=1.0),
        torch.Generator(),
    )
    left, right = 11, 12
    assert torch.equal(spoiled.landmarks[:, left], samples.landmarks[:, right])
    lost = spoil(samples, replace(CONFIG, landmark_misses=1.0, landmark_swaps=0.0), torch.Generator())
    assert (lost.landmarks[..., 2] <= 0.1 * samples.landmarks[..., 2] + 1e-6).all()
    assert torch.isfinite(lost.landmarks).all()


def test_simulated_samples_are_consistent(samples: Samples) -> None:
    parameters = training_body(CONFIG)
    truth = samples.truth(parameters)
    pixel = truth.joints_m @ truth.K_crop.transpose(1, 2)
    places = pixel[..., :2] / pixel[..., 2:] / 128 - 1
    # BlazePose's left hip is COCO's left hip: where landmarks are trusted they lie near the truth.
    trusted = samples.landmarks[:, 23, 2] > 0.5
    error = (samples.landmarks[:, 23, :2] - places[:, 11]).norm(dim=-1)[trusted]
    assert error.median() < 0.12
    again = SimulatedLandmarks.load(None).sample(24, torch.Generator().manual_seed(0))
    assert torch.equal(again.landmarks, samples.landmarks)


def test_shards_read_back_and_damage_is_named(samples: Samples, tmp_path: Path) -> None:
    path = tmp_path / "train_00000.safetensors"
    write_samples(path, samples)
    back = read_samples([path, path])
    assert len(back) == 48
    assert torch.equal(back.landmarks[:24], samples.landmarks)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="train_00000"):
        read_samples([path])
    with pytest.raises(InputError, match="no shards"):
        read_samples([])


def test_batches_go_on_where_they_stopped(samples: Samples) -> None:
    def heads(start: int, count: int) -> list[torch.Tensor]:
        stream = batches(samples, 7, seed=1, start=start)
        return [next(stream).translation_m for _ in range(count)]

    whole = heads(0, 8)
    for start in (1, 3, 5):
        assert all(torch.equal(a, b) for a, b in zip(heads(start, 3), whole[start : start + 3], strict=True))


def test_mixed_batches_go_on_where_they_stopped(samples: Samples) -> None:
    share, seed = 0.4, 3

    def heads(start: int, count: int) -> list[torch.Tensor]:
        starts = taken(start, share, seed=seed)
        kinds = [batches(samples, size, seed=seed, start=begin) for size, begin in zip((5, 7), starts, strict=True)]
        stream = mixed(*kinds, share, seed=seed, start=start)
        return [next(stream).translation_m for _ in range(count)]

    whole = heads(0, 40)
    assert 8 <= sum(len(batch) == 7 for batch in whole) <= 24
    for start in (1, 9, 23):
        assert all(torch.equal(a, b) for a, b in zip(heads(start, 5), whole[start : start + 5], strict=True))


def test_frequencies_decide_who_comes(samples: Samples) -> None:
    stream = batches(samples, 24, seed=0, often=torch.eye(24)[5] + 1e-9)
    assert torch.equal(next(stream).translation_m, samples.translation_m[[5]].expand(24, -1))
    parameters = training_body(CONFIG)
    height = samples.truth(parameters).height_m
    often = frequencies(samples, parameters, upright=1.0, children=0.25)
    assert torch.equal(often, torch.where(height < 1.45, 0.25, 1.0))
    # Somebody who stands before a level camera is upright; lying in the picture, the same person is not.
    body = parameters.body
    turned = {
        "upright": torch.tensor([[1.0, 0, 0], [0, 0, -1.0], [0, 1.0, 0]]),
        "lying": torch.tensor([[0, 0, 1.0], [1.0, 0, 0], [0, 1.0, 0]]),
    }
    rest = torch.zeros(1, len(body.driven_bones), 3)
    for name, matrix in turned.items():
        pose = rest.clone()
        pose[0, 0] = roma.rotmat_to_rotvec(matrix)
        somebody = replace(
            samples[torch.tensor([0])],
            pose=pose,
            shape=body.default_shape()[None],
            translation_m=torch.tensor([[0.0, 0.0, 4.0]]),
            K_crop=torch.tensor([[[400.0, 0, 128], [0, 400, 128], [0, 0, 1]]]),
        )
        assert frequencies(somebody, parameters, upright=3.0, children=1.0).item() == (
            3.0 if name == "upright" else 1.0
        )


def test_errors_of_rendered_people_are_taken_over(samples: Samples) -> None:
    body = AnnyBody.load()
    bank = LandmarkErrors.of(samples, body)
    assert len(bank) == 24
    truth = samples.truth(BodyParameters(body, SIZES["anny"]))
    assert torch.allclose(truth.translation_m, samples.translation_m)
    output = body(
        BodyParameters(body, SIZES["anny"]).expand(samples.truth_rotations()), samples.shape, samples.translation_m
    )
    place, world = true_landmarks(SeenLandmarks.load(body)(output), samples.K_crop)
    lent = bank.lend(place, world, torch.Generator().manual_seed(0), candidates=10_000, milder=0.0)
    # Who lies most alike is the person himself, where the draw holds him: then it is what was seen of him.
    himself = (lent - samples.landmarks).abs().flatten(1).amax(1) < 1e-4
    assert 8 <= int(himself.sum()) <= 24
    milder = bank.lend(place, world, torch.Generator().manual_seed(0), candidates=10_000, milder=1.0)
    assert ((milder - samples.landmarks).abs().flatten(1).amax(1)[himself] > 1e-3).any()
    # A child of the same build in the same place gets the same landmarks: its true size does not show.
    small = bank.lend(place, 0.4 * world, torch.Generator().manual_seed(0), candidates=10_000, milder=0.0)
    assert torch.allclose(small, lent, atol=1e-4)
    drawn = SimulatedLandmarks(CrowdSampler.load(None, body=body, split="train"), errors=bank)
    new = drawn.sample(8, torch.Generator().manual_seed(1))
    known = bank.certainty.flatten(1)
    assert all((known == row).all(1).any() for row in new.landmarks[..., 2:6].flatten(1))


def test_one_batch_is_learned_by_heart(samples: Samples, tmp_path: Path) -> None:
    few = samples[torch.arange(8)]
    config = replace(
        CONFIG, steps=150, learning_rate=3e-3, k_noise=0.0, landmark_noise=0.0, landmark_misses=0.0, landmark_swaps=0.0,
        validate_every=150, warmup=10, ema=0.9,
    )  # fmt: skip
    trainer = Trainer(config, lambda step: batches(few, 8, seed=0, start=step), few, tmp_path)
    before = validate(trainer._bare(), few, trainer.parameters, ray_size=TINY.ray_size)
    after = trainer.run()
    assert after.mpjpe_mm < 0.45 * before.mpjpe_mm
    assert after.distance_percent < 0.4 * before.distance_percent


def test_a_stopped_run_goes_on_to_the_bit(samples: Samples, tmp_path: Path) -> None:
    Trainer(CONFIG, source(samples), samples, tmp_path / "whole").run()
    # Stopped after three steps by the clock, as by a killed machine that had just saved.
    first = Trainer(
        CONFIG, lambda step: iter([next(source(samples)(k)) for k in range(step, 3)]), samples, tmp_path / "parts"
    )
    first.run()
    assert first.progress.step == 3
    second = Trainer(CONFIG, source(samples), samples, tmp_path / "parts")
    assert second.progress.step == 3
    second.run()
    one, _, _ = load_network(tmp_path / "whole" / BEST)
    other, _, _ = load_network(tmp_path / "parts" / BEST)
    for name, weight in one.state_dict().items():
        assert torch.equal(weight, other.state_dict()[name]), name
    lines = [json.loads(line) for line in (tmp_path / "whole" / LOG).read_text().splitlines()]
    assert any("val_mpjpe_mm" in line for line in lines)
    assert any("joints3d" in line for line in lines)
    with pytest.raises(InputError, match="another config"):
        Trainer(replace(CONFIG, seed=1), source(samples), samples, tmp_path / "whole")


def test_divergence_is_told_and_loses_nothing(samples: Samples, tmp_path: Path) -> None:
    bad = replace(samples, translation_m=samples.translation_m * torch.nan)
    trainer = Trainer(CONFIG, lambda step: iter([samples[torch.arange(8)], bad[torch.arange(8)]]), samples, tmp_path)
    with pytest.raises(DivergedError, match="batch 1"):
        trainer.run()
    again = Trainer(CONFIG, source(samples), samples, tmp_path)
    assert again.progress.step == 1
    assert all(torch.isfinite(weight).all() for weight in again._bare().state_dict().values())
    assert (tmp_path / STATE).is_file()


def test_checkpoints_carry_their_config_and_refuse_others(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    network = build(TINY)
    save_network(path, network, TINY, dtype=torch.float32, notes={"training": CONFIG.to_json()})
    back, config, notes = load_network(path)
    assert config == TINY
    assert TrainConfig.from_json(notes["training"]) == CONFIG
    assert all(
        torch.equal(a, b) for a, b in zip(network.state_dict().values(), back.state_dict().values(), strict=True)
    )
    with pytest.raises(ModelFileError, match="no such"):
        load_network(tmp_path / "nothing.safetensors")
    whole = path.read_bytes()
    path.write_bytes(whole[:200])
    with pytest.raises(ModelFileError, match="net"):
        load_network(path)
    path.write_bytes(whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:])
    with pytest.raises(ModelFileError, match=r"net.*hash"):
        load_network(path)
    name = next(iter(network.state_dict()))
    save_network(path, network, TINY, state=network.state_dict() | {name: torch.full((1,), torch.nan)})
    with pytest.raises(ModelFileError, match=f"{name} holds what is no number"):
        load_network(path)
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(ModelFileError, match="format"):
        load_network(path)


def test_a_network_that_diverged_is_told_and_the_good_state_is_kept(samples: Samples, tmp_path: Path) -> None:
    trainer = Trainer(CONFIG, source(samples), samples, tmp_path)
    trainer.save()
    good = (tmp_path / STATE).read_bytes()
    with torch.no_grad():
        next(trainer.network.parameters()).fill_(torch.nan)
    with pytest.raises(DivergedError, match="last good state"):
        trainer.run()
    assert (tmp_path / STATE).read_bytes() == good


def test_age_has_a_loss_of_its_own() -> None:
    shape, truth = torch.zeros(2, 6), torch.zeros(2, 6)
    truth[1, 1] = 0.4
    assert torch.allclose(age_loss(shape, truth, 1), torch.tensor([0.0, 0.4]))
    assert torch.equal(age_loss(shape, truth, None), torch.zeros(2))
