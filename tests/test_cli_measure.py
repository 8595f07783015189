"""metrichmsr measure: results on disk, old and new, and what is no result."""

from __future__ import annotations

import csv
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from metrichmsr import cli, cli_measure
from metrichmsr.bodies.anny import AnnyBody
from metrichmsr.bodies.measurement_doubt import Measurer
from metrichmsr.bodies.measurements import MEASUREMENTS
from metrichmsr.cli_measure import COLUMNS
from metrichmsr.export import read_result
from metrichmsr.export.result_json import result_document, write_result
from metrichmsr.structures import Person


@pytest.fixture(scope="module")
def measurer() -> Measurer:
    return Measurer(AnnyBody.load())


@pytest.fixture
def people(make_person, measurer) -> tuple[Person, ...]:
    """Two adults and a child, measured."""
    kinds = ({"age": 0.7, "gender": 0.0}, {"age": 0.75, "gender": 1.0}, {"age": 0.3})
    model = measurer.model
    shapes = torch.stack([model.shape_from(kind) for kind in kinds])
    return measurer.people(
        [
            make_person(
                i,
                shape=dict(zip(model.shape_names, shape.tolist(), strict=True)),
                height_m=float(model.height(shape[None])),
            )
            for i, shape in enumerate(shapes)
        ]
    )


@pytest.fixture
def result(tmp_path, people, make_recovery):
    """Factory of result folders."""

    def make(name: str, *, old: bool = False) -> Path:
        document = result_document(make_recovery(f"photos/{name}.jpg", people))
        if old:
            for person in document["people"]:
                del person["measurements_m"]
        folder = tmp_path / "out" / name
        folder.mkdir(parents=True)
        write_result(document, folder / "result.json")
        return folder

    return make


def run(capsys, *args: object) -> tuple[int, str, str]:
    status = cli.main(["measure", *map(str, args)])
    return (status, *capsys.readouterr())


def test_measurements_are_in_the_contract(result, people):
    document = read_result(result("street") / "result.json")
    for entry, person in zip(document["people"], people, strict=True):
        assert list(entry["measurements_m"]) == list(MEASUREMENTS)
        for name, (value, std) in person.measurements.items():
            assert entry["measurements_m"][name] == {
                "value": pytest.approx(value, abs=1e-6),
                "std": pytest.approx(std, abs=1e-6),
            }
        assert entry["measurements_m"]["stature"]["value"] == pytest.approx(entry["height_m"], abs=1e-3)
        assert entry["measurements_m"]["stature"]["std"] == pytest.approx(entry["height_std_m"], abs=1e-4)


def test_nobody_measured_is_null(make_recovery):
    assert result_document(make_recovery())["people"][0]["measurements_m"] is None


def test_table(capsys, result):
    status, out, err = run(capsys, result("street"))
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "photos/street.jpg: 3 people, metres ± one sigma"
    assert lines[1].split() == ["person", "0", "person", "1", "person", "2"]
    assert [line[2:18].strip().replace(" ", "_") for line in lines[2:]] == list(MEASUREMENTS)
    assert lines[2].count("±") == 3


def test_old_results_are_measured_anew(capsys, result, tmp_path):
    result("a")
    result("b", old=True)
    status, out, _ = run(capsys, tmp_path / "out", "--json")
    assert status == 0
    new, old = map(json.loads, out.splitlines())
    assert (new["image"], old["image"]) == ("photos/a.jpg", "photos/b.jpg")
    for mine, theirs in zip(old["people"], new["people"], strict=True):
        assert mine["id"] == theirs["id"]
        for name in MEASUREMENTS:
            assert mine["measurements_m"][name] == pytest.approx(theirs["measurements_m"][name], abs=2e-5)


