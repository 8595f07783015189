"""Take the pictures of viewer and app that the documentation shows, and put them into docs/images/.

    python scripts/make_page_pictures.py [viewer|app]

Needs the extras app, viewer and browser, and Chromium on the PATH; it draws in software.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from metrichmsr.export.atomic import atomic_file
from metrichmsr.recover import RecoverOptions, recover

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "tests"))
from headless import CHROMIUM, PATIENCE_MS, headless_chromium  # noqa: E402

IMAGES = ROOT / "docs" / "images"
PHOTO = Path("examples/photos/street.jpg")
SIZE = (1440, 900)
WIDTH_PX = 1152
LARGEST_BYTES = 150_000
# Two places on the ground, pixels of the page.
MEASURED = ((420, 600), (760, 640))
SETTLED_MS = 8000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    takes: dict[str, Callable[[Any], bytes]] = {"viewer": viewer_picture, "app": app_picture}
    parser.add_argument("page", nargs="?", choices=list(takes), help="one of them (default: all)")
    args = parser.parse_args()
    if CHROMIUM is None:
        raise SystemExit("there is no Chromium on the PATH")
    os.chdir(ROOT)  # the pages show the photo's path as it was given
    for name in takes if args.page is None else (args.page,):
        with headless_chromium() as browser:
            keep(f"{name}.jpg", takes[name](browser))


def viewer_picture(browser: Any) -> bytes:
    """The example photo's result with one length measured, as PNG."""
    from metrichmsr.export.write import write_recovery
    from metrichmsr.viewer.result_folder import open_results
    from metrichmsr.viewer.sequences import entries_of
    from metrichmsr.viewer.serve import start_viewer

    with tempfile.TemporaryDirectory() as folder:
        result = write_recovery(recover(PHOTO), Path(folder), PHOTO.stem, formats=("ply", "depth", "glb"))
        running = start_viewer(entries_of(open_results([result])), port=0)
        try:
            page = browser.new_page(viewport={"width": SIZE[0], "height": SIZE[1]})
            page.set_default_timeout(PATIENCE_MS)
            page.goto(running.url)
            page.locator("canvas").first.wait_for()
            page.locator(".mantine-Notification-closeButton").first.click()  # of software drawing
            page.wait_for_timeout(SETTLED_MS)
            for x, y in MEASURED:
                page.mouse.click(x, y)
                page.wait_for_timeout(SETTLED_MS / 2)
            page.mouse.move(0, 0)
            page.wait_for_timeout(SETTLED_MS / 2)
            return page.screenshot(timeout=PATIENCE_MS)
        finally:
            running.stop()


def app_picture(browser: Any) -> bytes:
    """The page with the example photo recovered, as PNG."""
    from metrichmsr.app.serve import Limits, start_app
    from metrichmsr.app.service import shared_models

    base = RecoverOptions()
    running = start_app(shared_models(base), port=0, limits=Limits(), base=base)
    try:
        page = browser.new_page(viewport={"width": SIZE[0], "height": SIZE[1]})
        page.set_default_timeout(PATIENCE_MS)
        page.goto(running.url)
        page.locator("#mh-photo input[type=file]").set_input_files(PHOTO)
        page.locator("#mh-photo img").wait_for()
        page.locator("#mh-go").click()
        page.mouse.move(0, 0)
        page.locator("table.mh-people").wait_for()
        page.locator("#mh-model canvas").scroll_into_view_if_needed()
        page.wait_for_timeout(2 * SETTLED_MS)
        return page.screenshot(full_page=True, timeout=PATIENCE_MS)
    finally:
        running.stop()


def keep(name: str, png: bytes) -> None:
    """Put a picture into docs/images/, as small as the pages want it."""
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    picture.thumbnail((WIDTH_PX, 4 * WIDTH_PX), Image.Resampling.LANCZOS)
    data = next(jpeg for quality in range(88, 0, -4) if len(jpeg := _jpeg(picture, quality)) <= LARGEST_BYTES)
    with atomic_file(IMAGES / name) as temporary:
        temporary.write_bytes(data)
    print(f"docs/images/{name}: {picture.width}×{picture.height}, {len(data)} bytes")


def _jpeg(picture: Image.Image, quality: int) -> bytes:
    data = io.BytesIO()
    picture.save(data, format="JPEG", quality=quality, optimize=True, progressive=True)
    return data.getvalue()


if __name__ == "__main__":
    main()
