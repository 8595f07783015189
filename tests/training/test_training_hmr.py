"""Training: losses are zero at the truth, a run overfits a batch, resumes to the bit, and stops where it diverges."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

pytest.importorskip("accelerate")

from metrichmsr.errors import InputError, ModelFileError
from metrichmsr.hmr.checkpoint import load_network, save_network
from metrichmsr.hmr.config import SMALL
from metrichmsr.hmr.heads import HeadOutput, crop_focal
from metrichmsr.hmr.network import NetworkOutput, build
from metrichmsr.training.augment import spoil_landmarks, wrong_intrinsics
from metrichmsr.training.config import TrainConfig
from metrichmsr.training.losses import all_terms, laplace_nll
from metrichmsr.training.samples import Samples, batches, read_samples, write_samples
from metrichmsr.training.simulated import SimulatedLandmarks
from metrichmsr.training.trainer import BEST, LOG, STATE, DivergedError, Trainer, training_body
from metrichmsr.training.validation import validate

TINY = replace(SMALL, width=24, heads=2, hidden=48, queries=2, slots=2, patch_layers=1, global_layers=1)
CONFIG = TrainConfig(
    network=TINY, steps=6, batch=8, warmup=2, vertices=60, validate_every=3, log_every=2, precision="no", ema=0.5
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
    terms = all_terms(NetworkOutput(heads, (), ()), bodies, truth, crop_size=256).numbers()
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


def test_spoiled_landmarks_stay_landmarks(samples: Samples) -> None:
    spoiled = spoil_landmarks(
        samples, replace(CONFIG, landmark_swaps=1.0, landmark_misses=0.0, landmark_noise=0.0), torch.Generator()
    )
    left, right = 11, 12
    assert torch.equal(spoiled.landmarks[:, left], samples.landmarks[:, right])
    lost = spoil_landmarks(samples, replace(CONFIG, landmark_misses=1.0, landmark_swaps=0.0), torch.Generator())
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
    save_network(path, network, TINY, dtype=torch.float32, training=CONFIG.to_json())
    back, config, notes = load_network(path)
    assert config == TINY
    assert TrainConfig.from_json(notes["training"]) == CONFIG
    assert all(
        torch.equal(a, b) for a, b in zip(network.state_dict().values(), back.state_dict().values(), strict=True)
    )
    with pytest.raises(ModelFileError, match="no such"):
        load_network(tmp_path / "nothing.safetensors")
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ModelFileError, match="net"):
        load_network(path)
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(ModelFileError, match="format"):
        load_network(path)
