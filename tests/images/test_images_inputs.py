"""What users name on the command line, as a stream: files, folders, patterns, videos, mistakes."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from metrichmsr.errors import InputError, UsageError
from metrichmsr.images import StemNamer, count_inputs, iter_inputs, unique_stems
from metrichmsr.images.media import kind_of_file, sniff


@pytest.fixture
def picture():
    """Writes a small picture, its grey level telling which."""

    def write(path: Path, level: int = 0) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (32, 24), (level, level, level)).save(path, format="PNG")
        return path

    return write


def names(items) -> list[str]:
    return [item.path.name for item in items]


def test_files_in_the_order_given(tmp_path, picture):
    b, a = picture(tmp_path / "b.png", 20), picture(tmp_path / "a.png", 10)
    items = list(iter_inputs([b, str(a)]))
    assert [item.path for item in items] == [b, a]
    assert [item.stem for item in items] == ["b", "a"]
    assert [int(item.read().rgb[0, 0, 0]) for item in items] == [20, 10]
    assert all(item.frame is None and item.error is None for item in items)
    assert count_inputs([b, a]) == 2


def test_a_folder_in_natural_order_without_what_is_hidden_or_foreign(tmp_path, picture):
    for name in ("img10.png", "img2.png", "IMG1.PNG", ".hidden.png", "._img2.png"):
        picture(tmp_path / name)
    for name in ("notes.txt", "intrinsics.json", "thumbs.db", "no_suffix"):
        (tmp_path / name).write_text("x")
    picture(tmp_path / "deeper" / "img3.png")
    assert names(iter_inputs([tmp_path])) == ["IMG1.PNG", "img2.png", "img10.png"]
    assert names(iter_inputs([tmp_path], recursive=True)) == ["IMG1.PNG", "img2.png", "img10.png", "img3.png"]
    assert count_inputs([tmp_path]) == 3
    assert count_inputs([tmp_path], recursive=True) == 4


def test_patterns_are_expanded_here(tmp_path, picture):
    for name in ("a/1.png", "a/2.jpg", "a/b/3.png", "a/b/c/4.png", "a/.hidden/5.png"):
        picture(tmp_path / name)
    (tmp_path / "a" / "1.json").write_text("{}")
    assert names(iter_inputs([f"{tmp_path}/a/*.png"])) == ["1.png"]
    assert names(iter_inputs([f"{tmp_path}/a/*"])) == ["1.png", "2.jpg"]
    assert sorted(names(iter_inputs([f"{tmp_path}/a/**"]))) == ["1.png", "2.jpg", "3.png", "4.png"]
    assert sorted(names(iter_inputs([f"{tmp_path}/**/*.png"]))) == ["1.png", "3.png", "4.png"]
    assert names(iter_inputs([f"{tmp_path}/a/[2-9].???"])) == ["2.jpg"]
    assert count_inputs([f"{tmp_path}/**"]) == 4


def test_a_name_that_looks_like_a_pattern_is_a_name_where_it_exists(tmp_path, picture):
    odd = picture(tmp_path / "photo[1].png")
    assert [item.path for item in iter_inputs([odd])] == [odd]


def test_a_pattern_for_unusual_names_means_them(tmp_path, picture):
    picture(tmp_path / "scan.xyz")
    assert names(iter_inputs([f"{tmp_path}/*.xyz"])) == ["scan.xyz"]


def test_the_same_file_is_done_once(tmp_path, picture, monkeypatch):
    picture(tmp_path / "a.png")
    monkeypatch.chdir(tmp_path)
    assert names(iter_inputs(["a.png", tmp_path / "a.png", tmp_path, "*.png", "./a.png"])) == ["a.png"]
    assert count_inputs(["a.png", tmp_path]) == 1


def test_mistakes_stand_in_the_stream_and_the_others_are_done(tmp_path, picture):
    good = picture(tmp_path / "good.png")
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.jpg").write_text("no picture")
    inputs = [tmp_path / "missing.jpg", tmp_path / "empty", f"{tmp_path}/*.tiff", tmp_path / "text.jpg", good]
    items = list(iter_inputs(inputs))
    assert len(items) == count_inputs(inputs) == 5
    messages = []
    for item in items[:4]:
        with pytest.raises(InputError) as caught:
            item.read()
        messages.append(str(caught.value))
    assert messages == [
        f"{tmp_path}/missing.jpg: no such file or folder",
        f"{tmp_path}/empty: no images or videos in this folder",
        f"{tmp_path}/*.tiff: no file matches this pattern",
        f"{tmp_path}/text.jpg: not an image (JPEG, PNG, WebP, TIFF, HEIC, AVIF, BMP and GIF can be read)",
    ]
    assert [item.error is not None for item in items] == [True, True, True, False, False]
    assert items[4].read().width == 32


def test_an_empty_folder_with_subfolders_says_how_to_reach_them(tmp_path, picture):
    picture(tmp_path / "deeper" / "a.png")
    (item,) = iter_inputs([tmp_path])
    assert f"give '{tmp_path}/**'" in str(item.error)
    assert names(iter_inputs([f"{tmp_path}/**"])) == ["a.png"]


def test_nothing_is_read_before_its_turn(tmp_path, picture, monkeypatch):
    paths = [picture(tmp_path / f"{i}.png") for i in range(5)]
    read = []
    monkeypatch.setattr("metrichmsr.images.inputs.read_image", lambda path, **_: read.append(path))
    stream = iter_inputs(paths)
    first = next(stream)
    assert read == []
    first.read()
    assert read == [paths[0]]
    list(stream)
    assert read == [paths[0]]


def test_a_folder_that_may_not_be_read(tmp_path, monkeypatch):
    def deny(_path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", deny)
    (item,) = iter_inputs([tmp_path])
    assert str(item.error) == f"{tmp_path}: cannot be read (Permission denied)"


def test_the_home_folder_and_names_without_a_name(tmp_path, picture, monkeypatch):
    picture(tmp_path / "a.png")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert names(iter_inputs(["~/a.png"])) == ["a.png"]
    (item,) = iter_inputs([""])
    assert item.error is not None


def test_stems_are_unique_and_the_same_every_time():
    paths = ["a/x.jpg", "b/x.png", "x_2.jpg", "c/x.jpg", "y.jpg", "X.gif", "v1.2.jpg"]
    assert unique_stems(paths) == ["x", "x_2", "x_2_2", "x_3", "y", "X_4", "v1.2"]
    assert unique_stems(paths) == unique_stems(paths)
    composed, decomposed = "Zo\u00eb", "Zoe\u0308"
    assert unique_stems([f"{composed}.jpg", f"{decomposed}.jpg"]) == [composed, f"{decomposed}_2"]


def test_stems_leave_the_names_of_a_batchs_own_files_alone():
    assert unique_stems(["people.csv.jpg", "failures.json.png"]) == ["people.csv_2", "failures.json_2"]


def test_many_equal_stems_stay_fast():
    name = StemNamer()
    assert [name("x") for _ in range(5000)][-1] == "x_5000"


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"\xff\xd8\xff\xe0", "image"),
        (b"\x89PNG\r\n\x1a\n", "image"),
        (b"RIFF\0\0\0\0WEBP", "image"),
        (b"RIFF\0\0\0\0AVI ", "video"),
        (b"RIFF\0\0\0\0WAVE", None),
        (b"\0\0\0\x18ftypheic", "image"),
        (b"\0\0\0\x18ftypavif", "image"),
        (b"\0\0\0\x18ftypqt  ", "video"),
        (b"\0\0\0\x08wide\0\0\0\0mdat", "video"),
        (b"\x1aE\xdf\xa3", "video"),
        ((b"G" + bytes(187)) * 3, "video"),
        (b"GET / HTTP/1.1", None),
        (b"", None),
    ],
)
def test_content_tells_image_from_video(head, kind):
    assert sniff(head) == kind


def test_kind_of_file_goes_by_content_then_by_name(tmp_path, picture):
    assert kind_of_file(picture(tmp_path / "picture.mp4")) == "image"
    (tmp_path / "unknown.mov").write_bytes(b"?" * 600)
    assert kind_of_file(tmp_path / "unknown.mov") == "video"
    assert kind_of_file(tmp_path / "missing.jpg") == "image"
    assert kind_of_file(tmp_path / "missing") is None


def test_memory_holds_one_picture_at_a_time(tmp_path):
    import tracemalloc

    side = 700
    for i in range(8):
        noise = np.random.default_rng(i).integers(0, 255, (side, side, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / f"{i}.bmp")
    one = side * side * 3
    next(iter_inputs([tmp_path])).read()
    tracemalloc.start()
    for item in iter_inputs([tmp_path]):
        item.read()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3.5 * one


@pytest.mark.parametrize("options", [{"every": 0}, {"max_frames": 0}, {"every": -3}])
def test_numbers_that_ask_for_no_frame_are_refused_at_once(tmp_path, options):
    for function in (iter_inputs, count_inputs):
        with pytest.raises(UsageError, match="must be at least 1"):
            function([tmp_path], **options)
