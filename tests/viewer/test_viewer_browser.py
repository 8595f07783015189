"""The viewer in a real browser: headless Chromium, software WebGL. Pixels are looked at, not elements of the page."""

from __future__ import annotations

import io
import re
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from viewer_boxes import BOX

from headless import CHROMIUM, PATIENCE_MS, headless_chromium
from metrichmsr.export.palette import clay_color
from metrichmsr.viewer.layers import Shown
from metrichmsr.viewer.result_folder import open_results
from metrichmsr.viewer.sequences import entries_of
from metrichmsr.viewer.serve import start_viewer
from metrichmsr.viewer.viewpoints import overview

pytest.importorskip("viser")
pytest.importorskip("playwright.sync_api")

pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")]


@pytest.fixture(scope="module")
def browser():
    with headless_chromium() as browser:
        yield browser


class Page:
    """A viewer and a page that looks at it."""

    def __init__(self, browser, folder: Path, width: int, height: int, **options) -> None:
        self.running = start_viewer(entries_of(open_results([folder])), port=0, **options)
        self.viewer = self.running.viewer
        self.requests: list[str] = []
        self.context = browser.new_context(viewport={"width": width, "height": height}, accept_downloads=True)
        self.page = self.context.new_page()
        self.page.set_default_timeout(PATIENCE_MS)
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(self.running.url)
        self.page.locator("canvas").first.wait_for()
        until(lambda: self.viewer.server.get_clients(), self.page)
        # "Software WebGL rendering detected" lies over the scene.
        self.page.locator(".mantine-Notification-closeButton").first.click()

    @property
    def client(self):
        return next(iter(self.viewer.server.get_clients().values()))

    def close(self) -> None:
        self.context.close()
        self.running.stop()

    def picture(self) -> np.ndarray:
        """What the window shows of the scene: its left part, which the panel leaves free."""
        shot = self.page.screenshot(timeout=PATIENCE_MS)
        picture = np.asarray(Image.open(io.BytesIO(shot)).convert("RGB")).astype(int)
        return picture[:, : int(self.canvas["width"])]

    @property
    def canvas(self) -> dict:
        return self.page.locator("canvas").first.bounding_box()

    def pixel_of(self, point) -> tuple[float, float]:
        """Where a point of the world is seen in the window."""
        camera, box = self.client.camera, self.canvas
        forward = np.array(camera.look_at) - camera.position
        forward = forward / np.linalg.norm(forward)
        right = np.cross(forward, camera.up_direction)
        right /= np.linalg.norm(right)
        offset = np.asarray(point) - camera.position
        scale = box["height"] / 2 / np.tan(camera.fov / 2) / (offset @ forward)
        return (
            box["x"] + box["width"] / 2 + scale * (offset @ right),
            box["y"] + box["height"] / 2 - scale * (offset @ np.cross(right, forward)),
        )

    def toggle(self, label: str) -> None:
        name = self.page.locator("label", has_text=label).filter(has_text=re.compile(f"^{re.escape(label)}$")).first
        self.page.locator(f'[id="{name.get_attribute("for")}"]').click()


@pytest.fixture
def open_page(browser, box_result):
    opened: list[Page] = []

    def run(shown: Shown | None = None, size=(700, 400), **fields) -> Page:
        opened.append(Page(browser, box_result(**fields), *size, shown=shown))
        return opened[-1]

    yield run
    for page in opened:
        page.close()


def until(condition, page, seconds: float = PATIENCE_MS / 1000):
    """Wait while the browser goes on working."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "waited in vain"
        page.wait_for_timeout(200)
    return found


def mask_of(picture: np.ndarray, person_id: int) -> np.ndarray:
    """Pixels of a person's hue, whatever the light; greys of scene and grid have none."""
    color = 255 * clay_color(person_id)
    direction = (color - color.mean()) / np.linalg.norm(color - color.mean())
    away = picture - picture.mean(axis=-1, keepdims=True)
    length = np.linalg.norm(away, axis=-1)
    return (length > 25) & (away @ direction > 0.97 * length)


def in_colour(picture: np.ndarray, person_id: int) -> int:
    return int(mask_of(picture, person_id).sum())


