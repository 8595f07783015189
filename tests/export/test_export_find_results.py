"""Which folders a path stands for: the same for every verb that takes results."""

from __future__ import annotations

import pytest

from metrichmsr import cli
from metrichmsr.errors import InputError
from metrichmsr.export.find_results import find_result_folders


@pytest.fixture
def out(tmp_path):
    """A folder of results, with an unfinished one and other things in it."""
    for name in ("walk_10", "walk_2", "Beach", ".walk_3.12345678.partial"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "result.json").write_text("{}")
    (tmp_path / "notes").mkdir()
    (tmp_path / "people.csv").write_text("")
    return tmp_path


def test_a_folder_of_results_in_natural_order(out):
    assert [folder.name for folder in find_result_folders(out)] == ["Beach", "walk_2", "walk_10"]


def test_a_result_or_its_file(out):
    assert find_result_folders(out / "Beach") == [out / "Beach"]
    assert find_result_folders(str(out / "Beach" / "result.json")) == [out / "Beach"]


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("notes", r"notes: no result in this folder.*metrichmsr recover"),
        ("nowhere", r"nowhere: no such file or folder"),
        ("people.csv", r"people\.csv: not a result; give its folder"),
    ],
)
def test_what_holds_none_is_told(out, name, cause):
    with pytest.raises(InputError, match=cause):
        find_result_folders(out / name)


@pytest.mark.parametrize("verb", ["measure", "report", "view"])
@pytest.mark.parametrize(
    ("name", "cause"), [("notes", "no result in this folder"), ("nowhere", "no such file or folder")]
)
def test_every_verb_tells_it_alike(out, capsys, verb, name, cause):
    assert cli.main([verb, str(out / name)]) in (1, 2)
    assert f"{out / name}: {cause}" in capsys.readouterr().err
