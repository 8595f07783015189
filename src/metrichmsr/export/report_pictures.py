"""The report's pictures, as data URIs: photo with people, views, depth before and after."""

from __future__ import annotations

import base64
import io
import math
from dataclasses import dataclass
from pathlib import PurePath

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image

from metrichmsr.export.depth_files import depth_colors
from metrichmsr.export.overlay import label_people, paint_people
from metrichmsr.export.overlay_views import SIDE, TOP, View, draw_view
from metrichmsr.scene.outlines import Surroundings
from metrichmsr.structures import Recovery, Scene

# Narrow screens get a photo of their own: a label of the large one would be 4 px high on a phone.
_NARROW_PX, _NARROW_TEXT_PX = 800, 22
# So many labels leave something of the people to be seen there; of more, the ids must do.
_NARROW_LABELS = 3
# Size of the photo in letters' heights.
_LETTERS = 60
_VIEW_PX, _VIEW_ZOOM = (1080, 840), 2.2
_DEPTH_PX = 800
_DOTS = 60_000

# Bytes of the largest picture. All together stay well below 3 MB, base64 included.
_MOST_BYTES = 1_000_000
_QUALITIES = (86, 78, 68, 55, 40, 25)

_UNKNOWN = (225, 225, 222)
_BAR_STOPS = 16
# Of the bar's length: how near its ends a label may stand, how near another; how many are enough; and the rungs.
_BAR_END, _APART, _ENOUGH_TICKS = 0.03, 0.13, 3
_DIGITS = ((1,), (1, 3), (1, 2, 5), (1, 2, 3, 5, 7), tuple(range(1, 10)))
_STEP_DIGITS = 0.5


@dataclass(frozen=True)
class Picture:
    """A picture in the page."""

    uri: str
    """``data:image/jpeg;base64,…``"""
    width: int
    height: int
    """Its own size, pixels."""
    alt: str
    """What it shows, for those who do not see it."""
    caption: str = ""


@dataclass(frozen=True)
class Tick:
    """A mark of the colour bar."""

    share: float
    """Where: 0 at its near end, 1 at its far one."""
    text: str


@dataclass(frozen=True)
class DepthPictures:
    """Depth in colours, near warm and far cold, in the same colours for all pictures."""

    pictures: tuple[Picture, ...]
    """Before and after; one where nothing was changed."""
    ticks: tuple[Tick, ...]
    """Empty where no depth in metres is known."""
    stops: tuple[str, ...]
    """Colours of the bar at equal steps, ``#rrggbb``, near to far."""


@dataclass(frozen=True)
class ReportPictures:
    """All pictures of a report; what there is none of is None or empty."""

    photo: Picture | None = None
    narrow: Picture | None = None
    """The photo again, for narrow screens."""
    views: tuple[Picture, ...] = ()
    depth: DepthPictures | None = None


def report_pictures(
    recovery: Recovery,
    surroundings: Surroundings | None = None,
    *,
    painted: UInt8[np.ndarray, "h w 3"] | None = None,
) -> ReportPictures:
    """Draw them.

    Args:
        recovery: What is reported.
        surroundings: Of it, where they are there already.
        painted: The photo with meshes (:func:`~metrichmsr.export.overlay.paint_people`), where it is there already.
    """
    painted = paint_people(recovery) if painted is None else painted
    people = recovery.people
    name = recovery.image_path.name
    shown = ", ".join(f"person {p.id}: {p.height_m:.2f} m tall, {p.distance_m:.2f} m away" for p in people)
    alt = f"The photo {name}" + (f" with the body meshes found. {shown}." if people else ". No person was found in it.")
    scale = min(1.0, _NARROW_PX / max(painted.shape[:2]))
    size = max(1, round(painted.shape[1] * scale)), max(1, round(painted.shape[0] * scale))
    small = cv2.resize(painted, size, interpolation=cv2.INTER_AREA)
    small = label_people(small, recovery, size_px=_NARROW_TEXT_PX, ids_alone=len(people) > _NARROW_LABELS)
    views: tuple[Picture, ...] = ()
    if people:
        surroundings = surroundings or Surroundings.of(recovery)
        dots = None if surroundings is None else surroundings.points(_DOTS)
        views = tuple(
            jpeg_picture(
                np.asarray(draw_view(view, people, recovery.camera, *_VIEW_PX, dots=dots, zoom=_VIEW_ZOOM)),
                alt=f"{_VIEW_WORDS[view][0]}, on a grid in metres. {_places(recovery, view)}",
                caption=_VIEW_WORDS[view][1],
            )
            for view in (SIDE, TOP)
        )
    return ReportPictures(
        photo=jpeg_picture(label_people(painted, recovery, size_px=_label_px(painted, len(people))), alt=alt),
        narrow=jpeg_picture(small, alt=alt),
        views=views,
        depth=None if recovery.scene is None else depth_pictures(recovery.scene, name),
    )


