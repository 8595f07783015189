"""The viewer's page in Chromium: when its first pictures are drawn, and how many a second while it is turned."""

from __future__ import annotations

import math
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from metrichmsr.export.palette import clay_color

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from headless import CHROMIUM, PATIENCE_MS, headless_chromium

_PATIENCE_S = PATIENCE_MS / 1000
_SIZE = (1440, 900)
_DRAG_S, _DRAGS = 10.0, 3
_PEOPLE_PX = 300

# Counts what WebGL is told to draw, picture by picture (a picture: all that is drawn before the page's script pauses),
# and tells when each has been drawn, by a fence behind it. Pixels are read until somebody's colour is among them,
# whatever the light on it.
_SCRIPT = """
(colours) => {
  const state = (window.__pictures = { list: [], people: null, renderer: null });
  let open = null;
  const share = (pixels) => {
    let found = 0;
    for (let i = 0; i < pixels.length; i += 4) {
      const [r, g, b] = [pixels[i], pixels[i + 1], pixels[i + 2]];
      const grey = (r + g + b) / 3;
      const away = [r - grey, g - grey, b - grey];
      const length = Math.hypot(...away);
      if (length > 25 && colours.some((c) => away[0] * c[0] + away[1] * c[1] + away[2] * c[2] > 0.97 * length))
        found++;
    }
    return found;
  };
  const now = () => performance.timeOrigin + performance.now();
  const close = (gl) => {
    if (state.people === null) {
      const [w, h] = [gl.drawingBufferWidth, gl.drawingBufferHeight];
      const before = gl.getParameter(gl.READ_FRAMEBUFFER_BINDING);
      const pixels = new Uint8Array(4 * w * h);
      gl.bindFramebuffer(gl.READ_FRAMEBUFFER, null);
      gl.readPixels(0, 0, w, h, gl.RGBA, gl.UNSIGNED_BYTE, pixels);
      gl.bindFramebuffer(gl.READ_FRAMEBUFFER, before);
      if (share(pixels) > __PEOPLE_PX__) state.people = now();
      const info = gl.getExtension("WEBGL_debug_renderer_info");
      state.renderer = info ? gl.getParameter(info.UNMASKED_RENDERER_WEBGL) : gl.getParameter(gl.RENDERER);
    }
    const picture = open;
    open = null;
    picture.size = [gl.drawingBufferWidth, gl.drawingBufferHeight];
    const fence = gl.fenceSync(gl.SYNC_GPU_COMMANDS_COMPLETE, 0);
    gl.flush();
    const ask = () => {
      if (gl.getSyncParameter(fence, gl.SYNC_STATUS) !== gl.SIGNALED) return setTimeout(ask, 2);
      gl.deleteSync(fence);
      picture.at = now();
      state.list.push(picture);
    };
    setTimeout(ask, 0);
  };
  const count = (gl, mode, number, instances) => {
    if (gl.canvas.width < 500) return;
    if (open === null) {
      open = { calls: 0, triangles: 0, points: 0 };
      queueMicrotask(() => close(gl));
    }
    open.calls++;
    if (mode === gl.TRIANGLES) open.triangles += (number / 3) * instances;
    if (mode === gl.POINTS) open.points += number * instances;
  };
  const wrap = (name, numberAt, instancesAt) => {
    const original = WebGL2RenderingContext.prototype[name];
    WebGL2RenderingContext.prototype[name] = function (...given) {
      count(this, given[0], given[numberAt], instancesAt === null ? 1 : given[instancesAt]);
      return original.apply(this, given);
    };
  };
  wrap("drawArrays", 2, null);
  wrap("drawElements", 1, null);
  wrap("drawRangeElements", 3, null);
  wrap("drawArraysInstanced", 2, 3);
  wrap("drawElementsInstanced", 1, 4);
}
"""


@dataclass(frozen=True)
class Frames:
    """What was seen of a page; seconds count from the start of the command."""

    renderer: str
    """What draws: a graphics card, or SwiftShader, which is software."""
    listening_s: float
    """Until the command printed the page's address."""
    people_s: float
    """Until the first picture with somebody's colour among its pixels."""
    everything_s: float
    """Until the first picture with as many triangles and points as there came to be."""
    calls: int
    triangles: int
    points: int
    """Draw calls, triangles and points of a picture."""
    drawn_px: tuple[int, int]
    """Its size at the end; viser makes pictures smaller where they come slowly."""
    per_second: tuple[float, ...]
    """Pictures a second while the camera was dragged round, each time, the least first."""
    longest_s: float
    """The longest wait for the next of them."""


