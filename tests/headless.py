"""Headless Chromium for the tests of pages: where it is, how patient to be with it, and a browser."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)

# Software drawing on a busy machine takes seconds a frame.
PATIENCE_MS = 240_000


@contextmanager
def headless_chromium() -> Iterator:
    """A Playwright browser that draws WebGL in software."""
    from playwright import sync_api

    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--no-sandbox"],
        )
        yield browser
        browser.close()