def _label_px(photo: UInt8[np.ndarray, "h w 3"], people: int) -> int | None:
    """Letters that can be read in the page's width, and on paper, while there is room for them."""
    return max(13, round(max(photo.shape[:2]) / _LETTERS)) if people <= _NARROW_LABELS else None


_VIEW_WORDS = {
    SIDE: ("The people seen from the side", "From the side: the camera is at 0, looking right. Numbers are metres."),
    TOP: ("The people seen from above", "From above: the camera is at 0, looking up the page. Numbers are metres."),
}


def depth_pictures(scene: Scene, name: str) -> DepthPictures | None:
    """Depth before and after refinement in one colour scale, people's outlines in it; None where none is known.

    Depth of a source without metres is coloured by its own range: it shares the order of near and far alone.
    """
    metric = scene.residuals is None or math.isfinite(scene.residuals.initial)
    before, after = scene.initial_depth_m, scene.depth_m
    if scene.refinement == "none" and not scene.refined:
        before = None if _known(after).any() else before
        metric = metric and before is None
    maps = [(depth, of) for depth, of in ((before, "before"), (after, "after")) if depth is not None]
    maps = [(_reduced(depth), of) for depth, of in maps if _known(depth).any()]
    if not maps:
        return None
    in_metres = [depth for depth, of in maps if of == "after" or metric]
    ends = _log_range(in_metres) if in_metres else None
    pictures = []
    for depth, of in maps:
        own = ends if ends is not None and (of == "after" or metric) else None
        drawn = _draw(depth, _log_range([depth]) if own is None else own)
        if scene.anchor_m is not None:
            _draw_outlines(drawn, np.isfinite(_reduced(scene.anchor_m)))
        pictures.append(_depth_picture(drawn, depth, of, name=name, metres=own is not None, alone=len(maps) == 1))
    stops = depth_colors(np.linspace(0, 1, _BAR_STOPS))
    return DepthPictures(
        tuple(pictures),
        () if ends is None else _ticks(*ends),
        tuple("#{:02x}{:02x}{:02x}".format(*color) for color in stops.tolist()),
    )


def jpeg_picture(picture: UInt8[np.ndarray, "H W 3"], *, alt: str, caption: str = "") -> Picture:
    """A picture as JPEG of at most a megabyte, in full colour resolution, for thin coloured lines."""
    data = b""
    for quality in _QUALITIES:
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "JPEG", quality=quality, subsampling=0 if quality > 60 else 2)
        data = buffer.getvalue()
        if len(data) <= _MOST_BYTES:
            break
    height, width = picture.shape[:2]
    return Picture(f"data:image/jpeg;base64,{base64.b64encode(data).decode('ascii')}", width, height, alt, caption)


def photo_name(path: str) -> str:
    """Name of the photo of a result, whichever system it was written on."""
    return PurePath(path.replace("\\", "/")).name or path


