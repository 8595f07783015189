"""Where the viewer and the app listen: on this machine alone unless somebody says otherwise."""

from __future__ import annotations

import socket
import sys
from ipaddress import ip_address
from urllib.parse import urlsplit

from metrichmsr.errors import UsageError

_TRIED_PORTS = 100


def is_local(host: str) -> bool:
    """Whether only this machine can reach an address."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def calls_this_machine(host: str) -> bool:
    """Whether a ``Host`` header names this machine as it calls itself; anybody's name may lead here (DNS rebinding)."""
    try:
        return is_local((urlsplit(f"//{host}").hostname or "").lower())
    except ValueError:
        return False


def is_foreign(origin: str | None, host: str) -> bool:
    """Whether a page from elsewhere asks: its ``Origin`` header, which only pages send, is not the ``Host`` it asks."""
    try:
        return origin is not None and urlsplit(origin).netloc != host
    except ValueError:
        return True


def free_port(host: str, port: int) -> int:
    """The first free port from ``port`` on; any for 0.

    Raises:
        UsageError: nobody can listen on ``host``, or no port is free.
    """
    if not 0 <= port <= 65535:
        raise UsageError(f"--port must be from 0 to 65535, not {port}")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError) as error:
        raise UsageError(f"--host {host}: cannot listen there: {getattr(error, 'strerror', None) or error}") from error
    last: OSError | None = None
    for tried in range(port, min(port + _TRIED_PORTS, 65536)):
        with socket.socket(family, kind, protocol) as probe:
            if sys.platform != "win32":  # a port that a closed server used a moment ago is free
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address[0], tried))
            except OSError as error:
                last = error
                continue
            return probe.getsockname()[1]
    raise UsageError(f"--host {host} --port {port}: cannot listen there: {last.strerror if last else 'no free port'}")


def for_url(host: str) -> str:
    """The address as a browser on this machine wants it."""
    if host in ("0.0.0.0", "::", ""):
        return "localhost"
    return f"[{host}]" if ":" in host else host