PEOPLE = Shown(frozenset({"people"}))


def test_people_are_seen_in_their_colours_and_nothing_leaves_the_machine(open_page):
    page = open_page(PEOPLE)
    until(lambda: in_colour(page.picture(), 0) > 300, page.page)
    picture = page.picture()
    assert in_colour(picture, 0) > 300
    assert in_colour(picture, 1) > 300
    assert in_colour(picture, 3) < 20, "nobody has this colour"
    # The second person stands to the right of the first.
    columns = [np.median(np.nonzero(mask_of(picture, i))[1]) for i in (0, 1)]
    assert columns[0] < columns[1]
    assert all(url.startswith((page.running.url, "blob:", "data:")) for url in page.requests), page.requests


def test_two_clicks_give_the_height_of_a_body(open_page):
    page = open_page(PEOPLE)
    until(lambda: in_colour(page.picture(), 0) > 300, page.page)
    front = -4.0 + BOX[2] / 2
    for y in (BOX[1] - 0.01, 0.01):
        before = len(page.viewer._marks)
        page.page.mouse.click(*page.pixel_of((0.0, y, front)))
        until(lambda before=before: len(page.viewer._marks) > before, page.page)
    (measured,) = page.viewer.measured
    assert measured.length_m == pytest.approx(BOX[1], rel=0.02)
    page.page.get_by_text(f"{measured.length_m:.2f} ± 0.09 m").first.wait_for()
    # The red line is drawn over the body.
    until(lambda: red(page.picture()) > 30, page.page)
    page.page.get_by_role("button", name="Clear").click()
    until(lambda: red(page.picture()) < 5, page.page)
    assert page.viewer.measured == []


def red(picture: np.ndarray) -> int:
    r, g, b = np.moveaxis(picture, -1, 0)
    return int(((r > 150) & (g < 90) & (b < 90)).sum())


def test_toggles_change_what_is_seen(open_page):
    page = open_page(Shown(frozenset({"people", "scene", "grid"})), size=(700, 700))
    until(lambda: in_colour(page.picture(), 0) > 300, page.page)
    page.toggle("People")
    until(lambda: in_colour(page.picture(), 0) < 20, page.page)
    for label in ("Scene", "Anchors", "Rulers", "Distance ± 1σ", "Photo", "Skeletons", "Labels"):
        before = page.picture()
        page.toggle(label)
        until(lambda before=before: (np.abs(page.picture() - before).max(axis=-1) > 25).sum() > 40, page.page)
    assert page.viewer.panel.shown.layers == frozenset(
        {"grid", "anchors", "rulers", "uncertainty", "frustum", "skeletons", "labels"}
    )


def test_a_screenshot_comes_down_as_png(open_page):
    page = open_page(PEOPLE, size=(700, 700))
    until(lambda: in_colour(page.picture(), 0) > 300, page.page)
    with page.page.expect_download(timeout=PATIENCE_MS) as download:
        page.page.get_by_role("button", name="Screenshot").click()
    assert download.value.suggested_filename == "wall.png"
    picture = np.asarray(Image.open(download.value.path()).convert("RGB")).astype(int)
    assert in_colour(picture, 0) > 300
    assert picture.shape[0] == pytest.approx(page.canvas["height"], abs=2)


def test_on_a_phone_people_stand_above_the_panel_and_it_folds_away(open_page):
    page = open_page(PEOPLE, size=(390, 844))
    until(lambda: in_colour(page.picture(), 0) > 100, page.page)
    view = overview(page.viewer.contents[0], 390 / 844)
    until(lambda: np.allclose(page.client.camera.position, view.position, atol=1e-3), page.page)
    header = page.page.get_by_text("MetricHMSR").first
    assert page.page.get_by_text("Clicks measure").is_visible()
    unfolded = page.picture()
    top = header.bounding_box()["y"]
    header.click()
    until(lambda: header.bounding_box()["y"] > top + 200, page.page)
    page.page.wait_for_timeout(1000)
    assert (np.abs(page.picture() - unfolded).max(axis=-1) > 25).sum() > 2000
