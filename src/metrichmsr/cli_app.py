"""The verb ``app``: options, and the server until Ctrl-C."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from metrichmsr.errors import UsageError
from metrichmsr.recover import RecoverOptions


@dataclass(frozen=True)
class AppArgs:
    """Recover people in a web page on this machine: drop a photo, see bodies, statures, distances, the scene in 3D.

    Uploads and results lie in a temporary folder and are removed at the end. Ends with Ctrl-C.
    """

    host: str = "127.0.0.1"
    """Address to listen on. With any but this machine's own, everybody in the network can upload pictures."""
    port: int = 7860
    """Port to listen on; the next free one where it is taken, any with 0."""
    open: bool = False
    """Open the page in the browser."""
    max_megabytes: float = 50.0
    """Refuse larger files."""
    max_megapixels: float = 100.0
    """Refuse larger pictures: unpacking them may take more memory than there is."""
    max_waiting: int = 8
    """So many may wait for their turn (photos are done one at a time)."""
    device: str | None = None
    """Where the networks run: cpu, cuda, cuda:1, mps (default: cpu)."""
    debug: bool = False
    """Show where in the program an error arose."""

    def __post_init__(self) -> None:
        for option, value in (("--max-megabytes", self.max_megabytes), ("--max-megapixels", self.max_megapixels)):
            if not 0 < value < 1e6:
                raise UsageError(f"{option} must be positive, not {value:g}")
        if self.max_waiting < 1:
            raise UsageError(f"--max-waiting must be at least 1, not {self.max_waiting}")


def run_app(args: AppArgs) -> int:
    """Serve until Ctrl-C; returns the exit status.

    Raises:
        MetricHMSRError: a model is missing, Gradio is not installed, or nobody can listen there.
    """
    from metrichmsr.app.serve import Limits, require_gradio, start_app
    from metrichmsr.app.service import shared_models
    from metrichmsr.listening import is_local

    require_gradio()  # before the long work, mistakes
    with _ended_by_signals():
        if not is_local(args.host):
            sys.stderr.write(
                f"metrichmsr: warning: listening on {args.host}: anybody on the network can upload pictures and have "
                "them worked on here, without a password\n"
            )
        sys.stderr.write("loading the models…\n")
        base = RecoverOptions()
        with contextlib.redirect_stdout(sys.stderr):  # whatever a library prints
            recover = shared_models(base, device=args.device)
            limits = Limits(args.max_megabytes, round(1e6 * args.max_megapixels), args.max_waiting)
            app = start_app(recover, host=args.host, port=args.port, limits=limits, base=base)
        try:
            sys.stdout.write(f"app: {app.url}  (Ctrl-C ends it)\n")
            sys.stdout.flush()
            if args.open:
                import webbrowser

                webbrowser.open(app.url)
            wait_for_interrupt()
        except KeyboardInterrupt:
            pass
        finally:
            app.stop()
    return 0


def wait_for_interrupt() -> None:
    """Sleep until Ctrl-C."""
    forever = threading.Event()
    while not forever.wait(1.0):  # without a limit Windows would not hear Ctrl-C
        pass


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Being ended from outside, or by its terminal being closed, is like Ctrl-C: uploads are removed."""

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    names = [name for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {name: signal.signal(getattr(signal, name), interrupt) for name in names}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler)
