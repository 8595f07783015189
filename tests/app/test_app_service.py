"""The service behind the page, without Gradio: results, errors, and files that come and go."""

from __future__ import annotations

import json
import os
import struct
import time
import zipfile
import zlib

import pytest
from app_photos import STATURES

from metrichmsr.app.answer import camera_sentence, in_plain_words
from metrichmsr.app.form import Form
from metrichmsr.app.workspace import KEEP_S, Held
from metrichmsr.errors import ModelFileError


def test_a_photo_gives_everything_the_page_shows(service, upload, fake_recover):
    outcome = service.run(upload(name="beach & <sea>.jpg"), Form(people="adults"), None)
    assert outcome.message == ""
    for stature in STATURES:
        assert f"{stature:.2f} ± 0.06 m" in outcome.people
    assert "estimate from the picture" in outcome.notes
    assert "<b>odd" not in outcome.notes
    assert "&lt;b&gt;odd" in outcome.notes.replace("Odd", "odd")
    assert "write 0: 1.82" in outcome.notes
    with zipfile.ZipFile(outcome.archive) as packed:
        names = set(packed.namelist())
        document = json.loads(packed.read("result.json"))
    assert names >= {"result.json", "scene.glb", "overlay.png", "person_0.ply", "person_1.ply"}
    assert document["image"]["path"] == "beach & <sea>.jpg"
    assert str(service.workspace.root) not in json.dumps(document)
    assert outcome.overlay.is_file()
    assert outcome.model.read_bytes()[:4] == b"glTF"
    ((options, photo),) = fake_recover.asked
    assert options.people == "adults"
    assert not photo.is_file, "no sidecar is looked for beside an upload"


def huge_png() -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"just some text", "not an image"), (b"", "empty"), (huge_png(), "megapixels"), (b"\xff\xd8\xff\xe0", "image")],
    ids=["text", "empty", "huge", "cut off"],
)
def test_a_wrong_file_is_told_by_its_name_and_the_next_one_works(service, upload, content, told):
    wrong = service.run(upload(content, name="wrong.jpg"), Form(), None)
    assert told in wrong.message
    assert "wrong.jpg" in wrong.message
    assert str(service.workspace.root) not in wrong.message
    assert (wrong.overlay, wrong.model, wrong.archive, wrong.people) == (None, None, None, "")
    assert service.run(upload(), Form(), wrong.held).message == ""


def test_what_goes_wrong_inside_is_told_and_does_not_end_the_app(service, upload, fake_recover, capsys):
    fake_recover.error = ModelFileError("the network is missing")
    assert "network is missing" in service.run(upload(), Form(), None).message
    fake_recover.error = RuntimeError("secret/path")
    told = service.run(upload(), Form(), None).message
    assert "RuntimeError" in told
    assert "secret" not in told
    assert "secret/path" in capsys.readouterr().err
    fake_recover.error = None
    assert service.run(upload(), Form(), None).message == ""


def test_no_photo_and_foreign_paths(service, upload, tmp_path, fake_recover):
    from metrichmsr.app.workspace import Upload

    assert "no photo yet" in service.run(None, Form(), None).message
    outside = tmp_path / "private.jpg"
    outside.write_bytes(upload().path.read_bytes())
    link = service.workspace.root / "link.jpg"
    link.symlink_to(outside)
    dotted = service.workspace.root / ".." / "private.jpg"
    for path in (outside, link, dotted):
        assert "no longer here" in service.run(Upload(path, "x.jpg"), Form(), None).message
    assert outside.is_file(), "what is not ours is not removed"
    assert fake_recover.asked == []


def test_the_next_run_replaces_files(service, upload):
    first = service.run(upload(folder="a"), Form(), None)
    second = service.run(upload(folder="b"), Form(), first.held)
    assert not first.held.run.exists()
    assert not first.held.upload.exists()
    assert second.archive.is_file()
    failed = service.run(upload(b"", folder="c"), Form(), second.held)
    assert not second.held.run.exists()
    service.workspace.release(failed.held)
    assert service.workspace.size_bytes() == 0


def test_two_sessions_with_one_photo(service, upload):
    """Gradio stores the same bytes once."""
    photo = upload()
    mine, yours = service.run(photo, Form(), None), service.run(photo, Form(), None)
    service.workspace.release(mine.held)
    assert photo.path.is_file()
    again = service.run(photo, Form(), yours.held)
    assert again.message == ""
    assert photo.path.is_file()
    service.workspace.release(again.held)
    assert not photo.path.exists()


def test_old_results_are_swept_and_nothing_outside_is_removed(workspace, tmp_path):
    old = workspace.new_run()
    os.utime(old, (time.time() - KEEP_S - 1,) * 2)
    new = workspace.new_run()
    assert not old.exists()
    assert new.is_dir()
    assert len(new.name) == 32
    other = tmp_path / "other"
    other.mkdir()
    workspace.release(Held(run=other))
    workspace.release(Held(run=workspace.root))
    assert other.is_dir()
    assert workspace.root.stat().st_mode & 0o077 == 0
    workspace.close()
    assert not workspace.root.exists()


def test_an_unsure_focal_length_is_said():
    camera = {"K": [[1000, 0, 1], [0, 1000, 1], [0, 0, 1]], "source": "exif", "focal_std_px": 300, "fov_x_deg": 60}
    assert "unsure" in camera_sentence(camera)  # pyright: ignore[reportArgumentType]
    assert "unsure" not in camera_sentence({**camera, "focal_std_px": 20})  # pyright: ignore[reportArgumentType]


def test_options_of_the_command_line_are_called_as_on_the_page():
    assert in_plain_words("--fov must lie between 0 and 180") == "The field of view must lie between 0 and 180"
    assert "--" not in in_plain_words("--height: 4 is no human stature in metres (0.3 to 2.7)")
