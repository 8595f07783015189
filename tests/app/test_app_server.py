"""The server with a made-up recoverer: what it answers, what it refuses, what it leaves behind. No browser."""

from __future__ import annotations

import gc
import http.client
import json
import os
import socket
import urllib.parse
from pathlib import Path

import pytest
from app_photos import STATURES, save_photo

from metrichmsr import cli, cli_app
from metrichmsr.app.serve import Limits, start_app
from metrichmsr.listening import is_local

gradio = pytest.importorskip("gradio")

# Gradio leaves event loops to the garbage collector; what it leaves is collected here, not in somebody else's tests.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

LIMITS = Limits(max_megabytes=1.0, max_pixels=1_000_000, max_waiting=3)


@pytest.fixture(scope="module", autouse=True)
def collected():
    yield
    gc.collect()


@pytest.fixture(scope="module", autouse=True)
def loopback_only():
    """Any look beyond this machine fails, and is remembered."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        yield _loopback_only(monkeypatch)


def _loopback_only(monkeypatch) -> list:
    connect, tried = socket.socket.connect, []

    def guarded(self, address):
        host = address[0] if isinstance(address, tuple) else "127.0.0.1"
        if host not in ("127.0.0.1", "::1", "localhost"):
            tried.append(address)
            raise OSError(f"the network is out of bounds: {address}")
        return connect(self, address)

    resolve = socket.getaddrinfo

    def resolved(host, *rest, **more):
        if host not in (None, "127.0.0.1", "::1", "localhost", "0.0.0.0", b"127.0.0.1"):
            tried.append(host)
            raise socket.gaierror(f"no names here: {host}")
        return resolve(host, *rest, **more)

    monkeypatch.setattr(socket.socket, "connect", guarded)
    monkeypatch.setattr(socket, "getaddrinfo", resolved)
    return tried


@pytest.fixture(scope="module")
def app(loopback_only):
    """One app for all; :func:`answering` says what recovers."""

    def recover(options, photo):
        return recover.by(options, photo)

    running = start_app(recover, port=0, limits=LIMITS, examples=())
    running.workspace.recover = recover
    yield running
    running.stop()


@pytest.fixture
def answering(app, fake_recover, loopback_only):
    """The made-up recoverer behind the app; nothing may have looked beyond this machine in the end."""
    loopback_only.clear()
    app.workspace.recover.by = fake_recover
    yield fake_recover
    assert loopback_only == []


class Client:
    """Speaks HTTP word by word, where libraries would tidy up."""

    def __init__(self, url: str) -> None:
        self.netloc = urllib.parse.urlsplit(url).netloc

    def __call__(self, method: str, path: str, body: bytes | None = None, **headers: str):
        connection = http.client.HTTPConnection(self.netloc, timeout=60)
        try:
            connection.request(method, path, body, {k.replace("_", "-"): v for k, v in headers.items()})
            answer = connection.getresponse()
            return answer.status, answer.read(), answer.headers
        finally:
            connection.close()

    def upload(self, content: bytes, name: str, **headers: str):
        head = f'--x\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'
        body = head.encode() + content + b"\r\n--x--\r\n"
        return self("POST", "/gradio_api/upload", body, Content_Type="multipart/form-data; boundary=x", **headers)

    def run(self, path: str | None, name: str = "photo.jpg", statures: str = "", **more) -> list:
        """Press the button as the page does; returns what the outputs become."""
        config = json.loads(self("GET", "/config")[1])
        (button,) = (d for d in config["dependencies"] if len(d["outputs"]) == 7)
        photo = path and {"path": path, "orig_name": name, "meta": {"_type": "gradio.FileData"}, **more}
        data = [photo, "anybody", statures, "unknown", None, False, False, None]
        request = {"data": data, "fn_index": button["id"], "session_hash": "s"}
        status, _, _ = self(
            "POST", "/gradio_api/queue/join", json.dumps(request).encode(), Content_Type="application/json"
        )
        assert status == 200
        _, stream, _ = self("GET", "/gradio_api/queue/data?session_hash=s")
        messages = [json.loads(line[5:]) for line in stream.decode().splitlines() if line.startswith("data:")]
        (done,) = (message for message in messages if message["msg"] == "process_completed")
        return done


def test_a_photo_makes_the_round_trip_without_any_network(app, answering, tmp_path):
    client = Client(app.url)
    status, page, headers = client("GET", "/")
    assert status == 200
    assert b"MetricHMSR" in page
    assert "default-src 'self'" in headers["content-security-policy"]
    status, body, _ = client.upload(save_photo(tmp_path / "a.jpg").read_bytes(), "a.jpg")
    (path,) = json.loads(body)
    assert (status, Path(path).is_relative_to(app.workspace.root)) == (200, True)
    done = client.run(path, name="../../etc/holiday.jpg")
    assert done["success"]
    message, overlay, table, _, model, archive, _ = done["output"]["data"]
    assert f"{STATURES[0]:.2f}" in table["value"]
    for shown in (overlay, model, archive):
        served = shown["value"]["path"]
        assert Path(served).is_relative_to(app.workspace.root)
        assert client("GET", f"/gradio_api/file={served}")[0] == 200
    # Pressed again, by a page that tells nothing of before: both results are there, until the app ends.
    assert message["visible"] is False
    # A wrong photo tells why, and the next one works.
    (wrong,) = json.loads(client.upload(b"some text", "b.jpg")[1])
    told = client.run(wrong, name="b.jpg")["output"]["data"]
    assert "b.jpg" in told[0]["value"].lower()
    assert told[1]["visible"] is False
    again = json.loads(client.upload(save_photo(tmp_path / "a.jpg").read_bytes(), "a.jpg")[1])
    assert "visible" in client.run(again[0])["output"]["data"][1]


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "//etc/passwd",
        "{root}/../../etc/passwd",
        "{root}/%2e%2e/%2e%2e/etc/passwd",
        "..%2f..%2f..%2f..%2fetc%2fpasswd",
        "{here}",
        "pyproject.toml",
        "http://127.0.0.1:1/x",
        "http%3A%2F%2F127.0.0.1%2Fx",
        "https:example.org",
        "file:///etc/passwd",
        "data:text/plain,x",
    ],
)
def test_no_file_but_the_apps_own_is_served(app, path):
    path = path.format(root=app.workspace.root, here=Path(__file__).resolve())
    for encoded in (path, urllib.parse.quote(path)):
        status, body, _ = Client(app.url)("GET", f"/gradio_api/file={encoded}")
        assert status in (403, 404), encoded
        assert b"root:" not in body


@pytest.mark.parametrize(
    "photo", ["/etc/passwd", "http://127.0.0.1:1/a.jpg", "{root}/../x", "https://example.org/a.jpg", "{here}"]
)
def test_a_photo_that_was_not_uploaded_is_not_read(app, answering, photo):
    photo = photo.format(root=app.workspace.root, here=Path(__file__).resolve())
    for more in ({}, {"is_stream": True}, {"url": photo}):
        done = Client(app.url).run(photo, **more)
        told = json.dumps(done["output"])
        assert not done["success"] or "No result" in told or "no photo yet" in told.lower()
        assert "root:" not in told
    assert answering.asked == []


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/gradio_api/proxy=https://example.org"),
        ("POST", "/gradio_api/run/run"),
        ("POST", "/gradio_api/call/run"),
        ("POST", "/gradio_api/vibe-edit"),
        ("GET", "/gradio_api/vibe-code"),
        ("GET", "/monitoring"),
        ("GET", "/docs"),
        ("GET", "/openapi.json"),
        ("GET", "/gradio_api/mcp"),
        ("GET", "/assets/http://example.org"),
    ],
)
def test_what_the_page_does_not_use_is_closed(app, method, path):
    assert Client(app.url)(method, path)[0] == 404


def test_other_pages_and_other_names_are_refused(app):
    client = Client(app.url)
    assert client("GET", "/", Host="evil.example:80")[0] == 421
    assert client("GET", "/", Host=f"localhost:{client.netloc.split(':')[1]}")[0] == 200
    assert client.upload(b"x", "a.jpg", Origin="http://evil.example")[0] == 403
    assert client.upload(b"x", "a.jpg", Origin="null")[0] == 403
    assert client.upload(b"x", "a.jpg", Origin=app.url)[0] == 200


def test_names_of_uploads_never_become_paths(app, tmp_path):
    for name in ("../../../evil.jpg", "/tmp/evil.jpg", "..\\..\\evil.jpg", ".hidden"):
        status, body, _ = Client(app.url).upload(b"x", name)
        assert status in (200, 400, 403, 422)
        for path in json.loads(body) if status == 200 else ():
            assert Path(os.path.realpath(path)).is_relative_to(app.workspace.root)
    assert not (app.workspace.root.parent / "evil.jpg").exists()


def test_uploads_have_a_limit(app, monkeypatch):
    client = Client(app.url)
    assert client.upload(bytes(1_200_000), "big.jpg")[0] == 413
    # Without a length beforehand it is counted.
    head = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n'
    chunks = iter([head, *[bytes(400_000)] * 3, b"\r\n--x--\r\n"])
    connection = http.client.HTTPConnection(client.netloc, timeout=60)
    connection.request("POST", "/gradio_api/upload", chunks, {"Content-Type": "multipart/form-data; boundary=x"})
    assert connection.getresponse().status == 413
    connection.close()
    monkeypatch.setattr(app.workspace, "size_bytes", lambda: 10**9)
    assert client.upload(b"x", "a.jpg")[0] == 507


def test_nothing_is_left_behind(fake_recover, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_SHARE", "True")
    monkeypatch.setenv("GRADIO_ALLOWED_PATHS", "/etc")
    monkeypatch.chdir(tmp_path)
    before = dict(os.environ)
    running = start_app(fake_recover, port=0, limits=LIMITS, examples=(save_photo(tmp_path / "example.jpg"),))
    assert Client(running.url)("GET", "/gradio_api/file=/etc/passwd")[0] == 403
    json.loads(Client(running.url).upload(b"x", "a.jpg")[1])
    root, port = running.workspace.root, int(running.url.rsplit(":", 1)[1])
    running.stop()
    assert not root.exists()
    assert dict(os.environ) == before
    assert [path.name for path in tmp_path.iterdir()] == ["example.jpg"], "no .gradio folder"
    with pytest.raises(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):  # noqa: PT011
        pass


def test_the_command_line(fake_recover, monkeypatch, capsys):
    from metrichmsr.app import service

    monkeypatch.setattr(service, "shared_models", lambda base, device=None: fake_recover)
    seen = []

    def interrupted():
        seen.append(capsys.readouterr())
        raise KeyboardInterrupt

    monkeypatch.setattr(cli_app, "wait_for_interrupt", interrupted)
    assert cli.main(["app", "--port", "0"]) == 0
    assert seen[0].out.startswith("app: http://127.0.0.1:")
    assert "warning" not in seen[0].err
    assert cli.main(["app", "--port", "0", "--host", "0.0.0.0"]) == 0
    assert "anybody on the network can upload pictures" in seen[1].err


@pytest.mark.parametrize(
    "argv", [["--port", "70000"], ["--host", "no.such.host.invalid"], ["--max-megabytes", "0"], ["--max-waiting", "0"]]
)
def test_bad_usage(argv, fake_recover, monkeypatch, capsys):
    from metrichmsr.app import service

    monkeypatch.setattr(service, "shared_models", lambda base, device=None: fake_recover)
    assert cli.main(["app", *argv]) == 2
    assert argv[0] in capsys.readouterr().err


def test_the_next_free_port_is_taken(fake_recover):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        running = start_app(fake_recover, port=port, limits=LIMITS, examples=())
        assert int(running.url.rsplit(":", 1)[1]) > port
        running.stop()


def test_which_hosts_are_local():
    assert all(map(is_local, ("127.0.0.1", "::1", "localhost", "127.1.2.3")))
    assert not any(map(is_local, ("0.0.0.0", "::", "192.168.0.2", "example.org", "")))


def test_without_gradio_it_says_how_to_get_it(monkeypatch, capsys):
    import sys

    monkeypatch.setitem(sys.modules, "gradio", None)
    assert cli.main(["app"]) == 2
    assert "pip install 'metrichmsr[app]'" in capsys.readouterr().err
