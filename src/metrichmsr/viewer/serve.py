"""Starts and stops the web server of the viewer."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from metrichmsr.errors import MissingPackageError
from metrichmsr.listening import for_url, free_port, is_local
from metrichmsr.viewer.content import Detail
from metrichmsr.viewer.foreign_pages import refuse_foreign_pages
from metrichmsr.viewer.layers import Shown
from metrichmsr.viewer.sequences import Entry

if TYPE_CHECKING:
    import viser

    from metrichmsr.viewer.viewer import Viewer


@dataclass(frozen=True, eq=False)
class RunningViewer:
    """A viewer that answers at ``url`` until it is stopped."""

    url: str
    viewer: Viewer
    refuses_foreign_pages: bool
    """Whether other pages that are open in a browser are kept from connecting."""
    _server: viser.ViserServer

    def stop(self) -> None:
        """Let go of browsers and port."""
        with _no_chatter():
            self._server.stop()


def require_viser() -> Any:
    """The module viser.

    Raises:
        MissingPackageError: it is not installed.
    """
    try:
        import viser
    except ImportError as error:
        raise MissingPackageError(
            f"the viewer needs the package viser ({error}); pip install 'metrichmsr[viewer]'"
        ) from error
    return viser


def start_viewer(
    entries: Sequence[Entry],
    *,
    host: str = "127.0.0.1",
    port: int = 8080,
    detail: Detail | None = None,
    shown: Shown | None = None,
) -> RunningViewer:
    """Serve results; the next free port where this one is taken.

    Args:
        entries: results and sequences, at least one.
        host: address to listen on; anything but this machine's own lets others in.
        port: the first to try; 0 for any.
        detail: how much of a scene is shown.
        shown: what is seen at first.

    Raises:
        UsageError: nobody can listen on ``host``.
        MissingPackageError: viser is not installed.
        InputError: the first result cannot be shown.
    """
    port = free_port(host, port)
    viser = require_viser()
    from metrichmsr.viewer.viewer import Viewer

    with _no_chatter():
        server = viser.ViserServer(host=host, port=port, verbose=False, label="MetricHMSR")
    refuses = refuse_foreign_pages(server, local_only=is_local(host))  # before there is anything to see
    # viser can hand a scene to a public relay when a browser asks. A photo of people stays here.
    server.request_share_url = lambda *_, **__: None
    try:
        server.gui.configure_theme(show_logo=False, show_share_button=False, control_width="medium")
        # Beside the scene, not over it; foldable. In a narrow window viser makes it a sheet at the bottom.
        server.gui.main_panel.dock_right()
        viewer = Viewer(server, entries, detail, shown)
    except BaseException:
        with _no_chatter():
            server.stop()
        raise
    return RunningViewer(f"http://{for_url(host)}:{server.get_port()}", viewer, refuses, server)


@contextlib.contextmanager
def _no_chatter() -> Any:
    """Keep viser's tables off stdout: what there is to say the command line says."""
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        sys.stdout.flush()
        yield
