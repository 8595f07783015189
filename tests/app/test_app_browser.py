"""The page in a real browser: headless Chromium, software WebGL, a made-up recoverer. Pixels are looked at."""

from __future__ import annotations

import gc
import io
import json
import time
import zipfile

import numpy as np
import pytest
from app_photos import STATURES, save_photo
from PIL import Image

from headless import CHROMIUM, PATIENCE_MS, headless_chromium
from metrichmsr.app.serve import Limits, start_app
from metrichmsr.export.palette import person_color

pytest.importorskip("gradio")
pytest.importorskip("playwright.sync_api")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine"),
    # Gradio leaves event loops to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def browser():
    with headless_chromium() as browser:
        yield browser
    gc.collect()


@pytest.fixture
def page(browser, fake_recover, tmp_path):
    """The page, with everything beyond this machine cut off and what it asked for in ``requests``."""
    limits = Limits(max_megabytes=1.0)
    running = start_app(fake_recover, port=0, limits=limits, examples=(save_photo(tmp_path / "example.jpg"),))
    context = browser.new_context(viewport={"width": 1100, "height": 900}, accept_downloads=True)
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.goto(running.url)
    page.locator("#mh-go").wait_for()
    yield page
    own = (running.url, "blob:", "data:")
    outside = [url for url in requests if not url.startswith(own)]
    context.close()
    running.stop()
    assert outside == []


def drop(page, path) -> None:
    page.locator("#mh-photo input[type=file]").set_input_files(path)
    page.locator("#mh-photo img").wait_for()


def until(condition, page):
    """Wait while the browser goes on working."""
    end = time.monotonic() + PATIENCE_MS / 1000
    while not (found := condition()):
        assert time.monotonic() < end, "waited in vain"
        page.wait_for_timeout(300)
    return found


def in_colour(page, person_id: int) -> int:
    """Pixels of the 3D view in a person's hue, whatever the light."""
    shot = page.locator("#mh-model canvas").screenshot(timeout=PATIENCE_MS)
    picture = np.asarray(Image.open(io.BytesIO(shot)).convert("RGB")).astype(float)
    color = np.array(person_color(person_id), float)
    direction = (color - color.mean()) / np.linalg.norm(color - color.mean())
    away = picture - picture.mean(axis=-1, keepdims=True)
    length = np.linalg.norm(away, axis=-1)
    return int(((length > 30) & (away @ direction > 0.95 * length)).sum())


def test_a_photo_gives_table_picture_3d_view_and_zip(page, tmp_path):
    drop(page, save_photo(tmp_path / "holiday.jpg"))
    page.locator("#mh-go").click()
    table = page.locator("table.mh-people")
    table.wait_for()
    assert [row.split("\t")[1] for row in table.inner_text().splitlines()[1:]] == [
        f"{stature:.2f} ± 0.06 m" for stature in STATURES
    ]
    until(lambda: page.evaluate("document.querySelector('#mh-overlay img')?.naturalWidth > 500"), page)
    with page.expect_download(timeout=PATIENCE_MS) as download:
        page.locator("#mh-download").click()
    with zipfile.ZipFile(download.value.path()) as packed:
        document = json.loads(packed.read("result.json"))
    assert document["image"]["path"] == "holiday.jpg"
    page.locator("#mh-model canvas").scroll_into_view_if_needed()
    until(lambda: in_colour(page, 0) > 50, page)
    until(lambda: in_colour(page, 1) > 50, page)
    assert in_colour(page, 3) < 20, "nobody has this colour"


def test_a_wrong_file_is_told_and_the_page_goes_on_working(page, tmp_path):
    wrong = tmp_path / "text.jpg"
    wrong.write_text("no picture at all")
    page.locator("#mh-photo input[type=file]").set_input_files(wrong)
    page.locator("#mh-photo img").wait_for(state="attached")
    page.locator("#mh-go").click()
    error = page.locator(".mh-error")
    error.wait_for()
    assert "text.jpg: not an image" in error.inner_text()
    page.get_by_label("Remove Image").click()
    drop(page, save_photo(tmp_path / "right.jpg"))
    page.locator("#mh-go").click()
    page.locator("table.mh-people").wait_for()
    assert error.count() == 0 or not error.is_visible()


def test_the_focal_length_asks_for_what_was_chosen(page, fake_recover, tmp_path):
    assert page.locator("#mh-focal").count() == 0 or not page.locator("#mh-focal").is_visible()
    page.get_by_label("35 mm equivalent").click()
    page.locator("#mh-focal input").fill("28")
    page.locator("#mh-statures textarea, #mh-statures input").first.fill("0: 1.83, 1: 1,21")
    page.get_by_label("Faces as evidence").uncheck()
    drop(page, save_photo(tmp_path / "a.jpg"))
    page.locator("#mh-go").click()
    page.locator("table.mh-people").wait_for()
    ((options, _),) = fake_recover.asked
    assert options.focal_35mm == 28
    assert (options.faces, options.depth) == (False, "auto")
    assert json.loads(options.height) == {"0": 1.83, "1": 1.21}
