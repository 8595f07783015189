"""``overlay.png``: the meshes over the photo; front, side and top view on a metre grid, with the surroundings."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image, ImageDraw

from metrichmsr.export.overlay_meshes import blend_meshes, join_people
from metrichmsr.export.overlay_text import Box, Labels, draw_line, font, text_size, wrap
from metrichmsr.export.overlay_views import BACKGROUND, FRONT, SIDE, TOP, draw_view
from metrichmsr.export.palette import clay_color, person_color
from metrichmsr.export.quantities import quantity
from metrichmsr.geometry import scale_intrinsics
from metrichmsr.scene.outlines import Surroundings
from metrichmsr.structures import Person, Recovery

# Long side of the photo in the overlay: 12-megapixel photos stay quick, thumbnails become readable.
_LONGEST_PX = 1600
_SHORTEST_PX = 960

# A photo at least this high has the views in a column beside it, a lower one in a row below.
_COLUMN_FROM_PX = 840

# However narrow the photo, the sheet leaves its caption room.
_NARROWEST_PX = 480

_OPACITY = 0.85
_GAP = 6

# Points of the surroundings in the side and the top view.
_DOTS = 60_000

# More people than this get smaller labels.
_CROWD = 10


def draw_overlay(
    recovery: Recovery,
    surroundings: Surroundings | None = None,
    *,
    painted: UInt8[np.ndarray, "h w 3"] | None = None,
) -> UInt8[np.ndarray, "H W 3"]:
    """The picture that shows at a glance whether a recovery is right, RGB.

    The photo (its long side brought between 960 and 1600 pixels) with everybody's mesh, stature and distance; front,
    side and top view in the camera frame; a caption with the camera. Without people: the photo and the caption.
    ``surroundings`` of the recovery are found, and the photo is :func:`painted <paint_people>`, where neither is given.
    """
    photo = label_people(paint_people(recovery) if painted is None else painted, recovery)
    height, width = photo.shape[:2]
    views: list[tuple[Image.Image, tuple[int, int]]] = []
    if recovery.people:
        surroundings = surroundings or Surroundings.of(recovery)
        dots = None if surroundings is None else surroundings.points(_DOTS)
        if height >= _COLUMN_FROM_PX:
            across = round(min(max(0.42 * width, 460), 640))
            places = [
                (width + _GAP, round(i * (height + _GAP) / 3), across, round((height - 2 * _GAP) / 3)) for i in range(3)
            ]
        else:
            across = round((width - 2 * _GAP) / 3)
            places = [(round(i * (width + _GAP) / 3), height + _GAP, across, round(0.95 * across)) for i in range(3)]
        for view, (x, y, w, h) in zip((FRONT, SIDE, TOP), places, strict=True):
            views.append((draw_view(view, recovery.people, recovery.camera, w, h, dots=dots), (x, y)))
    right = max([width, _NARROWEST_PX] + [x + panel.width for panel, (x, _) in views])
    bottom = max([height] + [y + panel.height for panel, (_, y) in views])
    face = font(14)
    lines = wrap(_caption(recovery), face, right - 16)
    line_height = text_size("", face)[1] + 4
    sheet = Image.new("RGB", (right, bottom + line_height * len(lines) + 10), BACKGROUND)
    sheet.paste(Image.fromarray(photo), (0, 0))
    for panel, place in views:
        sheet.paste(panel, place)
    draw = ImageDraw.Draw(sheet)
    for i, line in enumerate(lines):
        draw_line(draw, (8, bottom + 6 + i * line_height), line, face, "#303236")
    return np.asarray(sheet)


def photo_size(width: int, height: int) -> tuple[int, int]:
    """Width and height in the overlay, pixels, of a photo of this size."""
    scale = min(max(max(height, width), _SHORTEST_PX), _LONGEST_PX) / max(height, width)
    return max(1, round(width * scale)), max(1, round(height * scale))


def paint_people(recovery: Recovery) -> UInt8[np.ndarray, "H W 3"]:
    """The photo of :func:`draw_overlay` with everybody's mesh, RGB, of :func:`photo_size`."""
    height, width = recovery.image.shape[:2]
    size = photo_size(width, height)
    method = cv2.INTER_AREA if size[0] < width else cv2.INTER_CUBIC
    photo = cv2.resize(np.ascontiguousarray(recovery.image), size, interpolation=method)
    people = _drawable(recovery)
    if people:
        K = scale_intrinsics(torch.tensor(recovery.camera.K), size[0] / width, size[1] / height)
        blend_meshes(photo, join_people(people), np.stack([clay_color(p.id) for p in people]), K, opacity=_OPACITY)
    return photo


