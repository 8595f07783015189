"""Nothing half-written ever has a final name, and whole results are replaced by whole results only."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import trimesh
from PIL import Image

from metrichmsr.export import OutputError, read_result, write_recovery
from metrichmsr.export.atomic import atomic_file, atomic_folder, check_writable


@pytest.fixture
def fake_overlay(monkeypatch):
    """Stands in for the overlay's drawing, which has tests of its own."""
    from metrichmsr.export import overlay

    monkeypatch.setattr(overlay, "draw_overlay", lambda recovery, *_, **__: recovery.image.repeat(2, axis=1))
    return overlay


def everything_under(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def always_ours(_name: str) -> bool:
    return True


def test_a_whole_result(make_recovery, tmp_path, fake_overlay):
    recovery = make_recovery()
    folder = write_recovery(recovery, tmp_path, "pair")
    assert folder == tmp_path / "pair"
    assert everything_under(tmp_path) == [
        "pair",
        *(f"pair/{name}" for name in ("overlay.png", "person_0.ply", "person_1.ply", "report.html", "result.json")),
        "pair/scene.glb",
    ]
    document = read_result(folder / "result.json")
    (fx, _, cx), (_, fy, cy), _ = document["camera"]["K"]
    for entry in document["people"]:
        mesh = trimesh.load(folder / entry["mesh"], process=False)
        u = fx * mesh.vertices[:, 0] / mesh.vertices[:, 2] + cx
        v = fy * mesh.vertices[:, 1] / mesh.vertices[:, 2] + cy
        x0, y0, x1, y1 = entry["box_xyxy"]
        overlap = (min(x1, u.max()) - max(x0, u.min())) * (min(y1, v.max()) - max(y0, v.min()))
        assert overlap > 0.9 * (x1 - x0) * (y1 - y0), "the mesh stands where the person was seen"
    with Image.open(folder / "overlay.png") as overlay:
        assert overlay.size == (2 * 160, 120)
    mode = folder.stat().st_mode & 0o777
    plain = tmp_path / "plain"
    plain.mkdir()
    assert mode == plain.stat().st_mode & 0o777, "rights as any new folder's"


def test_formats_are_chosen_and_named_truthfully(make_recovery, tmp_path):
    folder = write_recovery(make_recovery(), tmp_path, "pair", formats=("glb",))
    assert everything_under(folder) == ["result.json", "scene.glb"]
    assert [person["mesh"] for person in read_result(folder / "result.json")["people"]] == [None, None]


def test_a_failing_exporter_leaves_nothing(make_recovery, tmp_path, fake_overlay):
    def fail(*_, **__):
        raise RuntimeError("half-way")

    fake_overlay.draw_overlay = fail
    with pytest.raises(RuntimeError, match="half-way"):
        write_recovery(make_recovery(), tmp_path, "pair")
    assert everything_under(tmp_path) == []


def test_a_failing_exporter_leaves_the_older_result(make_recovery, tmp_path, fake_overlay):
    folder = write_recovery(make_recovery(people=3), tmp_path, "pair")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    fake_overlay.draw_overlay = interrupt
    with pytest.raises(KeyboardInterrupt):
        write_recovery(make_recovery(people=1), tmp_path, "pair")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["pair"]


def test_a_new_result_replaces_the_older_one_and_nothing_else(make_recovery, tmp_path, fake_overlay):
    folder = write_recovery(make_recovery(people=3), tmp_path, "pair")
    (folder / "notes.txt").write_text("mine")
    (folder / "report.pdf").write_text("of the older result")
    (folder / "crops").mkdir()
    (folder / "crops" / "a.png").write_bytes(b"mine too")
    (folder / "link").symlink_to("nowhere")
    write_recovery(make_recovery(people=1), tmp_path, "pair")
    assert everything_under(folder) == [
        *("crops", "crops/a.png", "link", "notes.txt"),
        *("overlay.png", "person_0.ply", "report.html", "result.json", "scene.glb"),
    ]
    assert (folder / "notes.txt").read_text() == "mine"
    assert (folder / "crops" / "a.png").read_bytes() == b"mine too"
    assert os.readlink(folder / "link") == "nowhere"
    assert [path.name for path in tmp_path.iterdir()] == ["pair"]


def test_a_failing_swap_puts_the_older_folder_back(tmp_path, monkeypatch):
    folder = tmp_path / "x"
    folder.mkdir()
    (folder / "result.json").write_text("old")
    rename, calls = os.rename, []

    def second_fails(source, target):
        calls.append((source, target))
        if len(calls) == 2:
            raise PermissionError("locked")
        rename(source, target)

    monkeypatch.setattr(os, "rename", second_fails)
    with pytest.raises(PermissionError), atomic_folder(folder, is_ours=always_ours) as partial:
        (partial / "result.json").write_text("new")
    assert (folder / "result.json").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_a_linked_folder_stays_a_link(make_recovery, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "pair").symlink_to(tmp_path / "elsewhere")
    write_recovery(make_recovery(), tmp_path, "pair", formats=())
    assert (tmp_path / "pair").is_symlink()
    assert everything_under(tmp_path / "elsewhere") == ["result.json"]


def test_files_in_the_way_are_named(make_recovery, tmp_path):
    (tmp_path / "pair").write_text("a file")
    with pytest.raises(OutputError, match="pair: a file stands"):
        write_recovery(make_recovery(), tmp_path, "pair", formats=())
    (tmp_path / "other" / "scene.glb").mkdir(parents=True)
    with pytest.raises(OutputError, match=r"scene\.glb: a folder stands"):
        write_recovery(make_recovery(), tmp_path, "other", formats=("glb",))
    assert everything_under(tmp_path) == ["other", "other/scene.glb", "pair"]


def test_repeated_ids_are_refused(make_recovery, make_person, tmp_path):
    with pytest.raises(ValueError, match="ids"):
        write_recovery(make_recovery(people=(make_person(0), make_person(0))), tmp_path, "pair", formats=("ply",))


def test_killed_half_way(tmp_path):
    """The real thing: SIGKILL in the middle of writing."""
    script = textwrap.dedent("""
        import sys, time
        from pathlib import Path
        from metrichmsr.export.atomic import atomic_file, atomic_folder
        folder = Path(sys.argv[1]) / "pair"
        with atomic_folder(folder, is_ours=lambda name: True) as partial, atomic_file(partial / "a.json") as path:
            path.write_text("{")
            print("half", flush=True)
            time.sleep(60)
    """)
    process = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"half\n"
    process.kill()
    process.communicate()
    (leftover,) = tmp_path.iterdir()
    assert leftover.name.startswith(".pair.")
    assert not (leftover / "a.json").exists()

    # A young leftover may be another process at work; an old one is swept away.
    with atomic_folder(tmp_path / "pair", is_ours=always_ours):
        assert leftover.exists()
    two_days_ago = time.time() - 2 * 86400
    os.utime(leftover, (two_days_ago, two_days_ago))
    with atomic_folder(tmp_path / "pair", is_ours=always_ours):
        assert not leftover.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["pair"]


def write_half(path: Path) -> None:
    with atomic_file(path) as temporary:
        temporary.write_text("two")
        raise RuntimeError("half-way")


def test_atomic_file(tmp_path):
    path = tmp_path / "a.png"
    with atomic_file(path) as temporary:
        temporary.write_text("one")
        assert not path.exists()
        assert temporary.suffix == ".png"
        assert temporary.parent == tmp_path
    assert path.read_text() == "one"
    with pytest.raises(RuntimeError, match="half-way"):
        write_half(path)
    assert path.read_text() == "one"
    assert everything_under(tmp_path) == ["a.png"]


def test_check_writable(tmp_path):
    check_writable(tmp_path / "deep" / "down")
    assert everything_under(tmp_path) == ["deep", "deep/down"]
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="file: cannot write here: "):
        check_writable(tmp_path / "file")
    with pytest.raises(OutputError, match="Not a directory"):
        check_writable(tmp_path / "file" / "below")


@pytest.mark.skipif(os.geteuid() == 0 if hasattr(os, "geteuid") else True, reason="root may write anywhere")
def test_check_writable_without_permission(tmp_path):
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    with pytest.raises(OutputError, match="Permission denied"):
        check_writable(locked)
