"""Shards: what goes in comes out, interrupted and broken ones are told, and every reader gets its share."""

from __future__ import annotations

import errno
import json
import logging
import tarfile
from itertools import chain

import pytest
from torch.utils.data import DataLoader

from metrichmsr.datasets import ShardError, ShardIndex, ShardReader, ShardWriter, shards
from metrichmsr.errors import InputError, UsageError

SETTINGS = {"kind": "test", "numbers": [1, 2.5], "nested": {"a": None}}


def sample(number: int):
    files = {"txt": str(number).encode(), "data.bin": bytes([number % 256]) * (number * 37 % 900)}
    return f"sample_{number:04d}", files


def decode(key, files):
    number = int(files["txt"])
    assert sample(number) == (key, files)
    return number


@pytest.fixture
def folder(tmp_path):
    """Five shards of 20, 21, … samples."""
    path = tmp_path / "set"
    writer = ShardWriter(path, SETTINGS)
    start = 0
    for number in range(5):
        count = 20 + number
        writer.write(number, f"{start}+{count}", (sample(i) for i in range(start, start + count)))
        start += count
    return path


N = 110


def test_round_trip_in_order(folder):
    reader = ShardReader(folder, decode, check=True)
    assert len(reader) == N
    assert list(reader) == list(range(N))
    assert list(reader) == list(range(N)), "a second pass"
    index = ShardIndex.read(folder)
    assert dict(index.settings) == SETTINGS
    assert [entry.samples for entry in index.shards] == [20, 21, 22, 23, 24]
    assert (index.shards[1].first_key, index.shards[1].last_key) == ("sample_0020", "sample_0040")
    assert index.shards[1].bytes == (folder / "shard-000001.tar").stat().st_size
    assert sorted(path.name for path in folder.iterdir()) == ["index.json", *(e.name for e in index.shards)]


def test_any_tar_reader_reads_them(folder):
    with tarfile.open(folder / "shard-000000.tar") as tar:
        names = tar.getnames()
    assert names[:4] == ["sample_0000.txt", "sample_0000.data.bin", "sample_0001.txt", "sample_0001.data.bin"]


def test_the_webdataset_library_reads_them(folder):
    webdataset = pytest.importorskip("webdataset")
    dataset = webdataset.WebDataset(str(folder / "shard-000000.tar"), shardshuffle=False)
    assert [(s["__key__"], {k: s[k] for k in ("txt", "data.bin")}) for s in dataset] == [sample(i) for i in range(20)]


def test_the_same_samples_make_the_same_bytes(folder, tmp_path):
    other = ShardWriter(tmp_path / "other", SETTINGS)
    other.write(0, "again", (sample(i) for i in range(20)))
    assert (tmp_path / "other" / "shard-000000.tar").read_bytes() == (folder / "shard-000000.tar").read_bytes()


def test_only_the_names_wanted(folder):
    reader = ShardReader(folder, lambda key, files: (key, set(files)), names={"txt"})
    assert next(iter(reader)) == ("sample_0000", {"txt"})


@pytest.mark.parametrize("buffer", [1, 7, 1000])
def test_shuffling_loses_nothing_and_follows_seed_and_epoch(folder, buffer):
    def order(**options):
        return list(ShardReader(folder, decode, shuffle_buffer=buffer, **options))

    first = order(seed=3, epoch=1)
    assert sorted(first) == list(range(N))
    assert first != list(range(N))
    assert first == order(seed=3, epoch=1)
    assert first != order(seed=3, epoch=2)
    assert first != order(seed=4, epoch=1)
    reader = ShardReader(folder, decode, shuffle_buffer=buffer, seed=3)
    reader.set_epoch(1)
    assert list(reader) == first


@pytest.mark.parametrize("buffer", [0, 8])
@pytest.mark.parametrize("world", [1, 2, 3, 5])
def test_ranks_share_everything_once(folder, world, buffer):
    readers = [ShardReader(folder, decode, shuffle_buffer=buffer, rank=r, world_size=world) for r in range(world)]
    parts = [list(reader) for reader in readers]
    assert sorted(chain(*parts)) == list(range(N))
    assert [len(part) for part in parts] == [len(reader) for reader in readers]


def test_even_shares(folder):
    for world in (2, 3):
        parts = [list(ShardReader(folder, decode, rank=r, world_size=world, even=True)) for r in range(world)]
        assert len({len(part) for part in parts}) == 1
        together = list(chain(*parts))
        assert len(set(together)) == len(together)


def test_workers_of_a_loader_share_everything_once(folder):
    reader = ShardReader(folder, decode, shuffle_buffer=4, rank=1, world_size=2)
    loader = DataLoader(reader, batch_size=None, num_workers=2)
    assert sorted(loader) == sorted(reader)


def test_resuming_knows_what_is_finished(folder):
    writer = ShardWriter(folder, SETTINGS)
    assert writer.has(0, "0+20")
    assert not writer.has(0, "0+21"), "another plan"
    assert not writer.has(9, "0+20"), "not there"
    path = folder / "shard-000001.tar"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert not writer.has(1, "20+21"), "changed"
    path.unlink()
    assert not writer.has(1, "20+21"), "lost"
    writer.write(1, "20+21", (sample(i) for i in range(20, 41)))
    assert list(ShardReader(folder, decode)) == list(range(N))


