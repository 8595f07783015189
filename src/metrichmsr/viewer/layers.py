"""Hands the shapes of a result to viser, layer by layer; a layer is made when it is first shown."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
from jaxtyping import Float

from metrichmsr.viewer.content import PersonShapes, ResultContent
from metrichmsr.viewer.shapes import Triangles
from metrichmsr.viewer.surroundings import Colours, Which

if TYPE_CHECKING:
    import viser

Drawn = Literal["mesh", "points"]
Layer = Literal[
    "scene", "people", "labels", "rulers", "uncertainty", "skeletons", "anchors", "frustum", "grid"
]  # in the order of the panel

Colour = tuple[int, int, int]  # sRGB
Thing = TypeVar("Thing")

_ANCHOR = (255, 0, 170)
_STAFF = (30, 30, 34)
_EDGE = (60, 60, 66)
_GRID, _GRID_METRES = (205, 205, 210), (150, 150, 158)
# Bodies let their skeletons through while these are shown.
_SEE_THROUGH = 0.45
# More people than this, and labels are their numbers only.
_MOST_LONG_LABELS = 8
_PICTURE_PX = 640


@dataclass(frozen=True)
class Shown:
    """What is to be seen."""

    layers: frozenset[Layer] = frozenset({"scene", "people", "labels", "rulers", "uncertainty", "frustum", "grid"})
    depth: Which = "refined"
    colours: Colours = "photo"
    drawn: Drawn = "mesh"

    def with_layer(self, layer: Layer, visible: bool) -> Shown:
        """The same with one layer on or off."""
        one: frozenset[Layer] = frozenset({layer})
        layers = self.layers | one if visible else self.layers - one
        return Shown(layers, self.depth, self.colours, self.drawn)


class ResultLayers:
    """One result in the browser, below the node ``/<key>``.

    Args:
        scene: viser's scene.
        key: name of the node, unique.
        content: what to show.
        shown: which of it.
        offset: where its world's origin goes.
    """

    def __init__(
        self,
        scene: viser.SceneApi,
        key: str,
        content: ResultContent,
        shown: Shown,
        offset: Float[np.ndarray, "3"] | None = None,
    ) -> None:
        self.content = content
        self.offset = np.zeros(3) if offset is None else offset
        self._scene, self._key = scene, key
        self._lock = threading.RLock()
        self._root = scene.add_frame(f"/{key}", show_axes=False, position=self.offset)
        self._nodes: dict[str, Any] = {}
        self._bodies: list[Any] = []
        self._builders: dict[str, Callable[[str], None]] = {
            "people": self._add_people,
            "labels": self._add_labels,
            "rulers": self._add_rulers,
            "uncertainty": self._add_tubes,
            "skeletons": self._add_skeletons,
            "anchors": self._add_anchors,
            "frustum": self._add_frustum,
            "grid": self._add_grid,
        }
        self.show(shown)

    def show(self, shown: Shown) -> None:
        """Bring what is seen to ``shown``.

        Raises:
            InputError: a depth map that was not needed before cannot be read.
        """
        with self._lock:
            wanted = [str(layer) for layer in self._builders if layer in shown.layers]
            if "scene" in shown.layers and self.content.maps is not None:
                wanted.append(scene_key(self.content, shown))
            for name in wanted:
                if name not in self._nodes:
                    path = f"/{self._key}/{name}"
                    self._nodes[name] = self._scene.add_frame(path, show_axes=False)
                    if name in self._builders:
                        self._builders[name](path)
                    else:
                        self._add_surroundings(path, shown)
            for name, node in self._nodes.items():
                if node.visible != (name in wanted):
                    node.visible = name in wanted
            opacity = _SEE_THROUGH if "skeletons" in wanted else None
            for body in self._bodies:
                if body.opacity != opacity:
                    body.opacity = opacity

    def remove(self) -> None:
        """Take the result out of the browser."""
        with self._lock:
            self._root.remove()

    @property
    def layer_names(self) -> list[str]:
        """Layers made so far."""
        return sorted(self._nodes)

    def _add_surroundings(self, path: str, shown: Shown) -> None:
        content = self.content
        if shown.drawn == "points":
            cloud = content.points(shown.depth, shown.colours)
            self._scene.add_point_cloud(
                f"{path}/points",
                cloud.points.astype(np.float32),
                cloud.colors,
                point_size=cloud.size_m,
                precision="float32",  # half floats are 8 mm apart at ten metres
                point_shading="flat",
            )
            return
        mesh = content.mesh(shown.depth)
        if len(mesh.faces):
            data = mesh.glb(content.texture(shown.colours))
            self._scene.add_glb(f"{path}/mesh", data, cast_shadow=False, receive_shadow=False)

    def _add_people(self, path: str) -> None:
        colours = [shapes.color for shapes in self.content.people]
        self._bodies = self._add_surfaces(path, colours, self.content.drawn_bodies)

    def _add_labels(self, path: str) -> None:
        people = self.content.people
        for shapes in people:
            text = label_text(shapes, short=len(people) > _MOST_LONG_LABELS)
            self._scene.add_label(f"{path}/{shapes.person.id}", text, position=shapes.head, anchor="bottom-center")

    def _add_rulers(self, path: str) -> None:
        people = [shapes for shapes in self.content.people if shapes.ruler is not None]
        rulers = [shapes.ruler for shapes in people if shapes.ruler is not None]
        self._add_lines(f"{path}/staffs", [_STAFF] * len(rulers), [ruler.segments for ruler in rulers], 2.0)
        colours = [shapes.line_color for shapes in people]
        self._add_lines(f"{path}/doubts", colours, [ruler.doubt for ruler in rulers], 3.0)
        if len(self.content.people) > _MOST_LONG_LABELS:
            return
        for shapes, ruler in zip(people, rulers, strict=True):
            for text, place in ruler.numbers:
                self._scene.add_label(
                    f"{path}/{shapes.person.id}/{text.replace('.', '_')}",
                    text,
                    position=place,
                    font_size_mode="scene",
                    font_scene_height=0.07,
                    depth_test=True,
                    anchor="center-left",
                )

    def _add_tubes(self, path: str) -> None:
        people = [(shapes.line_color, shapes.tube.surface) for shapes in self.content.people if shapes.tube is not None]
        colours, surfaces = [colour for colour, _ in people], [surface for _, surface in people]
        self._add_surfaces(path, colours, surfaces, flat_shading=True, side="double")

    def _add_skeletons(self, path: str) -> None:
        people = self.content.people
        self._add_lines(path, [shapes.line_color for shapes in people], [shapes.skeleton for shapes in people], 4.0)

    def _add_anchors(self, path: str) -> None:
        if len(self.content.anchors):
            self._scene.add_point_cloud(
                f"{path}/points",
                self.content.anchors.astype(np.float32),
                _ANCHOR,
                point_size=0.012,
                precision="float32",
                point_shading="flat",
            )

    def _add_frustum(self, path: str) -> None:
        from metrichmsr.viewer.surroundings import SurroundingsMesh

        shape = self.content.frustum
        self._add_lines(f"{path}/edges", [_EDGE], [shape.lines], 2.0)
        if self.content.photo is not None:
            uv = np.array([(0, 0), (1, 0), (1, 1), (0, 1)], dtype=np.float64)
            picture = SurroundingsMesh(shape.corners, np.array([(0, 2, 1), (0, 3, 2)]), uv)
            data = picture.glb(_small(self.content.photo))
            self._scene.add_glb(f"{path}/picture", data, cast_shadow=False, receive_shadow=False)

    def _add_grid(self, path: str) -> None:
        self._scene.add_grid(
            f"{path}/ground",
            plane="xz",
            cell_size=1.0,
            cell_color=_GRID,
            section_size=5.0,
            section_color=_GRID_METRES,
            infinite_grid=True,
            fade_distance=40.0,
            shadow_opacity=0.0,
            position=(0.0, self.content.floor_y, 0.0),
        )

    def _add_surfaces(
        self, path: str, colours: Sequence[Colour], surfaces: Sequence[Triangles], **options: Any
    ) -> list[Any]:
        """Surfaces of several people, each in their colour."""
        nodes = []
        for colour, same in _by_colour(colours, surfaces):
            whole = Triangles.joined(same)
            if not len(whole.faces):
                continue
            middle = whole.vertices.mean(axis=0)
            node = self._scene.add_mesh_simple(
                f"{path}/{_name(colour)}",
                (whole.vertices - middle).astype(np.float32),
                whole.faces.astype(np.uint32),
                color=colour,
                position=middle,
                cast_shadow=False,
                receive_shadow=False,
                **options,
            )
            nodes.append(node)
        return nodes

    def _add_lines(
        self, path: str, colours: Sequence[Colour], lines: Sequence[Float[np.ndarray, "N 2 3"]], width_px: float
    ) -> None:
        """Lines of several people, each in their colour."""
        for colour, same in _by_colour(colours, lines):
            segments = np.concatenate(same).astype(np.float32)
            if len(segments):
                self._scene.add_line_segments(
                    f"{path}/{_name(colour)}", segments, colour, thickness=width_px, thickness_units="screen"
                )


def _by_colour(colours: Sequence[Colour], things: Sequence[Thing]) -> Iterator[tuple[Colour, list[Thing]]]:
    """Things of one colour together, so that a crowd takes as many draw calls as there are colours."""
    for colour in dict.fromkeys(colours):
        yield colour, [thing for one, thing in zip(colours, things, strict=True) if one == colour]


def _name(colour: Colour) -> str:
    return "_".join(map(str, colour))


def scene_key(content: ResultContent, shown: Shown) -> str:
    """Name of the node that holds the surroundings as they are to be seen."""
    assert content.maps is not None
    depth = shown.depth if content.maps.has_initial else "refined"
    return f"scene_{depth}_{shown.colours}_{shown.drawn}"


def label_text(shapes: PersonShapes, *, short: bool = False) -> str:
    """What hangs above a person."""
    if short:
        return str(shapes.person.id)
    return f"{shapes.person.id}: {shapes.height_text} tall, {shapes.distance_text} away"


def _small(photo: np.ndarray) -> np.ndarray:
    import cv2

    scale = min(1.0, _PICTURE_PX / max(photo.shape[:2]))
    return photo if scale == 1 else cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
