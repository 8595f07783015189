"""The viewer in a running server, without a browser: layers, choices, clicks; and its command line."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from viewer_boxes import BOX, WALL_M

from metrichmsr import cli, cli_view
from metrichmsr.errors import UsageError
from metrichmsr.listening import is_local
from metrichmsr.viewer import serve
from metrichmsr.viewer.layers import Shown
from metrichmsr.viewer.picking import Ray
from metrichmsr.viewer.result_folder import open_results
from metrichmsr.viewer.sequences import entries_of
from metrichmsr.viewer.serve import start_viewer

pytest.importorskip("viser")


@pytest.fixture
def start():
    """Starts viewers of folders on any free port, and stops them."""
    running = []

    def run(*folders: Path, **options):
        running.append(start_viewer(entries_of(open_results(folders)), **{"port": 0, **options}))
        return running[-1]

    yield run
    for one in running:
        one.stop()


def wait_until(condition, seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def toward(viewer, point) -> Ray:
    """The line of sight of the photo's camera to a point of the world."""
    eye = viewer.contents[0].eye
    return Ray.of(eye, np.asarray(point) - eye)


def test_the_page_is_served_and_the_port_let_go(start, box_result):
    running = start(box_result())
    assert running.url.startswith("http://127.0.0.1:")
    with urllib.request.urlopen(running.url, timeout=10) as answer:
        assert b"<html" in answer.read(2000)
    port = int(running.url.rsplit(":", 1)[1])
    taken = start(box_result("other"), port=port)
    assert taken.url != running.url
    running.stop()
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))


def test_layers_are_made_when_they_are_first_shown(start, box_result):
    viewer = start(box_result()).viewer
    layers = viewer._slots[0].layers
    scene = "scene_refined_photo_mesh"
    assert layers.layer_names == sorted(["people", "labels", "rulers", "uncertainty", "frustum", "grid", scene])
    shown = Shown(frozenset({"people", "scene", "skeletons", "anchors"}), "initial", "confidence", "points")
    layers.show(shown)
    visible = {name for name, node in layers._nodes.items() if node.visible}
    assert visible == {"people", "skeletons", "anchors", "scene_initial_confidence_points"}
    assert [body.opacity for body in layers._bodies] == [0.45, 0.45]
    layers.show(Shown(frozenset({"people"})))
    assert {name for name, node in layers._nodes.items() if node.visible} == {"people"}
    assert [body.opacity for body in layers._bodies] == [None, None]
    for body, shapes in zip(layers._bodies, viewer.contents[0].people, strict=True):
        np.testing.assert_allclose(body.vertices + body.position, shapes.vertices, atol=1e-6)
        assert tuple(body.color) == shapes.color


def test_a_crowd_takes_as_many_nodes_as_there_are_colours_and_clicks_meet_everybody(start, box_result):
    places = tuple((0.7 * i - 5.0, 5.0) for i in range(15))
    viewer = start(box_result(places=places)).viewer
    layers = viewer._slots[0].layers
    people = viewer.contents[0].people
    assert [tuple(body.color) for body in layers._bodies] == [shapes.color for shapes in people[:6]]
    for i, body in enumerate(layers._bodies):
        own = np.concatenate([shapes.vertices for shapes in people[i::6]])
        np.testing.assert_allclose(body.vertices + body.position, own, atol=1e-6)
        assert (len(body.faces), body.faces.max()) == (12 * len(people[i::6]), len(own) - 1)
    for shapes, (x, z) in zip(people, places, strict=True):
        viewer.click(toward(viewer, (x, 1.0, -z + BOX[2] / 2)))
        (_, hit), viewer._pending = viewer._pending, None
        assert hit.person_id == shapes.person.id