def test_an_interrupted_shard_leaves_the_others(folder):
    writer = ShardWriter(folder, SETTINGS)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def samples():
        yield sample(0)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        writer.write(2, "plan", samples())
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    # A killed run leaves its half; the next one clears it away.
    (folder / ".shard-000007.tar.abcdef12.partial").write_bytes(b"half")
    ShardWriter(folder, SETTINGS)
    assert {path.name for path in folder.iterdir()} == set(before)


def test_a_full_disk(folder, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    writer = ShardWriter(folder, SETTINGS)
    before = {path.name for path in folder.iterdir()}
    monkeypatch.setattr(shards.os, "fsync", full)
    with pytest.raises(ShardError, match=r"shard-000005.tar: .* the disk is full; 5 finished shards are whole"):
        writer.write(5, "plan", [sample(1)])
    assert {path.name for path in folder.iterdir()} == before
    monkeypatch.undo()
    assert list(ShardReader(folder, decode, check=True)) == list(range(N))


def test_settings_do_not_mix(folder, tmp_path):
    with pytest.raises(UsageError, match=r"made with kind = \"test\", not \"other\""):
        ShardWriter(folder, {**SETTINGS, "kind": "other"})
    with pytest.raises(UsageError, match="made with more = null, not 1"):
        ShardWriter(folder, {**SETTINGS, "more": 1})
    (folder / "index.json").unlink()
    with pytest.raises(UsageError, match="without an index"):
        ShardWriter(folder, SETTINGS)
    (tmp_path / "file").touch()
    with pytest.raises(ShardError, match="cannot write here"):
        ShardWriter(tmp_path / "file", SETTINGS)


def truncate(folder, at):
    path = folder / "shard-000001.tar"
    data = path.read_bytes()
    path.write_bytes(data[: at if at >= 0 else len(data) + at])


@pytest.mark.parametrize("at", [0, 100, 512, 3000, 9000, -11000])
def test_a_shard_that_ends_early(folder, at, caplog):
    truncate(folder, at)
    with pytest.raises(ShardError, match=r"shard-000001.tar: (breaks off|ends|sample_\d+: its file)"):
        list(ShardReader(folder, decode))
    with pytest.raises(ShardError, match=r"shard-000001.tar: its SHA-256 is"):
        list(ShardReader(folder, decode, check=True))
    reader = ShardReader(folder, decode, on_error="skip")
    with caplog.at_level(logging.WARNING):
        numbers = list(reader)
    assert len(numbers) + reader.skipped == N
    assert set(range(20)) | set(range(41, N)) <= set(numbers)
    assert "shard-000001.tar" in caplog.text


def test_a_broken_sample_is_named_or_skipped(folder):
    def picky(key, files):
        if key == "sample_0033":
            raise InputError("depth.png: cannot be read")
        return decode(key, files)

    with pytest.raises(ShardError, match=r"shard-000001.tar: sample_0033: depth.png: cannot be read"):
        list(ShardReader(folder, picky))
    reader = ShardReader(folder, picky, on_error="skip")
    assert list(reader) == [i for i in range(N) if i != 33]
    assert reader.skipped == 1


def test_a_lost_shard(folder):
    (folder / "shard-000004.tar").unlink()
    with pytest.raises(ShardError, match=r"shard-000004.tar: cannot be read: No such file"):
        list(ShardReader(folder, decode))
    reader = ShardReader(folder, decode, on_error="skip")
    assert len(list(reader)) == N - 24
    assert reader.skipped == 24


@pytest.mark.parametrize(
    ("key", "files"),
    [
        ("a.b", {"txt": b""}),
        ("a/b", {"txt": b""}),
        ("a", {"../txt": b""}),
        ("a", {}),
        ("sample_0000", {"txt": b""}),
    ],
)
def test_keys_and_names_that_would_not_come_back(folder, key, files):
    writer = ShardWriter(folder, SETTINGS)
    with pytest.raises(ValueError, match=r"key|name|file"):
        writer.write(7, "plan", [sample(0), (key, files)])
    assert not (folder / "shard-000007.tar").exists()


def test_what_is_no_set(tmp_path, folder):
    with pytest.raises(InputError, match=r"index.json is missing"):
        ShardReader(tmp_path, decode)
    ShardWriter(tmp_path / "empty", {})
    with pytest.raises(InputError, match="no samples"):
        ShardReader(tmp_path / "empty", decode)
    with pytest.raises(UsageError, match="rank 2 of 2"):
        ShardReader(folder, decode, rank=2, world_size=2)
    with pytest.raises(UsageError, match="5 shards cannot be shared among 6"):
        ShardReader(folder, decode, world_size=6)
    for text in ("{", '{"format": "other"}', json.dumps({"format": "metrichmsr-shards/1", "shards": [{}]})):
        (folder / "index.json").write_text(text)
        with pytest.raises(InputError, match=r"index.json"):
            ShardReader(folder, decode)
