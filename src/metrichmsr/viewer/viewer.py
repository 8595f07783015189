"""Ties results, panel and clicks together."""

from __future__ import annotations

import io
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from metrichmsr.errors import MetricHMSRError
from metrichmsr.viewer.content import Detail, PersonShapes, ResultContent
from metrichmsr.viewer.layers import ResultLayers, Shown
from metrichmsr.viewer.measure import Measured, measure
from metrichmsr.viewer.panel import Actions, Panel
from metrichmsr.viewer.picking import Hit, Ray, Target, pick
from metrichmsr.viewer.result_folder import ResultFolder
from metrichmsr.viewer.sequences import Entry
from metrichmsr.viewer.viewpoints import at_person, fly, from_above, overview, set_viewpoint, through_camera

if TYPE_CHECKING:
    import viser

# Results kept in memory, ready to be shown again; a frame of a sequence of them costs some 30 MB.
_KEPT = 12
# Of sequences less is shown, so that the slider keeps up.
_SEQUENCE_TRIANGLES, _SEQUENCE_POINTS, _SEQUENCE_BODY_TRIANGLES = 80_000, 120_000, 120_000
_GAP_M = 1.0
_SETTLING_S = 20.0
_MARK = (220, 38, 38)


@dataclass(frozen=True, eq=False)
class _Slot:
    """A result that is shown, and where."""

    layers: ResultLayers

    @property
    def content(self) -> ResultContent:
        return self.layers.content

    @property
    def offset(self) -> Float[np.ndarray, "3"]:
        return self.layers.offset


