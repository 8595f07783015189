"""Keeps web pages from elsewhere out of the viewer's scene.

A browser lets any page that is open in it connect to a web socket on this machine, and says in the header ``Origin``
from where that page came. viser takes everybody in. It has no setting for this, but tells of each connection before it
sends anything, and there the handshake's headers can be read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from metrichmsr.listening import calls_this_machine, is_foreign

if TYPE_CHECKING:
    import viser

_POLICY_VIOLATION = 1008  # RFC 6455, §7.4.1


def refuse_foreign_pages(server: viser.ViserServer, *, local_only: bool) -> bool:
    """Close what pages from elsewhere open, before it gets anything; to be called while the scene is empty.

    Programs that are no browser send no origin and are let in.

    Args:
        server: a server that has just been started.
        local_only: also refuse who calls this machine by any name but its own, as pages do that had a name of theirs
            lead here (DNS rebinding).

    Returns:
        Whether that is possible: the connections lie in a part of viser that it may change.
    """
    sockets: Any = getattr(server, "_websock_server", None)
    connections = getattr(sockets, "_live_connections", None)
    if not isinstance(connections, dict):
        return False

    async def look_at(client: Any) -> None:
        connection = connections[client.client_id]
        headers = connection.request.headers
        if not _welcome(headers.get_all("Host"), headers.get_all("Origin"), local_only):
            # What viser would send to a closed connection goes nowhere.
            await connection.close(_POLICY_VIOLATION, "another page may not look at this scene")

    sockets.on_client_connect(look_at)
    # Somebody may have been quicker. Our own page comes back by itself.
    sockets.disconnect_all_clients()
    return True


def _welcome(hosts: list[str], origins: list[str], local_only: bool) -> bool:
    if len(hosts) != 1 or len(origins) > 1:
        return False
    (host,) = hosts
    if local_only and not calls_this_machine(host):
        return False
    return not is_foreign(origins[0] if origins else None, host)