def frames_of(folder: Path, options: Sequence[str], *, window: bool, picture: Path | None) -> Frames:
    """Open ``metrichmsr view`` on a result in Chromium, and drag the camera round three times, ten seconds each.

    Args:
        folder: a result with people and meshes.
        options: more options of ``metrichmsr view``.
        window: show a window and draw with the machine's graphics card, where it has one; else in software.
        picture: PNG to save the page to before it is turned.
    """
    if CHROMIUM is None:
        raise SystemExit("--browser needs Chromium on the PATH")
    with headless_chromium(window=window) as browser:
        page = browser.new_page(viewport={"width": _SIZE[0], "height": _SIZE[1]})
        page.set_default_timeout(PATIENCE_MS)
        page.add_init_script(f"({_SCRIPT.replace('__PEOPLE_PX__', str(_PEOPLE_PX))})({_hues()})")
        start = time.time()
        command = [sys.executable, "-m", "metrichmsr", "view", str(folder), "--port", "0", *options]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as viewer:
            try:
                assert viewer.stdout is not None
                line = viewer.stdout.readline()
                listening = time.time()
                if not line.startswith("viewer: "):
                    raise SystemExit(f"the viewer did not start: {line}")
                page.goto(line.split()[1])
                _settle(page)
                if picture is not None:
                    page.screenshot(path=picture, timeout=PATIENCE_MS)
                before = page.evaluate("window.__pictures")
                drags = [_drag(page) for _ in range(_DRAGS)]
                after = page.evaluate("window.__pictures")
            finally:
                viewer.terminate()
    most = max(before["list"], key=_size)
    times = np.array([one["at"] for one in after["list"]]) / 1000
    dragged = [times[(times >= first) & (times <= last)] for first, last in drags]
    waits = [np.diff([first, *drawn, last]) for (first, last), drawn in zip(drags, dragged, strict=True)]
    return Frames(
        renderer=after["renderer"],
        listening_s=listening - start,
        people_s=before["people"] / 1000 - start,
        everything_s=min(one["at"] for one in before["list"] if _size(one) == _size(most)) / 1000 - start,
        calls=most["calls"],
        triangles=round(most["triangles"]),
        points=round(most["points"]),
        drawn_px=tuple(after["list"][-1]["size"]),
        per_second=tuple(
            sorted(len(drawn) / (last - first) for (first, last), drawn in zip(drags, dragged, strict=True))
        ),
        longest_s=float(np.concatenate(waits).max()),
    )


def _size(one: dict[str, Any]) -> float:
    return one["triangles"] + one["points"]


def _hues() -> str:
    """Directions away from grey of the first people's colours, as JavaScript."""
    away = [clay_color(i) - clay_color(i).mean() for i in range(8)]
    return str([(direction / np.linalg.norm(direction)).tolist() for direction in away])


def _settle(page: Any) -> None:
    """Wait until people have been seen and pictures hold no more than before."""
    end, most, since = time.monotonic() + _PATIENCE_S, 0.0, time.monotonic()
    while True:
        state = page.evaluate("window.__pictures")
        now = max((_size(one) for one in state["list"]), default=0.0)
        if now > most:
            most, since = now, time.monotonic()
        if state["people"] is not None and time.monotonic() - since > 4.0:
            return
        if time.monotonic() > end:
            raise SystemExit("nobody is seen on the page")
        page.wait_for_timeout(200)


def _drag(page: Any) -> tuple[float, float]:
    """Turn the camera with the mouse, in circles; seconds since the epoch of its begin and end."""
    notice = page.locator(".mantine-Notification-closeButton")  # of software drawing; it lies over the scene
    if notice.count():
        notice.first.click()
    box = page.locator("canvas").first.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    first = time.time()
    while (passed := time.time() - first) < _DRAG_S:
        angle = 2 * math.pi * passed / _DRAG_S
        page.mouse.move(x + 150 * math.sin(angle), y + 40 * (1 - math.cos(angle)))
    last = time.time()
    page.mouse.up()
    return first, last
