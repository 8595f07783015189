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
    eye, middle = content.eye, content.middle
    ahead = middle - eye
    distance = max(1.0, float(np.linalg.norm(ahead)))
    level = ahead - (ahead @ UP) * UP
    level = level / np.linalg.norm(level) if np.linalg.norm(level) > 0.05 * distance else np.array([0.0, 0.0, -1.0])
    right = np.cross(level, UP)
    back = max(1.0, 1.15 / aspect)
    look_at = eye + 0.72 * ahead
    position = look_at + back * distance * (0.42 * right - 0.82 * level) + back * 0.33 * distance * UP
    return Viewpoint(position, look_at)


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
    return Viewpoint(shapes.pelvis + reach * direction, shapes.pelvis)


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
