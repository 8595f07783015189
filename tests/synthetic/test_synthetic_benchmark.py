"""The benchmark's check: the same is the same after shards, rounding counts little, another scene is named."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from synthetic_fakes import FakeSource

from metrichmsr import cli
from metrichmsr.errors import InputError, UsageError
from metrichmsr.synthetic import benchmark as benchmarks
from metrichmsr.synthetic.assets import VARIABLE
from metrichmsr.synthetic.benchmark import (
    BENCHMARKS,
    Benchmark,
    ExpectedTruth,
    check_crops,
    check_scenes,
    fingerprint,
    grouped,
    write_benchmark,
)
from metrichmsr.synthetic.shot_files import read_shots

SMALL = Benchmark("test", split="test", scenes=4)
SOURCE = FakeSource(split="test")


@pytest.fixture(scope="module")
def scenes():
    return [job.do(SOURCE.load()) for job in SMALL.plan.jobs()]


@pytest.fixture(scope="module")
def expected(scenes):
    return ExpectedTruth.of(scenes, SOURCE.describe())


def changed(shot, **people):
    return dataclasses.replace(shot, people=dataclasses.replace(shot.people, **people))


def test_sizes():
    assert {name: (b.scenes, b.pictures, b.split) for name, b in BENCHMARKS.items()} == {
        "test": (400, 2000, "test"),
        "validation": (200, 1000, "val"),
    }
    for benchmark in BENCHMARKS.values():
        assert len(benchmark.plan.jobs()) == benchmark.scenes
        assert benchmark.plan.fovs_deg == (20, 35, 55, 80, 110)


def test_the_table_is_small_and_comes_back(expected, tmp_path):
    expected.save(tmp_path / "t.npz")
    again = ExpectedTruth.load(tmp_path / "t.npz")
    for field in dataclasses.fields(ExpectedTruth):
        np.testing.assert_equal(getattr(again, field.name), getattr(expected, field.name))
    rng = np.random.default_rng(0)
    large = {
        name: rng.random((400, *np.shape(getattr(expected, name))[1:])).astype("f4")
        for name in ("focal_px", "pelvis_m", "joints_mean_m", "stature_m", "picture_mean", "depth_median_m")
    }
    ExpectedTruth(**large, digest=rng.integers(0, 255, (400, 8), np.uint8), made_with={}).save(tmp_path / "l.npz")
    assert (tmp_path / "l.npz").stat().st_size < 150_000
    with pytest.raises(InputError, match="no expected truth"):
        ExpectedTruth.load(tmp_path / "none.npz")
    (tmp_path / "x.npz").write_bytes(b"no")
    with pytest.raises(InputError, match=r"x.npz: cannot be read"):
        ExpectedTruth.load(tmp_path / "x.npz")


def test_the_same(scenes, expected):
    report = check_scenes(scenes, expected, SOURCE.describe())
    assert report.same
    assert str(report) == "the same: 4 scenes (4 equal)"
    assert fingerprint(scenes) == expected.fingerprint


def test_the_same_after_shards(tmp_path, expected):
    write_benchmark(tmp_path / "set", SMALL, SOURCE)
    report = check_scenes(grouped(read_shots(tmp_path / "set"), 5), expected)
    assert (report.same, report.equal) == (True, 4)
    assert "# synfocal-plain test" in (tmp_path / "set" / "README.md").read_text()


def test_rounding_is_close(scenes, expected):
    nearly = [[changed(s, joints_m=s.people.joints_m + np.float32(1e-3)) for s in twins] for twins in scenes]
    report = check_scenes(nearly, expected)
    assert (report.same, report.close) == (True, 4)
    assert fingerprint(nearly) != expected.fingerprint


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (lambda s: changed(s, height_m=s.people.height_m + np.float32(0.01)), "stature_m off by 0.01"),
        (lambda s: changed(s, translation_m=s.people.translation_m + np.float32(0.02)), "pelvis_m off by 0.02"),
        (lambda s: changed(s, joints_m=s.people.joints_m + np.float32(0.02)), "joints_mean_m off by 0.02"),
        (lambda s: dataclasses.replace(s, full_K=s.full_K * np.float32(1.01)), "focal_px off by"),
        (lambda s: dataclasses.replace(s, image=s.image // 2), "picture_mean off by"),
        (lambda s: dataclasses.replace(s, depth_m=s.depth_m * np.float32(1.1)), "depth_median_m off by"),
        (lambda s: dataclasses.replace(s, depth_m=s.depth_m * np.float32(np.nan)), "depth_median_m off by"),
    ],
)
def test_another_scene_is_named(scenes, expected, change, cause):
    other = [twins if number != 2 else [*twins[:3], change(twins[3]), twins[4]] for number, twins in enumerate(scenes)]
    if cause.startswith("stature"):
        other[2] = [change(shot) for shot in scenes[2]]
    report = check_scenes(other, expected)
    assert not report.same
    assert str(report).startswith(f"differs: scene 2: {cause}")
    assert len(report.differing) == 1


def test_missing_and_other_ingredients(scenes, expected):
    assert "2 of 4 scenes are missing" in str(check_scenes(scenes[:2], expected))
    assert "one too many" in str(check_scenes([*scenes, scenes[0]], expected))
    assert "scene 1: 4 pictures, not 5" in str(check_scenes([scenes[0], scenes[1][:4], *scenes[2:]], expected))
    report = check_scenes(scenes, expected, {**SOURCE.describe(), "generator": {"wind": 2.0}})
    assert "the generator's settings: not what" in str(report)
    report = check_scenes(scenes, expected, {**SOURCE.describe(), "assets": "abc"})
    assert "the asset folder: not what" in str(report)


def test_only_crops(scenes):
    assert check_crops(scenes[0]) is scenes[0]
    with pytest.raises(UsageError, match="256×100 pixels"):
        check_crops([dataclasses.replace(scenes[0][0], image=np.zeros((100, 256, 3), np.uint8))])


def test_by_command(monkeypatch, tmp_path, capsys, expected):
    monkeypatch.setattr(benchmarks, "BENCHMARKS", {"test": SMALL})
    monkeypatch.setattr(benchmarks, "EXPECTED", tmp_path / "expected")
    monkeypatch.setattr(Benchmark, "source", lambda self, assets, device="cpu": SOURCE)
    monkeypatch.delenv(VARIABLE, raising=False)

    def run(*args):
        status = cli.main(["synth", "--benchmark", "test", "--workers", "0", *map(str, args)])
        return (status, *capsys.readouterr())

    status, _, err = run("--check")
    assert status == 2
    assert "synfocal-plain_test.npz: no expected truth" in err
    assert benchmarks.main(["test", "--workers", "0"]) == 0
    written = capsys.readouterr().out
    assert written == f"{tmp_path / 'expected' / 'synfocal-plain_test.npz'}: fingerprint {expected.fingerprint}\n"
    assert run("--check")[:2] == (0, "synfocal-plain test: the same: 4 scenes (4 equal)\n")
    status, out, _ = run("--out", tmp_path / "set", "--check")
    assert status == 0
    assert "synfocal-plain test: 20 pictures in 1 shard" in out
    assert "the same: 4 scenes" in out
    other = dataclasses.replace(expected, stature_m=expected.stature_m + np.float32([0, 0, 0.1, 0.1]))
    other.save(tmp_path / "expected" / "synfocal-plain_test.npz")
    status, out, _ = run("--check")
    assert status == 1
    assert "differs: scene 2: stature_m off by 0.1 (and 1 more)" in out
    assert "\n  scene 3: " in out