class Viewer:
    """Results in a viser server.

    Args:
        server: a server whose scene is empty.
        entries: results and sequences, at least one.
        detail: how much of each is shown.
        shown: what is seen at first.

    Raises:
        InputError: the first result cannot be shown.
    """

    def __init__(
        self,
        server: viser.ViserServer,
        entries: Sequence[Entry],
        detail: Detail | None = None,
        shown: Shown | None = None,
    ) -> None:
        self.server, self.entries, self.detail = server, entries, detail or Detail()
        self._lock = threading.RLock()
        self._wish = 0
        self._made = 0
        self._contents: OrderedDict[Path, ResultContent] = OrderedDict()
        self._slots: list[_Slot] = []
        self._pending: tuple[_Slot, Hit] | None = None
        self._marks: list[Any] = []
        self.measured: list[Measured] = []
        first = self._content(entries[0].frames[0], sequence=entries[0].is_sequence)
        server.scene.set_up_direction("+y")
        server.scene.configure_default_lights(True, cast_shadow=False)
        start = overview(first)
        camera = server.initial_camera
        camera.fov, camera.position, camera.look_at = start.fov, start.position, start.look_at
        actions = Actions(
            choose=self._choose,
            show=self._show,
            fly_to=self._fly_to,
            look=self._look,
            clear=self.clear,
            screenshot=self._screenshot,
        )
        self.panel = Panel(server.gui, entries, shown or Shown(), actions)
        self._place()
        server.scene.on_click()(self._click)
        server.on_client_connect(self._connected)

    @property
    def contents(self) -> list[ResultContent]:
        """The results that are shown, the chosen one first."""
        return [slot.content for slot in self._slots]

    def clear(self) -> None:
        """Forget what was measured."""
        with self._lock:
            for mark in self._marks:
                mark.remove()
            self._marks, self._pending, self.measured = [], None, []
            self.panel.tell_measured([], pending=False)

    def click(self, ray: Ray) -> Measured | None:
        """Take the point where a line of sight meets what is shown; the second of two gives a distance."""
        with self._lock:
            found = self._pick(ray)
            if found is None:
                self.panel.tell_measured(self.measured, self._pending is not None, "Nothing is there to be measured.")
                return None
            slot, hit = found
            self._mark_point(slot, hit)
            if self._pending is None:
                self._pending = found
                self.panel.tell_measured(self.measured, pending=True)
                return None
            first_slot, first = self._pending
            self._pending = None
            one = self._measure(first_slot, first, slot, hit)
            self.measured.append(one)
            self._mark_line(first.point + first_slot.offset, hit.point + slot.offset, str(one))
            self.panel.tell_measured(self.measured, pending=False)
            return one

    def _measure(self, first_slot: _Slot, first: Hit, slot: _Slot, hit: Hit) -> Measured:
        camera_from_world = np.linalg.inv(slot.content.world_from_camera)
        if first_slot is slot:
            return measure(first, hit, slot.content.doubts, camera_from_world)
        moved = first._replace(point=first.point + first_slot.offset - slot.offset)
        return measure(moved, hit, None, camera_from_world)

    def _pick(self, ray: Ray) -> tuple[_Slot, Hit] | None:
        shown = self.panel.shown
        found: list[tuple[_Slot, Hit]] = []
        for slot in self._slots:
            targets: list[Target] = []
            if "people" in shown.layers:
                targets += slot.content.people_targets
            if "scene" in shown.layers:
                maps = slot.content.maps
                depth = "refined" if maps is None or not maps.has_initial else shown.depth
                scene = slot.content.scene_target(depth, as_points=shown.drawn == "points")
                targets += [] if scene is None else [scene]
            if "grid" in shown.layers:
                targets.append(slot.content.ground_target)
            hit = pick(Ray(ray.origin - slot.offset, ray.direction), targets)
            if hit is not None:
                found.append((slot, hit))
        things = [one for one in found if one[1].kind != "ground"]
        return min(things or found, key=lambda one: one[1].distance_m, default=None)

    def _mark_point(self, slot: _Slot, hit: Hit) -> None:
        self._made += 1
        self._marks.append(
            self.server.scene.add_icosphere(
                f"/measured/{self._made}",
                # As large in the eye wherever it is.
                radius=float(np.clip(0.006 * hit.distance_m, 0.004, 0.06)),
                color=_MARK,
                position=hit.point + slot.offset,
                cast_shadow=False,
                receive_shadow=False,
            )
        )

    def _mark_line(self, first: Float[np.ndarray, "3"], second: Float[np.ndarray, "3"], text: str) -> None:
        self._made += 1
        line = np.array([[first, second]], dtype=np.float32)
        scene = self.server.scene
        self._marks += [
            scene.add_line_segments(f"/measured/{self._made}", line, _MARK, thickness=3.0, thickness_units="screen"),
            scene.add_label(
                f"/measured/{self._made}_label", text, position=0.5 * (first + second), anchor="bottom-center"
            ),
        ]

    def _content(self, result: ResultFolder, *, sequence: bool) -> ResultContent:
        key = result.folder
        if key not in self._contents:
            detail = self.detail
            if sequence:
                detail = Detail(
                    detail.scene,
                    min(detail.max_triangles, _SEQUENCE_TRIANGLES),
                    min(detail.max_points, _SEQUENCE_POINTS),
                    min(detail.max_body_triangles, _SEQUENCE_BODY_TRIANGLES),
                )
            self._contents[key] = ResultContent(result, detail)
            while len(self._contents) > _KEPT:
                self._contents.popitem(last=False)
        self._contents.move_to_end(key)
        return self._contents[key]

    def _place(self) -> None:
        """Show what the panel has chosen, and take away what was shown before."""
        entry, frame, beside = self.panel.entry, self.panel.frame, self.panel.compared
        chosen = [self._content(entry.frames[frame], sequence=entry.is_sequence)]
        if beside is not None:
            same = min(frame, len(beside.frames) - 1)
            chosen.append(self._content(beside.frames[same], sequence=beside.is_sequence))
        self.clear()
        before, slots = self._slots, []
        with self.server.atomic():
            offset = np.zeros(3)
            for index, content in enumerate(chosen):
                if index:
                    offset = np.array([_right_end(chosen[0]) - _left_end(content) + _GAP_M, 0.0, 0.0])
                self._made += 1
                layers = ResultLayers(self.server.scene, f"result_{self._made}", content, self.panel.shown, offset)
                slots.append(_Slot(layers))
            for slot in before:
                slot.layers.remove()
        self._slots = slots
        self.panel.tell(chosen[0])

    def _choose(self) -> None:
        # A slider that is dragged asks for many frames; only the last is worth making.
        self._wish += 1
        wish = self._wish
        with self._lock:
            if wish != self._wish:
                return
            with self._told():
                self._place()

    def _show(self) -> None:
        with self._lock, self._told():
            for slot in self._slots:
                slot.layers.show(self.panel.shown)

    def _click(self, event: viser.SceneClickEvent) -> None:
        if self.panel.measuring:
            with self._told():
                self.click(Ray.of(event.ray_origin, event.ray_direction))

    def _fly_to(self, client: viser.ClientHandle, shapes: PersonShapes) -> None:
        fly(client, at_person(self._slots[0].content, shapes, client.camera.aspect))

    def _look(self, client: viser.ClientHandle, where: str) -> None:
        content, aspect = self._slots[0].content, client.camera.aspect
        if where == "photo":
            # The picture hangs in the way.
            self.panel.turn_off("frustum")
            fly(client, through_camera(content, aspect))
        else:
            fly(client, (from_above if where == "above" else overview)(content, aspect))

    def _connected(self, client: viser.ClientHandle) -> None:
        # Now the shape of the window is known.
        view = overview(self._slots[0].content, client.camera.aspect)
        start = np.array(self.server.initial_camera.position)
        set_viewpoint(client, view)
        if np.allclose(view.position, start, atol=1e-3):
            return
        until = time.monotonic() + _SETTLING_S

        def settle(camera: viser.CameraHandle) -> None:
            # The server's first camera, which knew no window, may reach the browser after ours.
            if time.monotonic() < until and np.allclose(camera.position, start, atol=1e-3):
                set_viewpoint(client, view)

        client.camera.on_update(settle)

    def _screenshot(self, client: viser.ClientHandle) -> None:
        camera = client.camera
        pixels = client.get_render(camera.image_height, camera.image_width, transport_format="png", timeout=60)
        client.send_file_download(f"{self._slots[0].content.name}.png", png_on_white(pixels), save_immediately=True)

    def _told(self) -> _Told:
        return _Told(self.server)


