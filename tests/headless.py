"""Headless Chromium for pages: where it is, how patient to be with it, and a browser.

Also for ``benchmarks/page_frames.py`` and ``scripts/make_page_pictures.py``.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)

# Software drawing on a busy machine takes seconds a frame.
PATIENCE_MS = 240_000


_SOFTWARE = ("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")


@contextmanager
def headless_chromium(*, window: bool = False) -> Iterator:
    """A Playwright browser that draws WebGL in software; with ``window`` one that is seen, and draws as it does."""
    from playwright import sync_api

    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            headless=not window,
            args=["--no-sandbox", *(() if window else _SOFTWARE)],
        )
        yield browser
        browser.close()
