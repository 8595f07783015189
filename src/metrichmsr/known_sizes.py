"""What the user knows of sizes: statures (``--height``), a length in the picture (``--length``). They fix the scale."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from metrichmsr.errors import UsageError

if TYPE_CHECKING:
    from metrichmsr.hmr.stature import Who
    from metrichmsr.structures import Camera

_SIZES_M = 0.1, 3.5
"""Least and largest side that the box of a person has: from a face alone to raised arms, and some more."""

_STATURES_M = 0.4, 2.2
"""Statures beyond which a length is rather wrong."""
_REACHED_M = 0.02
_RIGHT_UNITS = "are its ends in pixels of the upright picture, and its length in metres?"


def parse_heights(text: str | None) -> float | dict[int, float] | None:
    """Read ``--height``: one number in metres, or JSON (text or file) of metres by person id.

    Raises:
        UsageError: it is none of these, or a height is not that of a human (0.3 to 2.7 m).
    """
    if text is None:
        return None
    try:
        height_m = float(text)
    except ValueError:
        pass
    else:
        return _plausible_height(height_m)
    path = Path(text)
    try:
        content = json.loads(path.read_text() if not text.lstrip().startswith("{") and path.is_file() else text)
        heights = {int(person): _plausible_height(float(value)) for person, value in content.items()}
    except (ValueError, TypeError, AttributeError, OSError) as error:
        raise UsageError(f'--height {text}: neither metres nor a JSON like {{"0": 1.82}} by person id') from error
    if any(person < 0 for person in heights):
        raise UsageError(f"--height {text}: person ids start at 0")
    return heights


def _plausible_height(height_m: float) -> float:
    if not 0.3 <= height_m <= 2.7:
        raise UsageError(f"--height: {height_m:g} is no human stature in metres (0.3 to 2.7)")
    return height_m


def check_heights(heights: float | dict[int, float] | None, who: Who) -> None:
    """Refuse known statures that those who are said to be in the picture (``--people``) do not have.

    Raises:
        UsageError: an adult is shorter, or a child taller, than what parts the two.
    """
    if heights is None or who == "anybody":
        return
    from metrichmsr.hmr.stature_grid import GROWN_UP_M

    for height in heights.values() if isinstance(heights, dict) else [heights]:
        if (height >= GROWN_UP_M) != (who == "adults"):
            raise UsageError(
                f"--people {who} contradicts --height {height:g}: adults are {GROWN_UP_M:g} m and taller here, "
                "children shorter; leave one of the two out"
            )


def known_heights(heights: float | dict[int, float] | None, n: int, warnings: list[str]) -> Float[np.ndarray, "N"]:
    """Statures of N people in metres, NaN where they are not known.

    Args:
        heights: of :func:`parse_heights`.
        n: how many people were found.
        warnings: where to say who a stature was taken for, and who is not there.
    """
    known = np.full(n, np.nan)
    if isinstance(heights, float):
        known[:] = heights
        if n > 1:
            warnings.append(f"--height {heights:g} was taken for all {n} people; give a JSON by id to tell them apart")
    elif isinstance(heights, dict):
        for person, height in heights.items():
            if person < n:
                known[person] = height
            else:
                warnings.append(f"--height names person {person}, but only {n} were found")
    return known


def known_depths(
    length: tuple[float, float, float, float, float] | None,
    boxes_xyxy: Float[np.ndarray, "N 4"],
    camera: Camera,
    heights_m: Float[np.ndarray, "N"],
    warnings: list[str],
) -> Float[np.ndarray, "N"]:
    """z-depths of N people in metres: of the one nearest to a known length focal · metres / pixels, else NaN.

    Args:
        length: ends in pixels (x0, y0, x1, y1) and metres, upright at the distance of the person nearest to it.
        boxes_xyxy: of the people, pixels.
        camera: of the picture.
        heights_m: statures that are known, NaN elsewhere; who has one needs no length.
        warnings: where to say whose distance it fixes, and where that makes no sense.

    Raises:
        UsageError: both ends are the same pixel.
    """
    known = np.full(len(boxes_xyxy), np.nan)
    if length is None or not len(known):
        return known
    u0, v0, u1, v1, metres = length
    K, width, height = camera.K, camera.width, camera.height
    if not (min(u0, u1) >= 0 and max(u0, u1) <= width and min(v0, v1) >= 0 and max(v0, v1) <= height):
        warnings.append(f"--length is not used: an end lies outside this picture ({width}×{height})")
        return known
    ends = np.array([[u0, v0, 1.0], [u1, v1, 1.0]]) @ np.linalg.inv(K).T
    span = float(np.linalg.norm(ends[1, :2] - ends[0, :2]))
    if span == 0:
        raise UsageError("--length: its two ends are the same pixel")
    middle = np.array([(u0 + u1) / 2, (v0 + v1) / 2])
    gap = np.maximum(np.maximum(boxes_xyxy[:, :2] - middle, middle - boxes_xyxy[:, 2:]), 0)
    nearest = int(np.linalg.norm(gap, axis=1).argmin())
    if np.isfinite(heights_m[nearest]):
        warnings.append(f"--length is not used: it lies at person {nearest}, whose --height is known")
        return known
    known[nearest] = metres / span
    warnings.append(f"the known length fixes the distance of person {nearest}")
    x0, y0, x1, y1 = boxes_xyxy[nearest]
    size = float(max((x1 - x0) / K[0, 0], (y1 - y0) / K[1, 1]) * known[nearest])
    if not _SIZES_M[0] < size < _SIZES_M[1]:
        warnings.append(
            f"implausible --length: it makes what is seen of person {nearest} {size:.2f} m large; {_RIGHT_UNITS}"
        )
    return known


def beyond_reach(
    height_m: Float[np.ndarray, "N"], heights_m: Float[np.ndarray, "N"], depths_m: Float[np.ndarray, "N"]
) -> list[str]:
    """What to say of sizes that no body was made for.

    Args:
        height_m: statures of the bodies.
        heights_m: statures that are known, NaN elsewhere.
        depths_m: z-depths that are known, NaN elsewhere.
    """
    lines = [
        f"person {i} is {height_m[i]:.2f} m tall, not {heights_m[i]:g} m as --height has it: the body model ends there"
        for i in np.flatnonzero(np.abs(height_m - heights_m) > _REACHED_M)
    ]
    low, high = _STATURES_M
    lines += [
        f"implausible --length: at its distance person {i} would have to be {height_m[i]:.2f} m tall; {_RIGHT_UNITS}"
        for i in np.flatnonzero(np.isfinite(depths_m) & ~((height_m > low) & (height_m < high)))
    ]
    return lines