def _places(recovery: Recovery, view: View) -> str:
    parts = []
    for person in recovery.people:
        x, _, z = person.translation_m
        side = "" if view is SIDE else f", {abs(x):.1f} m to the {'right' if x >= 0 else 'left'}"
        parts.append(f"person {person.id}: {z:.1f} m ahead{side}")
    return "; ".join(parts).capitalize() + "."


def _depth_picture(
    drawn: UInt8[np.ndarray, "h w 3"], depth: Float[np.ndarray, "h w"], of: str, *, name: str, metres: bool, alone: bool
) -> Picture:
    when = "as its source gave it" if alone else f"{of} people corrected it"
    if not metres:
        extent, caption = "in the source's own unit, which is not metres", "in the source's own unit, no metres"
    else:
        near, far = (math.exp(end) for end in _log_range([depth]))
        extent, caption = f"from {near:.1f} to {far:.1f} m", f"{near:.1f} to {far:.1f} m"
    title = "As its source gave it" if alone else "Before" if of == "before" else "After"
    return jpeg_picture(drawn, alt=f"Depth of {name} {when}, {extent}, in colours.", caption=f"{title}: {caption}")


def _known(depth: Float[np.ndarray, "H W"]) -> Bool[np.ndarray, "H W"]:
    return np.isfinite(depth) & (depth > 0)


def _reduced(depth: Float[np.ndarray, "H W"]) -> Float[np.ndarray, "h w"]:
    height, width = depth.shape
    scale = min(1.0, _DEPTH_PX / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(np.asarray(depth, np.float32), size, interpolation=cv2.INTER_NEAREST)


def _log_range(maps: list[Float[np.ndarray, "h w"]]) -> tuple[float, float]:
    """Nearest and farthest depth worth a colour, natural logarithms: 1st and 99th percentile of all maps."""
    values = np.concatenate([np.log(depth[_known(depth)]) for depth in maps])
    low, high = np.percentile(values, [1, 99])
    return float(low), float(max(high, low + 0.05))


def _draw(depth: Float[np.ndarray, "h w"], ends: tuple[float, float]) -> UInt8[np.ndarray, "h w 3"]:
    picture = np.full((*depth.shape, 3), _UNKNOWN, np.uint8)
    known = _known(depth)
    picture[known] = depth_colors((np.log(depth[known]) - ends[0]) / (ends[1] - ends[0]))
    return picture


def _draw_outlines(picture: UInt8[np.ndarray, "h w 3"], mask: Bool[np.ndarray, "h w"]) -> None:
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    for color, width in (((0, 0, 0), 4), ((255, 255, 255), 2)):
        cv2.drawContours(picture, contours, -1, color, width, cv2.LINE_AA)


def _ticks(low: float, high: float) -> tuple[Tick, ...]:
    """Round depths between the ends (logarithms), far enough apart to stand side by side on a phone."""
    near, far = math.exp(low), math.exp(high)
    decades = range(math.floor(math.log10(near)), math.ceil(math.log10(far)) + 1)
    ladders = [[digit * 10.0**decade for decade in decades for digit in digits] for digits in _DIGITS]
    # Where far is hardly more than near no such ladder has rungs enough.
    for step in (_STEP_DIGITS * 10.0**decade for decade in range(decades[0], decades[0] - 4, -1)):
        ladders += [[step * n for n in range(math.ceil(near / step), math.floor(far / step) + 1)]]
    best: list[Tick] = []
    for ladder in ladders:
        ticks: list[Tick] = []
        for value in ladder:
            share = (math.log(value) - low) / (high - low)
            if _BAR_END <= share <= 1 - _BAR_END and (not ticks or share - ticks[-1].share >= _APART):
                ticks.append(Tick(share, f"{value:.4g} m"))
        if len(ticks) > len(best):
            best = ticks
        if len(best) >= _ENOUGH_TICKS:
            break
    return tuple(best)
