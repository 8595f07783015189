"""The image encoder's own stages: they start as BlazePose's, change nothing at first, and learn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from metrichmsr.errors import UsageError
from metrichmsr.hmr.checkpoint import load_network, save_network
from metrichmsr.hmr.config import SMALL
from metrichmsr.hmr.image_encoders import CropEvidence
from metrichmsr.hmr.network import MetricHMR, build
from metrichmsr.hmr.tuned_stages import TunedStages
from metrichmsr.people.landmarker import Landmarker
from metrichmsr.training.config import TrainConfig
from metrichmsr.training.samples import Samples, batches, read_samples, write_samples
from metrichmsr.training.simulated import SimulatedLandmarks
from metrichmsr.training.trainer import LAST, STATE, Trainer

TINY = replace(
    SMALL, width=24, heads=2, hidden=48, queries=2, slots=2, patch_layers=1, global_layers=1, tuned=True,
    feature_dropout=0.0,
)  # fmt: skip
CONFIG = TrainConfig(network=TINY, steps=4, batch=4, warmup=1, vertices=60, validate_every=2, precision="no", ema=0.5)


@pytest.fixture(scope="module")
def landmarker() -> Landmarker:
    return Landmarker()


@pytest.fixture(scope="module")
def samples(landmarker: Landmarker) -> Samples:
    """People with the features of pictures of noise: what matters here is that there are some."""
    simulated = SimulatedLandmarks.load(None).sample(8, torch.Generator().manual_seed(0))
    pictures = torch.rand(8, 3, 256, 256, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        seen = landmarker.network(pictures, mask=False, features=("r16", "grid32")).features
    return replace(
        simulated, features=seen["r16"].half(), grid32=seen["grid32"].half(), mask=torch.ones(8, 1, 16, 16).half()
    )


def of(samples: Samples):
    def from_step(step: int) -> Iterator[Samples]:
        return batches(samples, CONFIG.batch, seed=0, start=step)

    return from_step


def test_they_start_as_blazepose_s(landmarker: Landmarker) -> None:
    picture = torch.rand(2, 3, 256, 256, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        seen = landmarker.network(picture, mask=False, features=("grid32", "grid16b")).features
        tuned = TunedStages(width=24)
        assert tuned.fresh
        tuned.start_from(landmarker.network, seen["grid32"])
        assert not tuned.fresh
        assert torch.allclose(tuned.stages(seen["grid32"]), seen["grid16b"], atol=2e-3)
        normal = (seen["grid16b"] - tuned.centre[:, None, None]) / tuned.spread[:, None, None]
    assert torch.allclose(normal.mean((0, 2, 3)), torch.zeros(160), atol=1e-3)
    assert torch.allclose(normal.std((0, 2, 3)), torch.ones(160), atol=1e-2)


def test_a_frozen_network_goes_on_from_where_it_was(samples: Samples, landmarker: Landmarker) -> None:
    frozen = build(replace(TINY, tuned=False)).eval()
    tuned = build(TINY).eval()
    missing = tuned.load_state_dict(frozen.state_dict(), strict=False).missing_keys
    assert all(name.startswith("image_encoder.tuned.") for name in missing)
    assert tuned.tuned_stages is not None
    assert frozen.tuned_stages is None
    assert samples.grid32 is not None
    tuned.tuned_stages.start_from(landmarker.network, samples.grid32.float())
    crops = samples.evidence(TINY.ray_size)
    with torch.no_grad():
        assert torch.equal(frozen(crops).heads.rotations, tuned(crops).heads.rotations)


def test_what_they_see_counts_once_they_have_learned(samples: Samples, tmp_path: Path) -> None:
    trainer = Trainer(CONFIG, of(samples), samples, tmp_path)
    first = first_stage(trainer._bare())
    before = first.clone()
    rates = {group["rate"] for group in trainer.optimizer.param_groups}
    assert rates == {1.0, CONFIG.encoder_rate}
    trainer.run()
    assert not torch.equal(before, first_stage(trainer._bare()))
    network, config, _ = load_network(tmp_path / LAST)
    assert config.tuned
    crops = samples.evidence(TINY.ray_size)
    assert crops.grid32 is not None
    other = replace(crops, grid32=crops.grid32.flip(0))
    blind = replace(crops, grid32=None)
    answers = [answer(network, evidence) for evidence in (crops, other, blind)]
    assert not torch.equal(answers[0], answers[1])
    assert not torch.equal(answers[0], answers[2])


def test_a_stopped_run_goes_on_to_the_bit(samples: Samples, tmp_path: Path) -> None:
    Trainer(CONFIG, of(samples), samples, tmp_path / "whole").run()
    Trainer(
        CONFIG, lambda step: iter([next(of(samples)(k)) for k in range(step, 2)]), samples, tmp_path / "parts"
    ).run()
    Trainer(CONFIG, of(samples), samples, tmp_path / "parts").run()
    one, other = (load_network(tmp_path / run / LAST)[0].state_dict() for run in ("whole", "parts"))
    assert all(torch.equal(weight, other[name]) for name, weight in one.items())


def test_without_pictures_there_is_nothing_to_tune(samples: Samples, tmp_path: Path) -> None:
    blind = replace(samples, features=None, mask=None, grid32=None)
    with pytest.raises(UsageError, match="no rendered samples"):
        Trainer(CONFIG, of(blind), samples, tmp_path)
    assert not (tmp_path / STATE).exists()


def test_shards_of_before_are_read_beside_newer_ones(samples: Samples, tmp_path: Path) -> None:
    write_samples(tmp_path / "new.safetensors", samples)
    write_samples(tmp_path / "old.safetensors", replace(samples, grid32=None))
    both = read_samples([tmp_path / "new.safetensors", tmp_path / "old.safetensors"])
    assert both.grid32 is None
    assert len(both) == 16
    alone = read_samples([tmp_path / "new.safetensors"])
    assert alone.grid32 is not None
    assert samples.grid32 is not None
    assert torch.equal(alone.grid32, samples.grid32)


def test_networks_of_before_have_none(tmp_path: Path) -> None:
    config = replace(TINY, tuned=False)
    save_network(tmp_path / "net.safetensors", build(config), config)
    network, read, _ = load_network(tmp_path / "net.safetensors")
    assert network.tuned_stages is None
    assert not read.tuned


def first_stage(network: MetricHMR) -> torch.Tensor:
    assert network.tuned_stages is not None
    return next(network.tuned_stages.stages.parameters()).detach()


@torch.no_grad()
def answer(network: MetricHMR, crops: CropEvidence) -> torch.Tensor:
    return network(crops).heads.rotations
