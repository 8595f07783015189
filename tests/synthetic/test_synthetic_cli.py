"""The verb ``synth`` with a generator of nothing: sets, resuming, previews, statistics, usage."""

from __future__ import annotations

import json
import sys

import pytest
from PIL import Image
from synthetic_fakes import FakeSource

from metrichmsr import cli, cli_synth
from metrichmsr.datasets import ShardIndex
from metrichmsr.synthetic import writer
from metrichmsr.synthetic.assets import VARIABLE
from metrichmsr.synthetic.shot_files import read_shots


@pytest.fixture
def synth(monkeypatch, tmp_path, capsys):
    """Runs ``metrichmsr synth …`` in a folder of its own; returns status, stdout, stderr."""
    monkeypatch.setattr(cli_synth, "_source", lambda args: FakeSource(split=args.what.split))
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)

    def run(*args: object):
        status = cli.main(["synth", *map(str, args)])
        return (status, *capsys.readouterr())

    return run


def visible(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_set(synth, tmp_path):
    status, out, err = synth("--out", "set", "--count", 70, "--shard-size", 30, "--workers", 0, "--statistics")
    assert status == 0
    names = ["README.md", "index.json", *(f"shard-00000{i}.tar" for i in range(3)), "statistics.json", "statistics.png"]
    assert visible(tmp_path / "set") == names
    assert "crops, train: 80 pictures in 3 shards" in out, "70 rounded up to five batches of 16"
    assert "| stature, m |" in out
    assert "80/80" in err
    index = ShardIndex.read(tmp_path / "set")
    assert [(shard.samples, shard.plan) for shard in index.shards] == [
        (32, "seeds 0 to 1"),
        (32, "seeds 2 to 3"),
        (16, "seeds 4 to 4"),
    ]
    keys = [shot.key for shot in read_shots(tmp_path / "set", check=True)]
    assert keys == [f"train_{seed}_{i:02d}" for seed in range(5) for i in range(16)]
    card = (tmp_path / "set" / "README.md").read_text()
    for text in ("SynFocal crops, train", "80 pictures", "- set_number: 0", "- wind: 1"):
        assert text in card
    assert "- shirt, skin_a (by nobody, CC0)\n" in card, "one line for an author, shirt_0 and shirt_1 named once"
    assert "- hat_9: cannot be read" in card


def test_workers_make_the_same(synth, tmp_path):
    synth("--out", "a", "--count", 64, "--workers", 0)
    synth("--out", "b", "--count", 64, "--workers", 2)
    for name in visible(tmp_path / "a"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


def test_resuming_growing_and_mixing(synth, tmp_path, monkeypatch):
    made = []
    do = writer.Job.do
    monkeypatch.setattr(writer.Job, "do", lambda job, generator: made.append(job.seed) or do(job, generator))
    base = ("--out", "set", "--shard-size", 32, "--workers", 0)
    synth(*base, "--count", 96)
    (tmp_path / "set" / "shard-000001.tar").unlink()
    made.clear()
    assert synth(*base, "--count", 96)[0] == 0
    assert made == [2, 3], "only what is missing"
    made.clear()
    assert synth(*base, "--count", 160)[0] == 0
    assert made == [6, 7, 8, 9], "a set grows"
    for args, cause in (
        (("--count", 96), "holds 160 pictures already, more than 96"),
        (("--count", 160, "--split", "val"), 'made with split = "train", not "val"'),
        (("--count", 160, "--seed", 2), "made with set_number = 0, not 2"),
        (("--count", 160, "--normals"), "made with normals = false, not true"),
    ):
        status, out, err = synth(*base, *args)
        assert (status, out) == (2, "")
        assert err.splitlines()[-1].startswith("metrichmsr: error: set: ")
        assert cause in err


def test_a_failing_seed_leaves_whole_shards(synth, tmp_path):
    args = ("--out", "set", "--kind", "scenes", "--count", 20, "--shard-size", 5)
    for workers in (0, 1):
        status, out, err = synth(*args, "--workers", workers)
        assert (status, out) == (2, "")
        assert "hat_9.npz: broken" in err.splitlines()[-1]
        assert [name for name in visible(tmp_path / "set") if name.endswith(".tar")] == [
            "shard-000000.tar",
            "shard-000001.tar",
        ]
    assert "scenes of seed 13" in err


def test_interrupted(synth, tmp_path, monkeypatch):
    do = writer.Job.do

    def interrupted(job, generator):
        if job.seed == 3:
            raise KeyboardInterrupt
        return do(job, generator)

    monkeypatch.setattr(writer.Job, "do", interrupted)
    status, _, err = synth("--out", "set", "--count", 96, "--shard-size", 32, "--workers", 0)
    assert status == 130
    assert "interrupted; 1 shard finished and whole" in err.splitlines()[-1]
    assert visible(tmp_path / "set") == ["index.json", "shard-000000.tar"]


def test_preview_and_statistics_keep_nothing_else(synth, tmp_path):
    status, out, _ = synth("--preview", "sheet.png", "--preview-count", 5, "--workers", 0)
    assert (status, out) == (0, "5 pictures on sheet.png\n")
    assert visible(tmp_path) == ["sheet.png"]
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.height == 3 * (256 + 30)
    status, out, _ = synth("--statistics", "--kind", "twins", "--count", 10, "--workers", 0, "--seed", 4)
    assert status == 0
    assert out.startswith("10 pictures, 10 people seen\n")
    assert visible(tmp_path) == ["sheet.png"]


def test_preview_of_a_set(synth, tmp_path):
    synth("--out", "set", "--count", 16, "--workers", 0)
    status, out, _ = synth("--out", "set", "--count", 16, "--workers", 0, "--preview", "p.webp", "--preview-count", 99)
    assert status == 0
    assert "16 pictures on p.webp" in out


def test_fetching(synth, monkeypatch, tmp_path):
    import types

    fetched = []
    fake = types.SimpleNamespace(fetch_assets=fetched.append)
    monkeypatch.setitem(sys.modules, "metrichmsr.synthetic.fetch_assets", fake)
    assert synth("--fetch-assets")[0] == 0
    _, out, _ = synth("--fetch-assets", "here")
    assert [str(folder) for folder in fetched] == ["synfocal-assets", "here"]
    assert "--assets here" in out


@pytest.mark.parametrize(
    ("args", "cause"),
    [
        ([], "nothing to do"),
        (["--out", "set", "--count", "0"], "count"),
        (["--out", "set", "--shard-size", "-1"], "shard size"),
        (["--out", "set", "--workers", "-1"], "--workers"),
        (["--preview", "a.png", "--preview-count", "0"], "--preview-count"),
        (["--preview", "none/a.png"], "there is no folder"),
        (["--preview", "a.txt"], "give a .png"),
        (["--out", "set", "--check"], "--check what?"),
        (["--out", "set", "--no-assets", "--assets", "x"], "contradict"),
        (["--out", "set", "--seed", "-1"], "set number"),
    ],
)
def test_bad_usage(synth, args, cause, tmp_path):
    status, out, err = synth(*args)
    assert (status, out) == (2, "")
    assert err.startswith("metrichmsr: error: ")
    assert cause in err
    assert err.count("\n") == 1
    assert visible(tmp_path) == []


def test_assets_by_option_or_environment(monkeypatch, tmp_path):
    def args(**what):
        return cli_synth.SynthArgs(cli_synth.WhatOptions(**what), cli_synth.ShardOptions(out=tmp_path))

    monkeypatch.delenv(VARIABLE, raising=False)
    assert args().assets is None
    monkeypatch.setenv(VARIABLE, "/by/environment")
    assert str(args().assets) == "/by/environment"
    assert args(assets=tmp_path).assets == tmp_path
    assert args(no_assets=True).assets is None


def test_fingerprint_of_assets(tmp_path):
    from metrichmsr.errors import InputError

    with pytest.raises(InputError, match=r"no such asset folder; metrichmsr synth --fetch-assets"):
        writer.assets_fingerprint(tmp_path / "none")
    with pytest.raises(InputError, match="none of the asset folders poses"):
        writer.assets_fingerprint(tmp_path)
    (tmp_path / "poses").mkdir()
    (tmp_path / "poses" / "poses.npz").write_bytes(b"123")
    first = writer.assets_fingerprint(tmp_path)
    (tmp_path / "notes.md").touch()
    assert writer.assets_fingerprint(tmp_path) == first
    (tmp_path / "poses" / "poses.npz").write_bytes(b"1234")
    assert writer.assets_fingerprint(tmp_path) != first


def test_settings_of_a_set_are_plain_json(tmp_path):
    settings = writer.SetPlan(kind="twins").settings(FakeSource())  # type: ignore[reportArgumentType]
    assert json.loads(json.dumps(settings)) == settings
