"""Ablations: every variant builds, runs are trained once, and the table says what was measured."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import torch

pytest.importorskip("accelerate")

from metrichmsr.cli import main
from metrichmsr.errors import InputError
from metrichmsr.hmr.config import SMALL
from metrichmsr.hmr.network import build
from metrichmsr.training.ablation import DATA, RECORD, TABLE, Ablation, run_folder, variants
from metrichmsr.training.ablation_table import PAPER, Run, VariantRow
from metrichmsr.training.config import TrainConfig
from metrichmsr.training.data import TrainingData
from metrichmsr.training.samples import Samples, write_samples
from metrichmsr.training.simulated import SimulatedLandmarks
from metrichmsr.training.trainer import BEST, LAST, LOG, STATE, Trainer

TINY = replace(SMALL, width=24, heads=2, hidden=48, queries=2, slots=2, patch_layers=1, global_layers=1)
CONFIG = TrainConfig(
    network=TINY, steps=3, batch=8, warmup=2, vertices=60, validate_every=3, log_every=2, precision="no", ema=0.5
)
TWO = ("image only", "without height loss")


@pytest.fixture(scope="module")
def samples() -> Samples:
    return SimulatedLandmarks.load(None).sample(24, torch.Generator().manual_seed(0))


def data(samples: Samples) -> TrainingData:
    return TrainingData(pools=(samples[torch.arange(16)],), validation=samples[torch.arange(16, 24)])


def ablation(folder: Path, names: tuple[str, ...] = TWO, seeds: tuple[int, ...] = (0, 1), base=CONFIG) -> Ablation:
    known = variants(base)
    return Ablation(folder, base, {name: known[name] for name in names}, seeds)


def test_all_variants_can_be_trained_and_differ() -> None:
    known = variants(CONFIG)
    # A smoke test of sizes: the paper's figures name variants, and every one of them is there.
    assert set(PAPER) <= set(known)
    assert len(set(known.values())) == len(known)
    assert known["without height loss"].losses == replace(CONFIG.losses, height=0.0)
    assert len({run_folder(Path("out"), name, 0) for name in known}) == len(known)
    sizes = {name: sum(p.numel() for p in build(config.network).parameters()) for name, config in known.items()}
    assert sizes["image only"] < sizes["+ ray map"]
    routed = [sizes[name] for name in ("0 routed experts", "2 routed experts", "+ ray map + HumanMoE")]
    assert routed == sorted(set(routed))


def test_runs_are_trained_once_and_compared(samples: Samples, tmp_path: Path) -> None:
    first = ablation(tmp_path).run(data(samples))
    record = json.loads((tmp_path / RECORD).read_text())
    assert [row["name"] for row in record["rows"]] == list(TWO)
    for row in record["rows"]:
        folder = run_folder(tmp_path, row["name"], 1)
        assert (folder / BEST).is_file()
        last = [json.loads(line) for line in (folder / LOG).read_text().splitlines()][-1]
        assert row["runs"][1]["figures"] == {
            name.removeprefix("val_"): value for name, value in last.items() if name != "step"
        }
        values = torch.tensor([run["figures"]["mpjpe_mm"] for run in row["runs"]], dtype=torch.float64)
        assert row["mean"]["mpjpe_mm"] == pytest.approx(float(values.mean()))
        assert row["std"]["mpjpe_mm"] == pytest.approx(float(values.std()))
    assert record["rows"][0]["paper"]["mpjpe_mm"] == 57.2
    assert record["rows"][1]["paper"] == {}
    line = next(line for line in (tmp_path / TABLE).read_text().splitlines() if line.startswith("| image only"))
    assert f"{first.rows[0].mean('mpjpe_mm'):.1f} ± {first.rows[0].std('mpjpe_mm'):.1f}" in line
    assert "35.6" in line

    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    told: list[str] = []
    # A call for one of them keeps what is known of the other.
    again = ablation(tmp_path, names=TWO[:1]).run(data(samples), say=told.append)
    assert again == first
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")} == before
    assert told == ["image only, seed 0: is finished", "image only, seed 1: is finished"]

    with pytest.raises(InputError, match="another config"):
        ablation(tmp_path, base=replace(CONFIG, steps=4)).run(data(samples))
    swapped = replace(data(samples), validation=samples[torch.arange(8)])
    with pytest.raises(InputError, match="other validation samples"):
        ablation(tmp_path).run(swapped)


def test_stopped_runs_go_on(samples: Samples, tmp_path: Path) -> None:
    stopped = ablation(tmp_path, seeds=(0,)).run(data(samples), until=0.0)
    assert [row.remarks() for row in stopped.rows] == ["seed 0 not finished"] * 2
    assert not list(tmp_path.rglob(LAST))
    # One of them is interrupted after two of its three steps.
    config, two = variants(CONFIG)[TWO[0]], data(samples).batches(CONFIG)
    Trainer(config, lambda step: islice(two(step), 2), samples, run_folder(tmp_path, TWO[0], 0)).run()
    done = ablation(tmp_path, seeds=(0,)).run(data(samples))
    log = (run_folder(tmp_path, TWO[0], 0) / LOG).read_text().splitlines()
    assert [record["step"] for record in map(json.loads, log) if "val_score" in record] == [2, 3]
    assert all(row.runs[0].figures is not None and not row.remarks() for row in done.rows)


def test_divergence_is_in_the_table_and_the_others_go_on(samples: Samples, tmp_path: Path) -> None:
    # The first variant's loss is infinite; the second is as it should be.
    known = variants(CONFIG)
    bad = replace(CONFIG, losses=replace(CONFIG.losses, joints3d=float("inf")))
    chosen = {"image only": replace(known["image only"], losses=bad.losses), "+ ray map": known["+ ray map"]}
    table = Ablation(tmp_path, CONFIG, chosen, (0,)).run(data(samples))
    assert [row.remarks() for row in table.rows] == ["seed 0 diverged", ""]
    assert table.rows[0].runs == (Run(0, None, "diverged", diverged=True),)
    assert (run_folder(tmp_path, "image only", 0) / STATE).is_file()
    assert "| seed 0 diverged |" in (tmp_path / TABLE).read_text()
    assert json.loads((tmp_path / RECORD).read_text())["rows"][0]["mean"]["mpjpe_mm"] is None


def test_one_seed_has_no_spread() -> None:
    row = VariantRow("x", 1, (Run(0, {"mpjpe_mm": 3.0}), Run(1, None, "diverged", diverged=True)))
    assert row.mean("mpjpe_mm") == 3.0
    assert row.std("mpjpe_mm") != row.std("mpjpe_mm")


def test_the_verb(
    samples: Samples, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_samples(tmp_path / "data" / "train_0.safetensors", samples)
    sizes = {"width": 24, "heads": 2, "hidden": 48, "queries": 2, "slots": 2, "patch-layers": 1, "global-layers": 1}
    argv = ["train", "ablate", "--data", str(tmp_path / "data"), "--validation", str(tmp_path / "data")]
    argv += ["--out", str(tmp_path / "out"), "--steps", "2", "--config.batch", "8", "--config.precision", "no"]
    argv += [word for name, size in sizes.items() for word in (f"--config.network.{name}", str(size))]
    assert main([*argv, "--only", "image only", "no such"]) == 2
    error = capsys.readouterr().err
    assert "'no such'" in error
    assert "'8 routed experts'" in error
    assert not (tmp_path / "out").exists()
    assert main([*argv, "--only", "+ ray map", "--seeds", "3"]) == 0
    out, err = capsys.readouterr()
    assert "| + ray map |" in out
    assert "step 2/2" in err
    assert (tmp_path / "out" / "ray-map" / "seed_3" / LAST).is_file()
    assert (tmp_path / "out" / DATA).is_file()
    assert main([*argv, "--only", "+ ray map", "--seeds", "3"]) == 0
    assert "is finished" in capsys.readouterr().err
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(argv) == 2
    assert "one process" in capsys.readouterr().err
