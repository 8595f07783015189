"""What stands before Gradio: requests that the page never makes are refused.

Gradio's server can do more than this page needs: fetch addresses for the browser, run functions past the queue, edit
its own source. Only the paths that the page uses are let through, and none of them with an address in it, so that the
server never calls out. A web page of somebody else that is open in the same browser can neither read (the host must be
this machine's, against DNS rebinding) nor upload (the origin must be ours). The answers forbid the browser to load
anything from elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import unquote

from metrichmsr.listening import calls_this_machine, is_foreign

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

_PAGE = re.compile(
    r"/"
    r"|/(config|theme\.css|favicon\.ico|manifest\.json|robots\.txt|pwa_icon(/\d+)?)/?"
    r"|/(assets|static|svelte)/[^:]*"
    r"|/gradio_api/(startup-events|app_id|info|theme\.css|upload|upload_progress|cancel|reset)/?"
    r"|/gradio_api/queue/(join|data)/?"
    r"|/gradio_api/heartbeat/\w+"
    r"|/gradio_api/file=.*",
    re.DOTALL,
)
_UPLOAD = re.compile(r"/gradio_api/upload/?")
# An address in place of a file: http://…, //host/…, data:…; a drive letter is one character long.
_ADDRESS = re.compile(r"\s*([a-z][a-z0-9+.-]+:|//|\\\\)", re.IGNORECASE)

_FORM_BYTES = 100_000  # what a multipart body has around its file

# Gradio compiles templates in the browser (unsafe-eval); the 3D view and downloads use blobs.
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' blob:; font-src 'self' data:; connect-src 'self' data: blob:; "
    "worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
_HEADERS = (
    (b"content-security-policy", _POLICY.encode()),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)


class Guard:
    """ASGI middleware.

    Args:
        app: what comes behind.
        local_only: refuse requests that call this machine by any but its own names.
        max_upload_bytes: larger uploads are refused before they are read.
        has_room: whether there is room for one more upload.
    """

    def __init__(self, app: ASGIApp, *, local_only: bool, max_upload_bytes: int, has_room: Callable[[], bool]) -> None:
        self._app = app
        self._local_only = local_only
        self._max_upload_bytes = max_upload_bytes
        self._has_room = has_room

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or let it through."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # the page has no web sockets
            await send({"type": "websocket.close", "code": 1008})
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        refusal = self._refusal(scope, headers)
        if refusal is not None:
            await _refuse(*refusal, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                ours = {name for name, _ in _HEADERS}
                kept = [(name, value) for name, value in message.get("headers", ()) if name.lower() not in ours]
                message["headers"] = [*kept, *_HEADERS]
            await send(message)

        await self._app(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope, headers: dict[str, str]) -> tuple[int, str] | None:
        host = headers.get("host", "")
        if self._local_only and not calls_this_machine(host):
            return 421, "this app answers to its own machine only"
        if is_foreign(headers.get("origin"), host):
            return 403, "another page may not use this app"
        path = unquote(scope["path"])
        _, is_file, file = path.partition("/gradio_api/file=")
        if not _PAGE.fullmatch(path) or (is_file and _ADDRESS.match(unquote(file))):
            return 404, "there is nothing here"
        if _UPLOAD.fullmatch(path):
            return self._refused_upload(headers)
        return None

    def _refused_upload(self, headers: dict[str, str]) -> tuple[int, str] | None:
        length = headers.get("content-length", "")
        # Without a length (chunked) Gradio counts while it reads, and stops at the same limit.
        if length.isdigit() and int(length) > self._max_upload_bytes + _FORM_BYTES:
            return 413, f"the file is larger than {self._max_upload_bytes / 1e6:g} MB"
        if not self._has_room():
            return 507, "too many photos are waiting; try again in an hour"
        return None


async def _refuse(status: int, reason: str, send: Send) -> None:
    body = reason.encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*headers, *_HEADERS]})
    await send({"type": "http.response.body", "body": body})
