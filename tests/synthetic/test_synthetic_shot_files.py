"""Shots as files and back: exact but for JPEG and millimetres; what is broken is named."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from synthetic_fakes import make_shot

from metrichmsr.datasets import ShardError, ShardWriter
from metrichmsr.errors import InputError
from metrichmsr.synthetic.shot_files import decode_shot, encode_shot, read_shots
from metrichmsr.synthetic.shots import ShotPeople


def assert_same_truth(a, b):
    for name in ("key", "environment", "settings", "full_size"):
        assert getattr(a, name) == getattr(b, name)
    for name in ("K", "camera_from_world", "full_K", "crop_from_full"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
        assert getattr(a, name).dtype == getattr(b, name).dtype == np.float32
    for field in dataclasses.fields(ShotPeople):
        one, other = getattr(a.people, field.name), getattr(b.people, field.name)
        if isinstance(one, np.ndarray):
            np.testing.assert_array_equal(one, other)
            assert one.dtype == other.dtype
        else:
            assert one == other


@pytest.mark.parametrize("people", [0, 1, 3])
def test_lossless(people):
    shot = make_shot("a_1", 4, people=people)
    key, files = encode_shot(shot, picture="png", normals=True)
    assert list(files) == ["png", "depth.png", "person.png", "ground.png", "normals.png", "npz", "json"]
    again = decode_shot(key, files)
    assert_same_truth(shot, again)
    for name in ("image", "person_id", "normals", "ground"):
        np.testing.assert_array_equal(getattr(shot, name), getattr(again, name))
        assert getattr(shot, name).dtype == getattr(again, name).dtype
    np.testing.assert_array_equal(np.isnan(shot.depth_m), np.isnan(again.depth_m))
    np.testing.assert_allclose(again.depth_m, shot.depth_m, atol=0.000501, rtol=0)


def test_jpeg_without_normals():
    shot = make_shot("a_1", 4)
    again = decode_shot(*encode_shot(shot))
    assert_same_truth(shot, again)
    assert np.abs(again.image.astype(int) - shot.image).mean() < 2
    assert again.normals.shape == (0, 0, 3)


def test_depth_at_the_ends_of_its_range():
    shot = make_shot()
    depth = shot.depth_m.copy()
    depth[0, :7] = (65.5, 65.5351, 65.6, 1000, np.inf, 0.0004, -1)
    again = decode_shot(*encode_shot(dataclasses.replace(shot, depth_m=depth)))
    np.testing.assert_allclose(again.depth_m[0, :2], [65.5, 65.535])
    assert np.isnan(again.depth_m[0, 2:7]).all()


def test_only_some_fields():
    shot = make_shot("b", 2)
    again = decode_shot(*encode_shot(shot), fields=("depth",))
    assert_same_truth(shot, again)
    assert again.depth_m.shape == (48, 64)
    assert again.image.shape == again.normals.shape == (0, 0, 3)
    assert again.person_id.shape == again.ground.shape == (0, 0)


def test_numbers_of_numpy_in_the_settings():
    shot = dataclasses.replace(make_shot(), settings={"a": np.float32(0.5), "b": np.int64(3), "c": "x"})  # type: ignore
    assert decode_shot(*encode_shot(shot)).settings == {"a": 0.5, "b": 3, "c": "x"}


@pytest.mark.parametrize("name", ["jpg", "depth.png", "person.png", "ground.png", "npz", "json"])
def test_what_is_missing_or_broken_is_named(name):
    key, files = encode_shot(make_shot())
    for content in (None, b"", files[name][: len(files[name]) // 3], b"nonsense"):
        broken = {n: c for n, c in files.items() if n != name} | ({} if content is None else {name: content})
        if name in ("jpg", "person.png", "depth.png", "ground.png") and content and content != b"nonsense":
            continue  # what a decoder makes of half a picture is its own affair; the checksum tells
        with pytest.raises(InputError, match=name):
            decode_shot(key, broken)


def test_arrays_missing_in_the_npz():
    import io

    key, files = encode_shot(make_shot())
    with np.load(io.BytesIO(files["npz"])) as raw:
        arrays = {name: raw[name] for name in raw.files if name != "joints_m"}
    packed = io.BytesIO()
    np.savez(packed, **arrays)
    with pytest.raises(InputError, match="joints_m"):
        decode_shot(key, {**files, "npz": packed.getvalue()})


def test_from_shards(tmp_path):
    shots = [make_shot(f"k_{i}", i, people=1 + i % 3) for i in range(10)]
    writer = ShardWriter(tmp_path, {})
    writer.write(0, "a", (encode_shot(shot) for shot in shots[:6]))
    writer.write(1, "b", (encode_shot(shot) for shot in shots[6:]))
    for shot, again in zip(shots, read_shots(tmp_path, check=True), strict=True):
        assert_same_truth(shot, again)
    assert [shot.key for shot in read_shots(tmp_path, fields=(), rank=1, world_size=2)] == ["k_6", "k_7", "k_8", "k_9"]
    writer.write(2, "c", [("k_99", {"jpg": b"?", "json": b"{}", "npz": b"?"})])
    with pytest.raises(ShardError, match=r"shard-000002.tar: k_99: npz: cannot be read"):
        list(read_shots(tmp_path))