def test_csv_has_a_row_per_person_and_measurement(capsys, result, tmp_path, people):
    path = tmp_path / "tables" / "people.csv"
    status, out, _ = run(capsys, result("street"), "--csv", path)
    assert status == 0
    assert out.endswith(f"written to {path}\n")
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert len(rows) == len(people) * len(MEASUREMENTS)
    inseam = next(row for row in rows if row["id"] == "1" and row["measurement"] == "inseam")
    assert float(inseam["value_m"]) == pytest.approx(people[1].measurements["inseam"].value_m, abs=1e-6)
    assert inseam["image"] == "photos/street.jpg"
    assert inseam["frame"] == ""


def test_an_unknown_sigma_is_left_out(capsys, tmp_path, measurer, people, make_recovery):
    unsure = measurer.people([replace(people[0], height_std_m=float("nan"))])
    write_result(result_document(make_recovery("x.jpg", unsure)), tmp_path / "result.json")
    status, out, _ = run(capsys, tmp_path)
    assert status == 0
    assert "±" not in out.split("\n", 1)[1]


def test_a_photo_is_recovered_first(capsys, monkeypatch, tmp_path, people, make_recovery):
    made = []

    class FakeRecoverer:
        def __init__(self, options, *, device=None):
            made.append(options)

        def __call__(self, path):
            sys.stdout.write("a library that talks\n")
            return make_recovery(path, people, warnings=("the lens is odd",))

    monkeypatch.setattr(cli_measure, "Recoverer", FakeRecoverer)
    photo = tmp_path / "pair.jpg"
    Image.new("RGB", (64, 48)).save(photo)
    status, out, err = run(capsys, photo, "--json", "--height", "1.8")
    assert status == 0
    assert err == f"a library that talks\nmetrichmsr: warning: {photo}: the lens is odd\n"
    assert len(json.loads(out)["people"]) == 3
    assert json.loads(out)["warnings"] == ["the lens is odd"]
    assert made[0].height == "1.8"
    assert made[0].depth == "none", "nobody asked for the scene"
    assert list(tmp_path.iterdir()) == [photo], "nothing is written that was not asked for"


def test_bad_inputs_are_named_and_the_others_done(capsys, result, tmp_path):
    good = result("good")
    (tmp_path / "empty").mkdir()
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "result.json").write_text("{")
    missing = tmp_path / "missing.jpg"
    table = tmp_path / "m.csv"
    status, out, err = run(capsys, tmp_path / "empty", broken, missing, good, "--csv", table)
    assert status == 1
    lines = err.splitlines()
    assert len(lines) == 3
    assert f"{tmp_path / 'empty'}: no result in this folder" in lines[0]
    assert f"{broken / 'result.json'}: not a JSON file" in lines[1]
    assert str(missing) in lines[2]
    assert out.startswith("photos/good.jpg: 3 people")
    assert table.is_file()


def test_a_shape_of_another_model_is_told(capsys, result):
    folder = result("odd", old=True)
    path = folder / "result.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    del document["people"][1]["shape"]["weight"]
    path.write_text(json.dumps(document), encoding="utf-8")
    status, _, err = run(capsys, folder)
    assert status == 1
    assert "the shape of person 1 is not one of anny" in err


def test_another_body_model_needs_its_file(capsys, result):
    folder = result("smpl", old=True)
    path = folder / "result.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    document["people"][0]["body_model"] = "smpl"
    path.write_text(json.dumps(document), encoding="utf-8")
    status, _, err = run(capsys, folder)
    assert status == 2
    assert "no neutral SMPL model found" in err


@pytest.mark.parametrize("args", [[], ["x", "--csv", "."]])
def test_bad_usage(capsys, args):
    status, out, err = run(capsys, *args)
    assert status == 2
    assert out == ""
    assert err.startswith("metrichmsr: error: ")


def test_numbers_are_finite(people):
    for person in people:
        assert np.isfinite([number for pair in person.measurements.values() for number in pair]).all()


def test_options_of_recovery_are_refused_for_what_is_recovered(capsys, result):
    status, _, err = run(capsys, result("street"), "--people", "children")
    assert status == 2
    assert "--people is for photos" in err
