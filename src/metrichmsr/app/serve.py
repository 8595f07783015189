"""Starts and stops the app: models, temporary folder, page and server."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metrichmsr.app.service import RecoverWith, RecoveryService
from metrichmsr.app.workspace import Workspace
from metrichmsr.errors import MissingPackageError
from metrichmsr.listening import for_url, free_port, is_local

# So many uploads of the greatest size may lie about, with their results.
_ROOM = 20


@dataclass(frozen=True)
class Limits:
    """What the app takes."""

    max_megabytes: float = 50.0
    """Of a photo's file."""
    max_pixels: int = 100_000_000
    """Of a photo; larger ones are refused before they are unpacked."""
    max_waiting: int = 8
    """People waiting for their turn; more are asked to come back later."""


@dataclass(frozen=True, eq=False)
class RunningApp:
    """An app that answers at ``url`` until it is stopped."""

    url: str
    workspace: Workspace
    _stack: ExitStack

    def stop(self) -> None:
        """Let go of port and browsers, and remove every upload and result."""
        self._stack.close()


def require_gradio() -> Any:
    """The module gradio.

    Raises:
        MissingPackageError: it is not installed.
    """
    try:
        with _no_calls_home():
            import gradio
    except ImportError as error:
        raise MissingPackageError(
            f"the app needs the package gradio ({error}); pip install 'metrichmsr[app]'"
        ) from error
    return gradio


def start_app(
    recover: RecoverWith,
    *,
    host: str = "127.0.0.1",
    port: int = 7860,
    limits: Limits | None = None,
    examples: tuple[Path, ...] | None = None,
    **service_settings: Any,
) -> RunningApp:
    """Serve the page; on the next free port where this one is taken.

    Args:
        recover: does a photo (:func:`metrichmsr.app.service.shared_models`).
        host: address to listen on; anything but this machine's own lets others in.
        port: the first to try; 0 for any.
        limits: what is taken.
        examples: photos to try it with (default: those of the repository, where they are at hand).
        service_settings: further ones of :class:`~metrichmsr.app.service.RecoveryService`.

    Raises:
        UsageError: nobody can listen there.
        MissingPackageError: Gradio is not installed.
    """
    limits = limits or Limits()
    max_bytes = round(1e6 * limits.max_megabytes)
    port = free_port(host, port)
    require_gradio()
    with ExitStack() as stack:
        workspace = Workspace()
        stack.callback(workspace.close)
        stack.enter_context(_no_calls_home(workspace.root))
        from metrichmsr.app.guard import Guard
        from metrichmsr.app.page import CSS, build_page, theme

        service = RecoveryService(recover, workspace, max_pixels=limits.max_pixels, **service_settings)
        page = build_page(
            service,
            examples=example_photos() if examples is None else examples,
            max_waiting=limits.max_waiting,
            local=is_local(host),
        )
        from starlette.middleware import Middleware

        guard = Middleware(
            Guard,
            local_only=is_local(host),
            max_upload_bytes=max_bytes,
            has_room=lambda: workspace.size_bytes() < _ROOM * max_bytes,
        )
        stack.callback(page.close, verbose=False)
        page.launch(
            server_name=host,
            server_port=port,
            share=False,
            quiet=True,
            prevent_thread_lock=True,
            inbrowser=False,
            show_error=True,
            allowed_paths=[],
            max_file_size=max_bytes,
            ssr_mode=False,
            pwa=False,
            mcp_server=False,
            run_history=False,
            enable_monitoring=False,
            footer_links=[],
            theme=theme(),
            css=CSS,
            app_kwargs={"middleware": [guard], "docs_url": None, "redoc_url": None, "openapi_url": None},
        )
        return RunningApp(f"http://{for_url(host)}:{port}", workspace, stack.pop_all())
    raise AssertionError  # no context manager here swallows errors


def example_photos() -> tuple[Path, ...]:
    """The photo to try the app with, where the package runs from its repository."""
    photo = Path(__file__).resolve().parents[3] / "examples" / "photos" / "street.jpg"
    return (photo,) if photo.is_file() else ()


@contextlib.contextmanager
def _no_calls_home(folder: Path | None = None) -> Iterator[None]:
    """Gradio's settings that live in the environment, for the time of the block, and as they were afterwards.

    No usage statistics, no look for new versions, no folders opened beyond ours, no proxy between it and itself.
    """
    wanted: dict[str, str | None] = {name: None for name in os.environ if name.startswith("GRADIO_")}
    wanted |= {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    wanted |= {name: "127.0.0.1,localhost,::1" for name in ("NO_PROXY", "no_proxy")}
    if folder is not None:
        wanted |= {"GRADIO_TEMP_DIR": str(folder), "GRADIO_EXAMPLES_CACHE": str(folder / "examples")}
    before = {name: os.environ.get(name) for name in wanted}
    _set(wanted)
    try:
        yield
    finally:
        _set(before)


def _set(variables: dict[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
