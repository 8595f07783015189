"""Assets belong to one split, whatever else there is."""

from __future__ import annotations

import itertools
import typing

import pytest

from metrichmsr.synthetic.splits import Split, of_split, split_of

SPLITS = typing.get_args(Split)


def test_every_name_has_one_split_and_shares_are_kept() -> None:
    names = [f"asset {i}" for i in range(4000)]
    parts = {split: of_split(names, names, split) for split in SPLITS}
    assert sorted(itertools.chain(*parts.values())) == sorted(names)
    assert len(parts["val"]) == pytest.approx(400, rel=0.2)
    assert len(parts["test"]) == pytest.approx(600, rel=0.2)
    assert all(split_of(name) == "test" for name in parts["test"])


def test_more_assets_move_none() -> None:
    few, many = [f"a{i}" for i in range(100)], [f"a{i}" for i in range(300)]
    for split in SPLITS:
        assert set(of_split(few, few, split)) <= set(of_split(many, many, split))


def test_small_kinds_are_dealt_so_that_no_split_is_empty() -> None:
    names = ["skin a", "skin b", "skin c", "skin d", "skin e", "skin f"]
    parts = [of_split(names, names, split, at_least=2) for split in SPLITS]
    assert [len(part) for part in parts] == [2, 2, 2]
    assert sorted(itertools.chain(*parts)) == names
    assert of_split(names[:2], names[:2], "test", at_least=2) == names[:2], "too few to hold any back"
