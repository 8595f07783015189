"""What a run learns from: kinds apart, the same from any step on, shared out among processes."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import torch

pytest.importorskip("accelerate")

from metrichmsr.errors import InputError
from metrichmsr.training.config import TrainConfig
from metrichmsr.training.data import TrainingData
from metrichmsr.training.samples import Samples, write_samples
from metrichmsr.training.simulated import SimulatedLandmarks

CONFIG = TrainConfig(batch=4, simulated=0.4, seed=5)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TrainingData:
    folder = tmp_path_factory.mktemp("shards")
    seen = SimulatedLandmarks.load(None).sample(28, torch.Generator().manual_seed(0))
    pictures = replace(
        seen[torch.arange(12)], features=torch.zeros(12, 192, 16, 16).half(), mask=torch.zeros(12, 1, 16, 16).half()
    )
    write_samples(folder / "train_rendered.safetensors", pictures)
    write_samples(folder / "train_simulated.safetensors", seen[torch.arange(12, 24)])
    write_samples(folder / "val" / "val.safetensors", seen[torch.arange(24, 28)])
    return TrainingData.read([folder], folder / "val")


def heads(data: TrainingData, start: int, count: int, **share: int) -> list[Samples]:
    return list(islice(data.batches(CONFIG, **share)(start), count))


def same(one: Samples, other: Samples) -> bool:
    return torch.equal(one.translation_m, other.translation_m) and (one.features is None) == (other.features is None)


def test_kinds_are_read_apart(data: TrainingData) -> None:
    assert [pool.features is None for pool in data.pools] == [False, True]
    assert len(data.validation) == 4
    with pytest.raises(InputError, match="no shards"):
        TrainingData.read([Path("nowhere")], Path("nowhere"))


def test_batches_are_the_same_from_any_step(data: TrainingData) -> None:
    whole = heads(data, 0, 12)
    assert len({batch.features is None for batch in whole}) == 2
    for start in (1, 5):
        assert all(same(a, b) for a, b in zip(heads(data, start, 6), whole[start : start + 6], strict=True))


def test_processes_share_the_samples_out(data: TrainingData) -> None:
    alone = TrainingData(pools=data.pools[1:], validation=data.validation)
    whole = heads(alone, 0, 12)
    mine, theirs = (heads(alone, 1, 5, process=process, processes=2) for process in (0, 1))
    assert all(same(batch, whole[2 + 2 * k]) for k, batch in enumerate(mine))
    assert all(same(batch, whole[3 + 2 * k]) for k, batch in enumerate(theirs))
    # Where there are two kinds, all have the same one in a step.
    pairs = zip(*(heads(data, 0, 12, process=process, processes=2) for process in (0, 1)), strict=True)
    assert all((a.features is None) == (b.features is None) and not same(a, b) for a, b in pairs)


def test_frequencies_reach_the_batches(data: TrainingData) -> None:
    alone = TrainingData(pools=data.pools[1:], validation=data.validation)
    plain = heads(alone, 0, 6)
    often = list(islice(alone.batches(replace(CONFIG, upright=3.0))(0), 6))
    assert not all(same(a, b) for a, b in zip(plain, often, strict=True))


def test_fingerprints_tell_samples_apart(data: TrainingData) -> None:
    other = replace(data, validation=data.pools[1][torch.arange(4)])
    assert other.fingerprints()["training"] == data.fingerprints()["training"]
    assert other.fingerprints()["validation"] != data.fingerprints()["validation"]