class _Told:
    """Errors of the user's files inside are shown in the browser and on stderr, and end nothing."""

    def __init__(self, server: viser.ViserServer) -> None:
        self._server = server

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> bool:
        if not isinstance(error, MetricHMSRError):
            return False
        sys.stderr.write(f"metrichmsr: error: {error}\n")
        for client in self._server.get_clients().values():
            client.add_notification("Cannot be shown", str(error), color="red")
        return True


def png_on_white(pixels: np.ndarray) -> bytes:
    """A rendered picture, RGB or RGBA, as PNG without transparency."""
    from PIL import Image

    picture = Image.fromarray(pixels)
    if picture.mode == "RGBA":
        sheet = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(sheet, picture).convert("RGB")
    data = io.BytesIO()
    picture.save(data, format="PNG")
    return data.getvalue()


def _ends(content: ResultContent) -> tuple[float, float]:
    xs = [content.frustum.corners[:, 0]]
    xs += [shapes.vertices[:, 0] for shapes in content.people if len(shapes.vertices)]
    if content.maps is not None and len(vertices := content.mesh("refined").vertices):
        xs.append(np.percentile(vertices[:, 0], [2, 98]))
    every = np.concatenate(xs)
    return float(every.min()), float(every.max())


def _left_end(content: ResultContent) -> float:
    return _ends(content)[0]


def _right_end(content: ResultContent) -> float:
    return _ends(content)[1]
