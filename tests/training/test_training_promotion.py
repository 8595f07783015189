"""Sigmas are calibrated to what they say, and only a better network takes the shipped one's place."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

pytest.importorskip("accelerate")

from metrichmsr import cli
from metrichmsr.errors import InputError, ModelFileError, UsageError
from metrichmsr.hmr import regress
from metrichmsr.hmr.checkpoint import load_network, save_network
from metrichmsr.hmr.config import SMALL
from metrichmsr.hmr.network import build
from metrichmsr.training.calibration import calibrate_sigmas, sigma_factor
from metrichmsr.training.config import TrainConfig
from metrichmsr.training.promotion import judge, promote
from metrichmsr.training.samples import Samples, write_samples
from metrichmsr.training.simulated import SimulatedLandmarks
from metrichmsr.training.trainer import training_body
from metrichmsr.training.validation import errors, validate
from metrichmsr.weights import file_hash

TINY = replace(SMALL, width=24, heads=2, hidden=48, queries=2, slots=2, patch_layers=1, global_layers=1)
CONFIG = TrainConfig(network=TINY, vertices=60)
CREDITS = [
    "garments/hat, A: CC BY 4.0",
    "garments/cap, A: CC BY 4.0",
    "backgrounds/bridge_0: CC0",
    "backgrounds/bridge_1: CC0",
]


@pytest.fixture(scope="module")
def samples() -> Samples:
    return SimulatedLandmarks.load(None).sample(64, torch.Generator().manual_seed(0))


def tiny(seed: int, *, stature_bins: bool = True):
    torch.manual_seed(seed)
    return build(replace(TINY, stature_bins=stature_bins))


def test_the_mean_of_runs(tmp_path: Path, capsys) -> None:
    paths = [tmp_path / f"{seed}.safetensors" for seed in (0, 1)]
    for seed, path in enumerate(paths):
        save_network(path, tiny(seed), TINY, dtype=torch.float32)
    out = tmp_path / "mean.safetensors"
    names = [str(path) for path in paths]
    assert cli.main(["train", "average", "--checkpoints", *names, "--out", str(out)]) == 0
    mean, config, _ = load_network(out)
    assert config == TINY
    one, two = (tiny(seed).queries for seed in (0, 1))
    torch.testing.assert_close(mean.queries, 0.5 * (one + two))
    shares = ["--shares", "3", "1"]
    assert cli.main(["train", "average", "--checkpoints", *names, "--out", str(out), *shares]) == 0
    torch.testing.assert_close(load_network(out)[0].queries, 0.75 * one + 0.25 * two)
    assert cli.main(["train", "average", "--checkpoints", names[0], "--out", str(out)]) == 2
    assert "two networks" in capsys.readouterr().err
    assert cli.main(["train", "average", "--checkpoints", *names, "--out", str(out), "--shares", "1"]) == 2
    assert "one positive number for each" in capsys.readouterr().err


def test_what_an_older_network_lacks_is_the_newer_ones(tmp_path: Path, capsys) -> None:
    new, old, out = (tmp_path / f"{name}.safetensors" for name in ("new", "old", "mean"))
    save_network(new, tiny(0), TINY, dtype=torch.float32)
    save_network(old, tiny(1, stature_bins=False), replace(TINY, stature_bins=False), dtype=torch.float32)
    assert cli.main(["train", "average", "--checkpoints", str(new), str(old), "--out", str(out)]) == 0
    mean, config, _ = load_network(out)
    assert config == TINY
    torch.testing.assert_close(mean.queries, 0.5 * (tiny(0).queries + tiny(1, stature_bins=False).queries))
    assert mean.heads.stature is not None
    torch.testing.assert_close(mean.heads.stature.out.weight, tiny(0).heads.stature.out.weight)
    # The other way round nobody could say what the older one's statures should be.
    assert cli.main(["train", "average", "--checkpoints", str(old), str(new), "--out", str(out)]) == 2
    assert "new.safetensors: its network is another" in capsys.readouterr().err


def test_factor_of_normal_errors_is_their_size() -> None:
    z = 2.5 * torch.randn(200_000, generator=torch.Generator().manual_seed(0)).abs()
    assert sigma_factor(z) == pytest.approx(2.5, rel=0.01)


def test_calibrated_sigmas_hold_what_they_say(samples: Samples) -> None:
    network, parameters = tiny(0, stature_bins=False), training_body(CONFIG)
    before = errors(network, samples, parameters, ray_size=TINY.ray_size)
    found = calibrate_sigmas(network, samples, parameters, ray_size=TINY.ray_size)
    after = errors(network, samples, parameters, ray_size=TINY.ray_size)
    for kind in ("distance", "joints"):
        assert torch.allclose(after[f"z_{kind}"] * found.factors[kind], before[f"z_{kind}"], rtol=1e-3)
    # On the half that the factors come from, 68 % hold.
    half = after["z_distance"][::2]
    assert (half < 1).float().mean().item() == pytest.approx(0.68, abs=0.05)
    assert found.after["joints"] == pytest.approx(0.68, abs=0.1)
    for name in ("mpjpe", "relative", "height"):
        assert torch.equal(before[name], after[name]), "only sigmas change"
    with pytest.raises(InputError, match="too few"):
        calibrate_sigmas(network, samples[torch.arange(9)], parameters, ray_size=TINY.ray_size)


def test_a_distribution_of_statures_is_tempered(samples: Samples) -> None:
    network, parameters = tiny(0), training_body(CONFIG)
    assert network.heads.stature is not None
    with torch.no_grad():
        # Far too sure of one bin, whoever it is.
        network.heads.stature.out.bias[20] = 12.0
    found = calibrate_sigmas(network, samples, parameters, ray_size=TINY.ray_size)
    assert found.factors["height"] > 3
    assert found.after["height"] > found.before["height"]


def test_judge_wants_a_better_score_and_no_figure_much_worse(samples: Samples) -> None:
    figures = validate(tiny(0), samples, training_body(CONFIG), ray_size=TINY.ray_size)
    better = replace(figures, mpjpe_mm=0.9 * figures.mpjpe_mm)
    assert judge(better, figures).wins
    assert not judge(figures, figures).wins
    assert not judge(figures, better).wins
    trade = replace(better, height_cm=1.2 * figures.height_cm, distance_percent=0.5 * figures.distance_percent)
    assert trade.score < figures.score
    assert "height_cm" in judge(trade, figures).reasons[0]
    assert not judge(replace(figures, height_cm=figures.height_constant_cm + 1), None).wins
    tall = replace(figures, height_cm=figures.height_constant_cm - 1)
    assert judge(tall, None).wins
    assert "no better than before training" in judge(tall, None, tall).reasons[0]
    for shipped in (figures, None):
        assert "not a number" in judge(replace(better, pa_mpjpe_mm=float("nan")), shipped).reasons[0]


def test_a_loser_changes_nothing_and_a_winner_is_shipped_with_its_card(samples: Samples, tmp_path: Path) -> None:
    parameters = training_body(CONFIG)
    scored = []
    for seed in range(3):
        path = tmp_path / f"{seed}.safetensors"
        save_network(path, tiny(seed), TINY, notes={"training": CONFIG.to_json(), "step": "7"})
        network = load_network(path)[0]
        scored.append((validate(network, samples, parameters, ray_size=TINY.ray_size).score, path))
    scored.sort()
    best, worst = scored[0][1], scored[-1][1]
    shipped = tmp_path / "package" / "hmr_small.safetensors"
    shipped.parent.mkdir()
    shipped.write_bytes(best.read_bytes())
    hashed = file_hash(shipped)
    lost = promote(worst, shipped, samples, parameters, evidence={})
    assert not lost.wins
    assert file_hash(shipped) == hashed
    assert not shipped.with_suffix(".md").exists()
    shipped.write_bytes(worst.read_bytes())
    assert promote(best, shipped, samples, parameters, evidence={}, write=False).wins
    assert file_hash(shipped) != hashed
    won = promote(best, shipped, samples, parameters, evidence={"data": "ours"}, attributions=CREDITS)
    card = shipped.with_suffix(".md").read_text(encoding="utf-8")
    assert won.wins
    assert file_hash(shipped) in card
    assert "- backgrounds/bridge (CC0)\n- garments/cap, hat (A: CC BY 4.0)\n" in card
    assert "| data | ours |" in card
    ours = load_network(shipped)[0].state_dict()
    assert all(torch.equal(t, load_network(best)[0].state_dict()[name]) for name, t in ours.items())
    broken = tiny(0)
    broken.queries.data[0, 0] = float("nan")
    save_network(tmp_path / "nan.safetensors", broken, TINY)
    with pytest.raises(ModelFileError, match="queries"):
        promote(tmp_path / "nan.safetensors", shipped, samples, parameters, evidence={})
    with pytest.raises(UsageError, match="itself"):
        promote(shipped, shipped, samples, parameters, evidence={})


def test_commands(samples: Samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    held_out = tmp_path / "held_out.safetensors"
    write_samples(held_out, samples)
    raw, calibrated = tmp_path / "raw.safetensors", tmp_path / "calibrated.safetensors"
    save_network(raw, tiny(0), TINY, dtype=torch.float32, notes={"training": CONFIG.to_json()})
    argv = ["train", "calibrate", "--checkpoint", str(raw), "--validation", str(held_out)]
    assert cli.main([*argv, "--out", str(calibrated)]) == 0
    notes = load_network(calibrated)[2]
    assert set(json.loads(notes["calibration"])["factors"]) == {"distance", "height", "joints"}
    assert cli.main([*argv, "--out", str(raw)]) == 2
    monkeypatch.setattr(regress, "WEIGHTS", tmp_path / "hmr_small.safetensors")
    regress.WEIGHTS.write_bytes(calibrated.read_bytes())
    capsys.readouterr()
    assert cli.main(["train", "promote", "--checkpoint", str(calibrated), "--validation", str(held_out)]) == 1
    assert "it does not win" in capsys.readouterr().out
