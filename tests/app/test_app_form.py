"""What is typed into the page becomes options, or an error in the page's words; never a path."""

from __future__ import annotations

import json

import pytest

from metrichmsr.app.form import Form, read_statures
from metrichmsr.errors import UsageError
from metrichmsr.recover import RecoverOptions, parse_heights


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1.82", 1.82),
        (" 1,82 m ", 1.82),
        ("182 cm", 1.82),
        ("0: 1.82, 1: 1.65", {0: 1.82, 1: 1.65}),
        ("0:1,82;1=165cm", {0: 1.82, 1: 1.65}),
        ("0: 1,82, 2: 1,10", {0: 1.82, 2: 1.1}),
        ("3: 1.1,\n0: 2", {3: 1.1, 0: 2.0}),
    ],
)
def test_statures_are_read_as_people_write_them(text, expected):
    assert parse_heights(read_statures(text)) == expected


@pytest.mark.parametrize("text", ["", "  ", "\n"])
def test_no_stature_is_none(text):
    assert read_statures(text) is None


@pytest.mark.parametrize(
    "text",
    ["tall", "182", "0.1", "-1.8", "nan", "0: 1.8, 0: 1.7", "0: 1.8 1: 1.7", "0: tall", "1e0", "١.٨", "x" * 3000],
)
def test_nonsense_is_refused(text):
    with pytest.raises(UsageError):
        read_statures(text)


def test_a_path_is_no_stature(tmp_path):
    path = tmp_path / "1"
    path.write_text('{"0": 1.8}')
    assert parse_heights(str(path)) == {0: 1.8}, "the command line reads files"
    for text in (str(path), '{"0": 1.8}', "/etc/passwd"):
        with pytest.raises(UsageError, match="cannot read"):
            read_statures(text)


def test_fields_become_options():
    base = RecoverOptions(fov=50.0, max_people=7)
    options = Form("children", "0: 1.1", "35mm", 28, depth=False, faces=False).options(base)
    assert (options.people, options.depth, options.faces, options.max_people) == ("children", "none", False, 7)
    assert (options.focal_35mm, options.fov, options.focal_px) == (28.0, None, None)
    assert json.loads(options.height or "") == {"0": 1.1}
    untouched = Form().options(base)
    assert untouched == base
    assert Form().options(RecoverOptions(faces=False)).faces is False, "the command line's word stands"


@pytest.mark.parametrize(
    "form",
    [
        Form(people="dogs"),
        Form(focal_kind="inches", focal_value=2),
        Form(focal_kind="pixels"),
        Form(focal_kind="pixels", focal_value=-3.0),
        Form(focal_kind="pixels", focal_value=float("nan")),
        Form(focal_kind="fov", focal_value=180.0),
        Form(focal_kind="fov", focal_value="50"),  # pyright: ignore[reportArgumentType]
    ],
)
def test_fields_that_make_no_sense_are_refused(form):
    with pytest.raises(UsageError):
        form.options(RecoverOptions())
