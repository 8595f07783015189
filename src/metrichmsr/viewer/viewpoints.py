"""Where to look from: an overview, the photo's own place, from above, at a person. World frame: y up, metres."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from metrichmsr.viewer.content import PersonShapes, ResultContent
from metrichmsr.viewer.shapes import UP

if TYPE_CHECKING:
    import viser

FOV = math.radians(50.0)
"""Vertical field of view of the browser's camera."""
# Of half the window.
_MARGIN = 0.86
_PHONE, _RAISED, _PHONE_MARGIN = 0.65, 0.55, 0.36
_STEPS, _STEP_S = 18, 0.022


@dataclass(frozen=True, eq=False)
class Viewpoint:
    """A place of the browser's camera."""

    position: Float[np.ndarray, "3"]
    look_at: Float[np.ndarray, "3"]
    fov: float = FOV
    """Vertical, radians."""
    up: tuple[float, float, float] = (0.0, 1.0, 0.0)


def overview(content: ResultContent, aspect: float = 1.6) -> Viewpoint:
    """From beside and above the camera, so that it, its picture and the people are seen.

    Args:
        content: the result.
        aspect: width over height of the window; in a narrow one the camera stands farther back.
    """
    ahead = content.middle - content.eye
    level = ahead - (ahead @ UP) * UP
    length = float(np.linalg.norm(level))
    level = level / length if length > 0.05 * np.linalg.norm(ahead) else np.array([0.0, 0.0, -1.0])
    forward = 0.84 * level - 0.43 * np.cross(level, UP) - 0.33 * UP
    places = [content.eye, content.middle, *content.frustum.corners]
    for shapes in content.people:
        places += [shapes.head, shapes.pelvis] if len(shapes.vertices) == 0 else [shapes.head, *_ends(shapes.vertices)]
    return _all_in_sight(np.array(places), forward, aspect)


def through_camera(content: ResultContent, aspect: float) -> Viewpoint:
    """From where the photo was taken, with all of it in the window."""
    camera, M = content.camera, content.world_from_camera
    tall, wide = math.tan(math.radians(camera.fov_y_deg) / 2), math.tan(math.radians(camera.fov_x_deg) / 2)
    fov = 2 * math.atan(max(tall, wide / aspect))
    ahead = max(1.0, float((content.middle - content.eye) @ M[:3, 2]))
    up = -M[:3, 1]
    return Viewpoint(content.eye, content.eye + ahead * M[:3, 2], fov, (float(up[0]), float(up[1]), float(up[2])))


def from_above(content: ResultContent, aspect: float) -> Viewpoint:
    """A map: straight down, the camera at the lower edge."""
    middle = 0.5 * (content.eye + content.middle)
    half = 0.75 * max(2.0, float(np.linalg.norm(content.middle - content.eye)))
    height = half / math.tan(FOV / 2) / min(1.0, aspect)
    # Not quite straight, or the orbit's axis and the line of sight would be one.
    return Viewpoint(middle + np.array([0.0, height, 0.02 * height]), middle)


def at_person(content: ResultContent, shapes: PersonShapes, aspect: float) -> Viewpoint:
    """Close to a person, from the side of the camera and a little aside."""
    toward = content.eye - shapes.pelvis
    toward[1] = 0
    length = np.linalg.norm(toward)
    toward = toward / length if length > 1e-6 else np.array([0.0, 0.0, 1.0])
    aside = np.cross(UP, toward)
    size = shapes.person.height_m if math.isfinite(shapes.person.height_m) else 1.7
    reach = 1.5 * size * max(1.0, 0.8 / aspect)
    direction = 0.9 * toward + 0.4 * aside + 0.18 * UP
    return _above_the_sheet(Viewpoint(shapes.pelvis + reach * direction, shapes.pelvis), aspect)


def _all_in_sight(places: Float[np.ndarray, "N 3"], forward: Float[np.ndarray, "3"], aspect: float) -> Viewpoint:
    """As near as the places allow, looking at their middle in a given direction."""
    places = places[np.isfinite(places).all(axis=1)]
    look_at = 0.5 * (places.min(axis=0) + places.max(axis=0))
    forward = forward / np.linalg.norm(forward)
    right = np.cross(forward, UP)
    right /= np.linalg.norm(right)
    offset = places - look_at
    tall = _MARGIN * math.tan(FOV / 2)
    high = tall if aspect >= _PHONE else _PHONE_MARGIN / _MARGIN * tall
    aside = np.maximum(np.abs(offset @ right) / (tall * aspect), np.abs(offset @ np.cross(right, forward)) / high)
    distance = max(1.0, float((aside - offset @ forward).max()))
    return _above_the_sheet(Viewpoint(look_at - distance * forward, look_at), aspect)


def _above_the_sheet(view: Viewpoint, aspect: float) -> Viewpoint:
    """In a window as narrow as a phone's the panel is a sheet over the lower part: what matters goes to the upper."""
    if aspect >= _PHONE:
        return view
    ray = view.look_at - view.position
    distance = float(np.linalg.norm(ray))
    right = np.cross(ray, UP)
    upward = np.cross(right, ray)
    lower = _RAISED * math.tan(view.fov / 2) * distance * upward / np.linalg.norm(upward)
    return Viewpoint(view.position - lower, view.look_at - lower, view.fov, view.up)


def _ends(vertices: Float[np.ndarray, "V 3"]) -> tuple[Float[np.ndarray, "3"], Float[np.ndarray, "3"]]:
    return vertices.min(axis=0), vertices.max(axis=0)


def set_viewpoint(client: viser.ClientHandle, view: Viewpoint) -> None:
    """Put a browser's camera there at once."""
    with client.atomic():
        client.camera.up_direction = view.up
        client.camera.position = view.position
        client.camera.look_at = view.look_at
        client.camera.fov = view.fov


def fly(client: viser.ClientHandle, view: Viewpoint) -> None:
    """Take a browser's camera there within half a second."""
    camera = client.camera
    start, start_at, start_fov = np.array(camera.position), np.array(camera.look_at), float(camera.fov)
    for step in range(1, _STEPS):
        share = step / _STEPS
        share = share * share * (3 - 2 * share)
        set_viewpoint(
            client,
            Viewpoint(
                start + share * (view.position - start),
                start_at + share * (view.look_at - start_at),
                start_fov + share * (view.fov - start_fov),
            ),
        )
        time.sleep(_STEP_S)
    set_viewpoint(client, view)
