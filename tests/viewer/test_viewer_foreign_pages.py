"""Who may connect to the viewer: its own page and programs, and no page from elsewhere. Over real sockets."""

from __future__ import annotations

import asyncio

import pytest

from metrichmsr import cli, cli_view
from metrichmsr.viewer import serve
from metrichmsr.viewer.foreign_pages import refuse_foreign_pages
from metrichmsr.viewer.result_folder import open_results
from metrichmsr.viewer.sequences import entries_of
from metrichmsr.viewer.serve import RunningViewer, start_viewer

viser = pytest.importorskip("viser")


@pytest.fixture
def start(box_result):
    running = []

    def run(**options) -> RunningViewer:
        running.append(start_viewer(entries_of(open_results([box_result()])), port=0, **options))
        return running[-1]

    yield run
    for one in running:
        one.stop()


def connect(running: RunningViewer, *, name: str = "127.0.0.1", origin: str | None = None) -> bytes | int:
    """What a connection gets first: data of the scene, or the code that it is closed with."""
    import websockets

    port = running.viewer.server.get_port()

    async def talk() -> bytes | int:
        async with websockets.connect(
            f"ws://{name}:{port}",
            host="127.0.0.1",  # whatever name is called, as if it led here
            port=port,
            origin=None if origin is None else websockets.Origin(origin.replace("PORT", str(port))),
            subprotocols=[websockets.Subprotocol(f"viser-v{viser.__version__}")],
            max_size=None,
            proxy=None,
        ) as socket:
            try:
                data = await asyncio.wait_for(socket.recv(), 60)
            except websockets.ConnectionClosed as closed:
                return closed.rcvd.code if closed.rcvd is not None else -1
            assert isinstance(data, bytes)
            return data

    return asyncio.run(talk())


@pytest.mark.parametrize(
    ("name", "origin"),
    [
        ("127.0.0.1", "http://127.0.0.1:PORT"),
        ("localhost", "http://localhost:PORT"),
        ("127.0.0.1", None),
    ],
)
def test_its_own_page_and_programs_are_let_in(start, name, origin):
    data = connect(start(), name=name, origin=origin)
    assert isinstance(data, bytes)
    assert len(data) > 1000


@pytest.mark.parametrize(
    ("name", "origin"),
    [
        ("127.0.0.1", "https://elsewhere.example"),
        ("127.0.0.1", "http://127.0.0.1:1"),  # another server of this machine
        ("127.0.0.1", "http://127.0.0.1:PORT.elsewhere.example"),
        ("127.0.0.1", "null"),  # a local file, a sandboxed frame
        ("127.0.0.1", "http://["),
        ("localhost", "http://127.0.0.1:PORT"),
        ("elsewhere.example", "http://elsewhere.example:PORT"),  # a name that leads here
        ("elsewhere.example", None),
    ],
)
def test_pages_from_elsewhere_get_nothing_and_leave_nothing(start, name, origin):
    running = start()
    assert running.refuses_foreign_pages
    assert connect(running, name=name, origin=origin) == 1008
    assert running.viewer.server.get_clients() == {}
    # The viewer goes on.
    assert isinstance(connect(running), bytes)


def test_with_host_a_phone_gets_in_and_a_foreign_page_does_not(start):
    running = start(host="0.0.0.0")
    assert isinstance(connect(running, name="192.168.1.5", origin="http://192.168.1.5:PORT"), bytes)
    assert connect(running, name="192.168.1.5", origin="https://elsewhere.example") == 1008


def test_where_viser_hides_its_connections_that_is_told(start, box_result, monkeypatch, capsys):
    assert refuse_foreign_pages(object(), local_only=True) is False  # pyright: ignore[reportArgumentType]
    monkeypatch.setattr(serve, "refuse_foreign_pages", lambda *_, **__: False)

    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr(cli_view, "wait_for_interrupt", interrupted)
    assert cli.main(["view", str(box_result("other")), "--port", "0"]) == 0
    assert "other web pages open in your browser can see the photo" in capsys.readouterr().err