def label_people(
    photo: UInt8[np.ndarray, "H W 3"], recovery: Recovery, *, size_px: int | None = None, ids_alone: bool = False
) -> UInt8[np.ndarray, "H W 3"]:
    """A copy of the photo, in any size, with everybody's id, stature and distance; where there is no room, the id.

    Args:
        photo: The whole photo, painted or not.
        recovery: What was recovered from it.
        size_px: Height of the letters; one that suits the photo's size if left out.
        ids_alone: Write nothing but ids.
    """
    height, width = photo.shape[:2]
    people = _drawable(recovery)
    K = recovery.camera.K * np.array([[width / recovery.camera.width], [height / recovery.camera.height], [1.0]])
    boxes = [_seen_box(person, K, (width, height)) for person in people]
    if size_px is None:
        size_px = 13 if len(people) > _CROWD else round(min(max(min(width, height) / 50, 13), 20))
    sheet = Image.fromarray(photo)
    heads = [(0.7 * x0 + 0.3 * x1, y0, 0.3 * x0 + 0.7 * x1, y0 + 0.18 * (y1 - y0)) for x0, y0, x1, y1 in boxes]
    labels = Labels(ImageDraw.Draw(sheet, "RGBA"), width, height, size_px=size_px, in_sight=heads)
    for person, box in zip(people, boxes, strict=True):
        height_text = f"{person.id}  {quantity(person.height_m, person.height_std_m)} tall"
        distance_text = f"{quantity(person.distance_m, person.distance_std_m)} away"
        texts = [(height_text, distance_text), (str(person.id),)]
        labels.add(box, person_color(person.id), texts[1:] if ids_alone else texts)
    return np.array(sheet)


def _drawable(recovery: Recovery) -> list[Person]:
    return [person for person in recovery.people if np.isfinite(person.vertices_m).all()]


def _seen_box(person: Person, K: np.ndarray, size: tuple[int, int]) -> Box:
    """Where the mesh appears in the picture, cut to it."""
    front = person.vertices_m[person.vertices_m[:, 2] > 0.05]
    if not len(front):
        return 0.0, 0.0, 1.0, 1.0
    pixels = front @ K.T
    pixels = np.clip(pixels[:, :2] / pixels[:, 2:], 0, size)
    return (*pixels.min(0).tolist(), *pixels.max(0).tolist())


def _caption(recovery: Recovery) -> str:
    camera = recovery.camera
    count = len(recovery.people)
    people = "nobody found" if not count else "1 person" if count == 1 else f"{count} people"
    focal = f"{camera.focal_px:.0f}" + (f" ± {camera.focal_std_px:.0f}" if camera.focal_std_px else "")
    parts = [
        f"{recovery.image_path.name}: {people}",
        f"focal length {focal} px ({camera.source}), {camera.fov_x_deg:.0f}° × {camera.fov_y_deg:.0f}°".replace(
            "×", "x"
        ),
        "camera frame (gravity unknown), metres",
    ]
    scene = recovery.scene
    if scene is not None:
        ground = "" if scene.ground_offset_m is None else f", camera {scene.ground_offset_m:.2f} m above the ground"
        parts[2] = f"camera frame, metres; depth by {scene.source}{ground}"
    return "  |  ".join(parts if count else parts[:2])