def test_two_clicks_on_a_body_give_its_height(start, box_result):
    viewer = start(box_result()).viewer
    front = -4.0 + BOX[2] / 2
    assert viewer.click(toward(viewer, (0.0, BOX[1] - 1e-6, front))) is None
    measured = viewer.click(toward(viewer, (0.0, 1e-6, front)))
    assert measured.length_m == pytest.approx(BOX[1], abs=1e-5)
    assert measured.std_m == pytest.approx(0.09, rel=1e-3)
    assert "1.80 ± 0.09 m" in viewer.panel._measured.content
    viewer.clear()
    assert viewer.measured == []
    assert "Click two points" in viewer.panel._measured.content


@pytest.mark.parametrize("drawn", ["mesh", "points"])
def test_two_clicks_on_the_wall(start, box_result, drawn):
    viewer = start(box_result(), shown=Shown(drawn=drawn)).viewer
    viewer.click(toward(viewer, (-2.5, 1.0, -WALL_M)))
    measured = viewer.click(toward(viewer, (-2.5, 3.0, -WALL_M)))
    # A mesh is met anywhere, points only where there is one: every 5 cm of this wall.
    assert measured.length_m == pytest.approx(2.0, abs=1e-4 if drawn == "mesh" else 0.06)
    assert np.isfinite(measured.std_m)


def test_what_is_hidden_is_not_hit_and_the_ground_is_last(start, box_result):
    viewer = start(box_result(), shown=Shown(frozenset({"grid"}))).viewer
    viewer.click(toward(viewer, (0.0, 0.5, -4.0)))
    ((_, hit),) = [viewer._pending]
    assert hit.kind == "ground"
    assert hit.point[1] == pytest.approx(0.0)
    none = Ray.of((0, 1.5, 0), (0, 1, 0))
    assert viewer.click(none) is None
    assert "Nothing is there" in viewer.panel._measured.content


def test_two_results_stand_side_by_side_and_share_no_scale(start, box_result):
    first, second = box_result("a"), box_result("b", places=((0.0, 4.0),))
    viewer = start(first, second).viewer
    assert [content.name for content in viewer.contents] == ["a"]
    viewer.panel._compared.value = "b"
    wait_until(lambda: len(viewer.contents) == 2)
    offset = viewer._slots[1].offset[0]
    assert offset > 4.0
    front = -4.0 + BOX[2] / 2
    viewer.click(toward(viewer, (0.0, 1.0, front)))
    measured = viewer.click(Ray.of((offset, 1.0, 0.0), (0.0, 0.0, -1.0)))
    assert measured.length_m == pytest.approx(offset, abs=1e-5)
    assert np.isnan(measured.std_m)
    viewer.panel._entry.value = "b"
    wait_until(lambda: [content.name for content in viewer.contents] == ["b"])
    assert len(viewer.panel._people) == 1


def test_a_slider_goes_through_frames(start, box_result):
    folders = [box_result(f"walk_{i}", places=tuple((0.8 * k, 4.0) for k in range(i))) for i in (1, 2, 3)]
    viewer = start(*folders).viewer
    assert len(viewer.panel._people) == 1
    viewer.panel._frame.value = 2
    wait_until(lambda: viewer.contents[0].name == "walk_3")
    wait_until(lambda: len(viewer.panel._people) == 3)


def test_a_crowd_is_a_list_not_a_wall_of_buttons(start, box_result):
    few, crowd = (box_result(f"c{n}", places=tuple((0.1 * i, 4.0) for i in range(n))) for n in (10, 12))
    assert len(start(few).viewer.panel._people) == 10
    (chosen,) = start(crowd).viewer.panel._people
    assert len(chosen.options) == 13
    assert chosen.options[0] == "12 people"


def test_a_damaged_frame_is_told_and_ends_nothing(start, box_result, capsys):
    folders = [box_result(f"walk_{i}") for i in (1, 2)]
    viewer = start(*folders).viewer
    (folders[1] / "person_0.ply").unlink()
    viewer.panel._frame.value = 1
    told = []
    wait_until(lambda: told.append(capsys.readouterr().err) or "person_0.ply: missing" in "".join(told))
    assert viewer.contents[0].name == "walk_1"
    viewer.panel._frame.value = 0
    wait_until(lambda: viewer.contents[0].name == "walk_1")


