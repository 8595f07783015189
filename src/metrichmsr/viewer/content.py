"""What a result looks like, in the world frame and without any browser; ``layers.py`` shows it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int, UInt8

from metrichmsr.export.frames import GLTF_FROM_CAMERA
from metrichmsr.export.palette import clay_color, person_color
from metrichmsr.export.quantities import quantity
from metrichmsr.structures import Camera, Person
from metrichmsr.viewer.depth_maps import DepthMaps, open_depth_maps
from metrichmsr.viewer.lighter_bodies import lighter_bodies
from metrichmsr.viewer.measure import Doubts
from metrichmsr.viewer.photo import find_photo
from metrichmsr.viewer.picking import GroundTarget, MeshTarget, PointsTarget, Target
from metrichmsr.viewer.result_folder import ResultFolder
from metrichmsr.viewer.shapes import (
    Frustum,
    Ruler,
    Triangles,
    Tube,
    distance_tube,
    frustum,
    ruler,
    skeleton_lines,
    transform,
)
from metrichmsr.viewer.surroundings import (
    Colours,
    SurroundingsMesh,
    SurroundingsPoints,
    Which,
    anchor_points,
    surroundings_mesh,
    surroundings_points,
    texture,
)

MAX_TRIANGLES = 300_000
MAX_POINTS = 400_000
# Ten whole bodies of Anny.
MAX_BODY_TRIANGLES = 300_000

# Rulers stand so far beside the body.
_BESIDE_M = 0.12
# The picture hangs before its camera at this share of the way to the nearest person, within limits.
_PICTURE_SHARE, _PICTURE_M = 0.2, (0.25, 1.2)
_FAR_WITHOUT_PEOPLE_M = 4.0


@dataclass(frozen=True)
class Detail:
    """How much of a scene is shown."""

    scene: bool = True
    max_triangles: int = MAX_TRIANGLES
    max_points: int = MAX_POINTS
    max_body_triangles: int = MAX_BODY_TRIANGLES
    """Of all bodies together; of more, everybody is drawn with fewer. Clicks meet the whole bodies all the same."""


@dataclass(frozen=True, eq=False)
class PersonShapes:
    """One person; world frame, metres."""

    person: Person
    vertices: Float[np.ndarray, "V 3"]
    faces: Int[np.ndarray, "F 3"]
    pelvis: Float[np.ndarray, "3"]
    color: tuple[int, int, int]
    """As the overlay paints meshes, sRGB."""
    line_color: tuple[int, int, int]
    """As the overlay draws marks, sRGB."""
    skeleton: Float[np.ndarray, "N 2 3"]
    ruler: Ruler | None
    tube: Tube | None
    head: Float[np.ndarray, "3"]
    """Above the highest point: where the label hangs."""

    @property
    def height_text(self) -> str:
        """Stature with its sigma."""
        return quantity(self.person.height_m, self.person.height_std_m)

    @property
    def distance_text(self) -> str:
        """Distance with its sigma."""
        return quantity(self.person.distance_m, self.person.distance_std_m)


class ResultContent:
    """Everything to show of one result; what is large is made when it is first asked for.

    Raises:
        InputError: a file of the result is missing or damaged.
    """

    def __init__(self, result: ResultFolder, detail: Detail | None = None) -> None:
        self.result = result
        self.detail = detail or Detail()
        self.camera: Camera = result.camera
        scene = result.document["scene"]
        world = None if scene is None else scene.get("world_from_camera")
        self.knows_up = world is not None
        """Whether the world frame is gravity-aligned with the ground at y = 0, or the camera's own, y up."""
        self.world_from_camera: Float[np.ndarray, "4 4"] = np.eye(4)
        if world is None:
            self.world_from_camera[:3, :3] = GLTF_FROM_CAMERA
        else:
            self.world_from_camera = np.array(world, dtype=np.float64)
        self.people: tuple[PersonShapes, ...] = self._people(result.people())
        pixels = max(2 * self.detail.max_triangles, self.detail.max_points)
        self.maps: DepthMaps | None = open_depth_maps(result, pixels) if self.detail.scene else None
        self._meshes: dict[Which, SurroundingsMesh] = {}
        self._points: dict[tuple[Which, Colours], SurroundingsPoints] = {}

    @property
    def name(self) -> str:
        """Name of the result's folder."""
        return self.result.name

    @cached_property
    def photo(self) -> UInt8[np.ndarray, "h w 3"] | None:
        """The picture, where it is to be had."""
        return find_photo(self.result)

    @property
    def eye(self) -> Float[np.ndarray, "3"]:
        """Where the camera stands."""
        return self.world_from_camera[:3, 3]

    @cached_property
    def floor_y(self) -> float:
        """Height of the grid: the ground, or the lowest point of anybody where there is none."""
        if self.knows_up:
            return 0.0
        lowest = [float(shapes.vertices[:, 1].min()) for shapes in self.people if len(shapes.vertices)]
        return min(lowest, default=-1.5)

    @cached_property
    def middle(self) -> Float[np.ndarray, "3"]:
        """What there is to look at: the middle of the people, or of the scene, or a place before the camera."""
        places = np.array([shapes.pelvis for shapes in self.people if np.isfinite(shapes.pelvis).all()])
        if len(places):
            return 0.5 * (places.min(axis=0) + places.max(axis=0))
        ahead = _FAR_WITHOUT_PEOPLE_M
        if self.maps is not None and np.isfinite(self.maps.depth_m).any():
            ahead = float(np.nanmedian(self.maps.depth_m))
        return transform(self.world_from_camera, np.array([[0.0, 0.0, ahead]]))[0]

    @cached_property
    def frustum(self) -> Frustum:
        """The camera with its picture."""
        distances = [s.person.translation_m[2] for s in self.people if np.isfinite(s.person.translation_m[2])]
        share = _PICTURE_SHARE * float(min(distances, default=_FAR_WITHOUT_PEOPLE_M))
        return frustum(self.camera, self.world_from_camera, float(np.clip(share, *_PICTURE_M)))

    @cached_property
    def doubts(self) -> Doubts:
        """What the result says of how far it may be off."""
        scene = self.result.document["scene"]
        residuals = None if scene is None else scene.get("residuals")
        return Doubts.of(
            [shapes.person for shapes in self.people],
            self.camera,
            residual=None if residuals is None else residuals["refined"],
            scaled_by_people=scene is None or scene["refined"],
        )

    def mesh(self, which: Which) -> SurroundingsMesh:
        """The surroundings as a mesh."""
        assert self.maps is not None
        if which not in self._meshes:
            self._meshes[which] = surroundings_mesh(self.maps, which, self.world_from_camera, self.detail.max_triangles)
        return self._meshes[which]

    def points(self, which: Which, colours: Colours) -> SurroundingsPoints:
        """The surroundings as points."""
        assert self.maps is not None
        if (which, colours) not in self._points:
            self._points[which, colours] = surroundings_points(
                self.maps, which, self.world_from_camera, self.detail.max_points, self.texture(colours)
            )
        return self._points[which, colours]

    def texture(self, colours: Colours) -> UInt8[np.ndarray, "h w 3"]:
        """What the surroundings are painted with."""
        assert self.maps is not None
        return texture(self.maps, colours, self.photo)

    @cached_property
    def anchors(self) -> Float[np.ndarray, "N 3"]:
        """Points of the bodies that the scene was drawn to."""
        return np.zeros((0, 3)) if self.maps is None else anchor_points(self.maps, self.world_from_camera)

    @cached_property
    def drawn_bodies(self) -> tuple[Triangles, ...]:
        """Everybody's body as it is drawn, in the order of ``people``; without triangles where there is no mesh."""
        bodies = [Triangles(shapes.vertices, shapes.faces) for shapes in self.people]
        return tuple(lighter_bodies(bodies, self.detail.max_body_triangles))

    @cached_property
    def people_targets(self) -> list[Target]:
        """The bodies, for clicks."""
        return [
            MeshTarget(shapes.vertices, shapes.faces, "person", self.name, shapes.person.id)
            for shapes in self.people
            if len(shapes.faces)
        ]

    def scene_target(self, which: Which, *, as_points: bool) -> Target | None:
        """The surroundings as they are shown, for clicks."""
        if self.maps is None:
            return None
        if as_points:
            cloud = self.points(which, "photo")
            return PointsTarget(cloud.points, cloud.size_m, self.name)
        mesh = self.mesh(which)
        return MeshTarget(mesh.vertices, mesh.faces, "scene", self.name)

    @cached_property
    def ground_target(self) -> GroundTarget:
        """The plane of the grid, for clicks."""
        return GroundTarget(self.floor_y, self.name)

    @property
    def warnings(self) -> list[str]:
        """What recovery warned of, and what is missing here."""
        warnings = list(self.result.document["warnings"])
        scene = self.result.document["scene"]
        if self.photo is None:
            warnings.append(f"The photo is not found ({self.result.document['image']['path']}); the scene is grey.")
        if self.people and not any(len(shapes.vertices) for shapes in self.people):
            warnings.append("The result was saved without meshes (--save ply): skeletons only.")
        if scene is not None and scene["depth"] is None:
            warnings.append("The result was saved without its depth (--save depth): people only.")
        if not self.knows_up:
            warnings.append("Nothing tells which way is up: axes are the camera's, the grid lies at the lowest foot.")
        return warnings

    def _people(self, people: Sequence[Person]) -> tuple[PersonShapes, ...]:
        right = self.world_from_camera[:3, 0].copy()
        right[1] = 0
        # A camera that is held on its side has its right up or down.
        across = right / np.linalg.norm(right) if np.linalg.norm(right) > 1e-3 else np.array([1.0, 0.0, 0.0])
        return tuple(self._shapes(person, across) for person in people)

    def _shapes(self, person: Person, across: np.ndarray) -> PersonShapes:
        vertices = transform(self.world_from_camera, person.vertices_m)
        keypoints = transform(self.world_from_camera, person.keypoints_3d_m)
        pelvis = transform(self.world_from_camera, person.translation_m[None])[0]
        body = vertices if len(vertices) else keypoints[np.isfinite(keypoints).all(axis=1)]
        body = body if len(body) else pelvis[None]
        foot = pelvis + across * (float(((body - pelvis) @ across).max()) + _BESIDE_M)
        foot[1] = body[:, 1].min()
        head = body[np.argmax(body[:, 1])] + np.array([0.0, 0.12, 0.0])
        has_height = math.isfinite(person.height_m) and np.isfinite(foot).all()
        return PersonShapes(
            person=person,
            vertices=vertices,
            faces=person.faces,
            pelvis=pelvis,
            color=_bytes(clay_color(person.id)),
            line_color=person_color(person.id),
            skeleton=skeleton_lines(keypoints),
            ruler=ruler(foot, across, person.height_m, person.height_std_m) if has_height else None,
            tube=distance_tube(self.eye, pelvis, person.distance_std_m),
            head=head,
        )


def _bytes(color: Float[np.ndarray, "3"]) -> tuple[int, int, int]:
    red, green, blue = (round(255 * float(value)) for value in color)
    return red, green, blue
