"""The panel beside the scene: what is shown, who is in it, what was measured, where the camera comes from."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from metrichmsr.export.quantities import quantity
from metrichmsr.viewer.content import PersonShapes, ResultContent
from metrichmsr.viewer.layers import Drawn, Layer, Shown
from metrichmsr.viewer.measure import Measured
from metrichmsr.viewer.sequences import Entry
from metrichmsr.viewer.surroundings import Colours, Which

if TYPE_CHECKING:
    import viser

NOTHING = "nothing"
_MOST_BUTTONS = 10
_TOGGLES: tuple[tuple[Layer, str, str], ...] = (
    ("scene", "Scene", "What the depth map shows around the people, painted with the photo"),
    ("people", "People", "Bodies, each in the colour of the overlay"),
    ("labels", "Labels", "Number, height and distance above everybody"),
    ("rulers", "Rulers", "Stature from the lowest point up, a tick every 10 cm; the bracket is one sigma"),
    ("uncertainty", "Distance ± 1σ", "Along the line of sight, from one sigma nearer to one sigma farther"),
    ("skeletons", "Skeletons", "COCO keypoints of the bodies"),
    ("anchors", "Anchors", "Rendered bodies that the depth was drawn to"),
    ("frustum", "Photo", "The picture before its camera"),
    ("grid", "Grid", "One metre a square, on the ground"),
)
_SOURCES = {
    "given": "given by you",
    "sidecar": "from a file beside the photo",
    "exif": "from the photo's EXIF",
    "assumed": "assumed: nothing was known",
}


@dataclass
class Actions:
    """What the panel can ask for; the first argument is the browser that asked, where it matters."""

    choose: Callable[[], None]
    """Another result, frame or comparison."""
    show: Callable[[], None]
    """Another selection of layers."""
    fly_to: Callable[[Any, PersonShapes], None]
    look: Callable[[Any, str], None]
    """``overview``, ``photo`` or ``above``."""
    clear: Callable[[], None]
    screenshot: Callable[[Any], None]


class Panel:
    """Builds the panel and reads it; the same for all browsers."""

    def __init__(self, gui: viser.GuiApi, entries: Sequence[Entry], shown: Shown, actions: Actions) -> None:
        self._gui, self._entries, self._actions = gui, entries, actions
        self._shown = shown
        self._quiet = False
        self._people: list[Any] = []
        self._add_choice()
        self._warnings = gui.add_html("", visible=False)
        self._people_folder = gui.add_folder("People")
        self._add_measure()
        self._add_views()
        self._add_toggles(shown)
        self._about_folder = gui.add_folder("About this result", expand_by_default=True)
        with self._about_folder:
            self._about = gui.add_html("")

    @property
    def entry(self) -> Entry:
        """The result that is chosen."""
        if self._entry is None:
            return self._entries[0]
        return next(entry for entry in self._entries if entry.name == self._entry.value)

    @property
    def frame(self) -> int:
        """Index of the frame in the chosen sequence."""
        return min(int(self._frame.value), len(self.entry.frames) - 1) if self.entry.is_sequence else 0

    @property
    def compared(self) -> Entry | None:
        """The result beside, if any."""
        if self._compared is None or self._compared.value in (NOTHING, self.entry.name):
            return None
        return next(entry for entry in self._entries if entry.name == self._compared.value)

    @property
    def measuring(self) -> bool:
        """Whether clicks measure."""
        return bool(self._measuring.value)

    @property
    def shown(self) -> Shown:
        """What is to be seen."""
        layers: frozenset[Layer] = frozenset(layer for layer, box in self._toggles.items() if box.value)
        return Shown(
            layers,
            cast("Which", self._depth.value),
            cast("Colours", self._colours.value),
            cast("Drawn", self._drawn.value),
        )

    def turn_off(self, layer: Layer) -> None:
        """Take a layer away as if it had been unticked."""
        self._toggles[layer].value = False

    def tell(self, content: ResultContent) -> None:
        """Fill in what depends on the result."""
        self._tell_people(content)
        self._about.content = about_html(content)
        self._warnings.content = warnings_html(content)
        self._warnings.visible = bool(content.warnings)
        maps = content.maps
        for handle in (self._colours, self._drawn, self._toggles["scene"], self._toggles["anchors"]):
            handle.disabled = maps is None
        self._depth.disabled = maps is None or not maps.has_initial
        if self._frame is not None:
            self._frame.visible = self.entry.is_sequence

    def tell_measured(self, measured: Sequence[Measured], pending: bool, note: str = "") -> None:
        """Say what was measured, and what is expected next."""
        lines = [f"**{one}** <small>σ: {one.because}</small>" for one in measured]
        lines.append(note or ("Now the second point." if pending else "Click two points of the scene."))
        self._measured.content = "\n\n".join(lines)
        self._clear.disabled = not measured and not pending

    def _add_choice(self) -> None:
        gui, names = self._gui, [entry.name for entry in self._entries]
        self._entry: Any = None
        self._compared: Any = None
        self._frame: Any = None
        if len(names) > 1:
            self._entry = gui.add_dropdown("Result", names)
            self._compared = gui.add_dropdown(
                "Beside it", [NOTHING, *names], hint="A second result to its right, at the same scale"
            )
            self._entry.on_update(lambda _: self._chosen_entry())
            self._compared.on_update(lambda _: self._actions.choose())
        longest = max(len(entry.frames) for entry in self._entries)
        if longest > 1:
            self._frame = gui.add_slider("Frame", 0, len(self._entries[0].frames) - 1 or 1, 1, 0)
            self._frame.visible = self._entries[0].is_sequence
            self._frame.on_update(lambda _: None if self._quiet else self._actions.choose())

    def _chosen_entry(self) -> None:
        if self._frame is not None:
            self._quiet = True
            self._frame.value = 0
            self._frame.max = max(1, len(self.entry.frames) - 1)
            self._quiet = False
        self._actions.choose()

    def _add_measure(self) -> None:
        gui = self._gui
        with gui.add_folder("Measure"):
            self._measuring = gui.add_checkbox("Clicks measure", True, hint="Two clicks give a distance in metres")
            self._measured = gui.add_markdown("Click two points of the scene.")
            self._clear = gui.add_button("Clear", disabled=True, color="gray")
        self._clear.on_click(lambda _: self._actions.clear())

    def _add_views(self) -> None:
        gui = self._gui
        with gui.add_folder("View"):
            group = gui.add_button_group("Look", ("Overview", "As the photo", "From above"))
            shot = gui.add_button("Screenshot", hint="Downloads what the window shows as PNG", color="gray")
        names = {"Overview": "overview", "As the photo": "photo", "From above": "above"}
        group.on_click(lambda event: self._actions.look(event.client, names[group.value]))
        shot.on_click(lambda event: self._actions.screenshot(event.client))

    def _add_toggles(self, shown: Shown) -> None:
        gui = self._gui
        self._toggles: dict[Layer, Any] = {}
        with gui.add_folder("Show"):
            for layer, label, hint in _TOGGLES:
                self._toggles[layer] = gui.add_checkbox(label, layer in shown.layers, hint=hint)
            self._depth = gui.add_dropdown(
                "Depth", ("refined", "initial"), initial_value=shown.depth, hint="Before and after people corrected it"
            )
            self._colours = gui.add_dropdown(
                "Colours",
                ("photo", "confidence"),
                initial_value=shown.colours,
                hint="Confidence: dark violet is 0, green a half, yellow 1",
            )
            self._drawn = gui.add_dropdown("Drawn as", ("mesh", "points"), initial_value=shown.drawn)
        for handle in (*self._toggles.values(), self._depth, self._colours, self._drawn):
            handle.on_update(lambda _: self._actions.show())

    def _tell_people(self, content: ResultContent) -> None:
        for handle in self._people:
            handle.remove()
        self._people = []
        with self._people_folder:
            if not content.people:
                self._people.append(self._gui.add_markdown("Nobody was found in this picture."))
            if len(content.people) > _MOST_BUTTONS:
                self._people.append(self._add_list(content.people))
                return
            for shapes in content.people:
                button = self._gui.add_button(
                    person_text(shapes),
                    color=dark_enough(shapes.line_color),
                    hint=f"{shapes.height_text} tall, {shapes.distance_text} away (one sigma): fly there",
                )
                button.on_click(lambda event, shapes=shapes: self._actions.fly_to(event.client, shapes))
                self._people.append(button)

    def _add_list(self, people: Sequence[PersonShapes]) -> Any:
        """A crowd as a list to choose from: sixty buttons would push everything else out of the window."""
        of_text = {person_text(shapes): shapes for shapes in people}
        names = (f"{len(people)} people", *of_text)
        chosen = self._gui.add_dropdown("Fly to", names, hint="Height and distance of everybody, ± one sigma")

        def fly(event: Any) -> None:
            if event.client is not None and chosen.value in of_text:
                self._actions.fly_to(event.client, of_text[chosen.value])

        chosen.on_update(fly)
        return chosen


def person_text(shapes: PersonShapes) -> str:
    """Number, height and distance in a line that a phone shows whole."""
    return f"{shapes.person.id}: {shapes.height_text.removesuffix(' m')} at {shapes.distance_text}"


def about_html(content: ResultContent) -> str:
    """Camera and scene in words."""
    document, camera = content.result.document, content.camera
    source, _, method = camera.source.partition(":")
    where = _SOURCES.get(source, f"estimated from the picture by {method}" if method else source)
    focal = f"{camera.focal_px:.0f}"
    focal += "" if camera.focal_std_px is None else f" ± {camera.focal_std_px:.0f}"
    rows = [
        ("Photo", f"{document['image']['path']}, {camera.width} × {camera.height}"),
        ("Camera", f"focal length {focal} px, {camera.fov_x_deg:.0f}° across; {where}"),
    ]
    scene = document["scene"]
    if scene is not None:
        plane = scene["ground_plane"]
        how = f"corrected by people ({scene.get('refinement', 'yes')})" if scene["refined"] else "as it came"
        rows.append(("Depth", f"{scene['source']}, {how}"))
        if plane is not None and plane["offset_m"] is not None:
            rows.append(("Ground", f"camera {quantity(plane['offset_m'], plane.get('offset_std_m'))} above it"))
    return _lines(f"<b>{name}</b> {html.escape(text)}" for name, text in rows)


def warnings_html(content: ResultContent) -> str:
    """What recovery warned of, and what is missing."""
    return _lines(f'<span style="color:#b45309"><b>Warning</b> {html.escape(text)}</span>' for text in content.warnings)


def _lines(lines: Iterable[str]) -> str:
    body = "".join(f'<div style="margin-bottom:.4em;overflow-wrap:anywhere">{line}</div>' for line in lines)
    return f'<div style="font-size:.85em;line-height:1.35;padding:0 .8em .4em">{body}</div>'


def dark_enough(color: tuple[int, int, int]) -> tuple[int, int, int]:
    """The colour, darkened until white text on it has a contrast of 4.5 (WCAG 2.1's level AA)."""

    def luminance(rgb: tuple[int, int, int]) -> float:
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in rgb)]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    while 1.05 / (luminance(color) + 0.05) < 4.5:
        color = (int(0.96 * color[0]), int(0.96 * color[1]), int(0.96 * color[2]))
    return color