def test_hosts():
    assert is_local("127.0.0.1")
    assert is_local("localhost")
    assert is_local("::1")
    assert not is_local("0.0.0.0")
    assert not is_local("192.168.1.5")
    with pytest.raises(UsageError, match=r"--host 203\.0\.113\.7 .*cannot listen"):
        start_viewer([], host="203.0.113.7")
    with pytest.raises(UsageError, match="--port"):
        start_viewer([], port=70000)


@pytest.mark.parametrize(
    ("make", "cause"),
    [
        (lambda folder: [], "nothing to view"),
        (lambda folder: ["nowhere"], "nowhere: no such file or folder"),
        (lambda folder: [str(folder.parent.parent / "in")], "in: no result in this folder"),
        (lambda folder: [str(folder), "--host", "203.0.113.7"], "cannot listen there"),
        (lambda folder: [str(folder), "--max-points", "0"], "--max-points"),
        (lambda folder: [str(folder), "--max-body-triangles", "0"], "--max-body-triangles"),
        (lambda folder: (folder / "depth.npz").unlink() or [str(folder)], "depth.npz: missing"),
        (lambda folder: (folder / "result.json").write_text("{}") and [str(folder)], "not a metrichmsr result"),
    ],
)
def test_what_cannot_be_shown_is_one_line_and_status_2(box_result, tmp_path, monkeypatch, capsys, make, cause):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    assert cli.main(["view", *make(box_result())]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("metrichmsr: error: ")
    assert err.count("\n") == 1
    assert cause in err


def test_results_are_seen_without_waiting_for_torch():
    code = (
        "import sys, metrichmsr.viewer.viewer, metrichmsr.cli_view, metrichmsr.viewer.result_folder\n"
        "print('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_without_viser_the_extra_is_named(box_result, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "viser", None)
    assert cli.main(["view", str(box_result())]) == 2
    assert "pip install 'metrichmsr[viewer]'" in capsys.readouterr().err


def test_a_photo_is_recovered_first(box_result, make_box_recovery, tmp_path, monkeypatch, capsys):
    class FakeRecoverer:
        def __init__(self, options, *, device=None):
            assert options.focal_px == 120

        def __call__(self, photo):
            return make_box_recovery(photo.path)

    def interrupted():
        raise KeyboardInterrupt

    # The package's own name `recover` is the function.
    monkeypatch.setattr(sys.modules["metrichmsr.recover"], "Recoverer", FakeRecoverer)
    box_result("photo")
    photo = tmp_path / "photo.png"
    started = []

    def start_viewer_and_tell(entries, **options):
        started.append(start_viewer(entries, **options))
        return started[-1]

    monkeypatch.setattr(serve, "start_viewer", start_viewer_and_tell)
    monkeypatch.setattr(cli_view, "wait_for_interrupt", interrupted)
    arguments = ["view", str(photo), "--port", "0", "--focal-px", "120"]
    assert cli.main(arguments) == 0
    out, err = capsys.readouterr()
    assert out.startswith("viewer: http://127.0.0.1:")
    assert "recovering" in err
    folder = started[0].viewer.contents[0].result.folder
    assert not folder.exists(), "temporary"
    assert cli.main([*arguments, "--out", str(tmp_path / "kept"), "--host", "0.0.0.0"]) == 0
    assert "anyone on the network can see the photo" in capsys.readouterr().err
    document = json.loads((tmp_path / "kept" / "photo" / "result.json").read_text())
    assert len(document["people"]) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_ctrl_c_ends_it_cleanly(box_result):
    command = [sys.executable, "-m", "metrichmsr", "view", str(box_result()), "--port", "0"]

    def as_in_a_terminal() -> None:
        # A shell that runs the tests in the background has its children ignore Ctrl-C.
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes, preexec_fn=as_in_a_terminal) as process:
        try:
            line = process.stdout.readline()
            assert line.startswith("viewer: http://127.0.0.1:")
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 0
    assert (out, err) == ("", "")
