"""``report.pdf``: the page as an installed Chromium or Chrome prints it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from metrichmsr.errors import UsageError
from metrichmsr.export.atomic import OutputError, atomic_file

_NAMES = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "chromium-headless-shell",
    "microsoft-edge",
    "msedge",
)
_PLACES = {
    "darwin": (
        "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
        "/Applications/Chromium.app/Contents/MacOS/Chromium",
        "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
    ),
    "win32": (
        r"C:\Program Files\Google\Chrome\Application\chrome.exe",
        r"C:\Program Files (x86)\Google\Chrome\Application\chrome.exe",
        r"C:\Program Files (x86)\Microsoft\Edge\Application\msedge.exe",
    ),
}
_PATIENCE_S = 180


def find_browser(browser: Path | None = None) -> Path:
    """The program that prints: the one given, or the first Chromium, Chrome or Edge that is installed.

    Raises:
        UsageError: There is none.
    """
    if browser is not None:
        found = shutil.which(browser)
        if found is None:
            raise UsageError(f"--browser {browser}: no such program")
        return Path(found)
    candidates = (*(shutil.which(name) for name in _NAMES), *_PLACES.get(sys.platform, ()))
    for path in candidates:
        if path is not None and Path(path).is_file():
            return Path(path)
    raise UsageError(
        "--pdf needs Chromium, Chrome or Edge, and none was found: install one, name it by --browser, "
        "or open report.html in any browser and print it to a file"
    )


def print_pdf(page: Path, pdf: Path, browser: Path) -> None:
    """Print an HTML file on A4, atomically.

    Raises:
        OutputError: The browser failed; with the last that it said.
    """
    # Chromium does not start as root (in containers) in its sandbox. The page is ours, and has no script.
    root = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    with atomic_file(pdf) as temporary, tempfile.TemporaryDirectory(prefix="metrichmsr-pdf-") as profile:
        command = [
            str(browser),
            "--headless",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
            *root,
            f"--user-data-dir={profile}",  # else it would hand the work to a browser that is open
            "--no-pdf-header-footer",
            f"--print-to-pdf={temporary.resolve()}",
            page.resolve().as_uri(),
        ]
        try:
            done = subprocess.run(command, capture_output=True, timeout=_PATIENCE_S, check=False)
            said = done.stderr.decode(errors="replace").strip().splitlines()
        except subprocess.TimeoutExpired:
            raise OutputError(f"{pdf}: {browser} did not print within {_PATIENCE_S} s") from None
        except OSError as error:
            raise OutputError(f"{pdf}: {browser} does not start: {error.strerror or error}") from error
        if not temporary.is_file() or not temporary.stat().st_size:
            raise OutputError(f"{pdf}: {browser} printed nothing: {said[-1] if said else f'exit {done.returncode}'}")
