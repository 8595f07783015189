"""How the people and cameras of a set are distributed: as numbers, and as a picture of histograms."""

from __future__ import annotations

import json
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageDraw, ImageFont

from metrichmsr.synthetic.shots import OUTSIDE, Shot

_PERCENTILES = (1, 5, 25, 50, 75, 95, 99)


@dataclass(frozen=True)
class Quantity:
    """Something with a distribution."""

    title: str
    low: float
    """Left end of the histogram; what lies outside is counted in the last bins."""
    high: float
    bins: int = 30


QUANTITIES: Mapping[str, Quantity] = {
    "stature_m": Quantity("stature, m", 0.4, 2.2),
    "age_years": Quantity("age, years", 0, 90),
    "distance_m": Quantity("distance of the pelvis, m", 0, 20),
    "fov_x_deg": Quantity("horizontal field of view, °", 0, 130),
    "pitch_deg": Quantity("camera pitch (up positive), °", -90, 90),
    "roll_deg": Quantity("camera roll (right side down positive), °", -45, 45),
    "camera_height_m": Quantity("camera above the ground, m", 0, 7),
    "visible_share": Quantity("share of the body seen", 0, 1),
    "outside_share": Quantity("share of joints outside the picture", 0, 1),
    "people": Quantity("people in a picture", -0.5, 7.5, bins=8),
    "root_tilt_deg": Quantity("tilt of the pelvis from upright, °", 0, 180),
}
"""By key in the JSON. Of people: those of whom something is seen."""

CATEGORIES: Mapping[str, str] = {
    "support": "what carries people",
    "pose_source": "where poses come from",
    "environment": "surroundings",
}


class SetStatistics:
    """Collects the distributions of a set, shot by shot; a few bytes a person."""

    def __init__(self) -> None:
        self.shots = 0
        self.people = 0
        self._values = {name: array("f") for name in QUANTITIES}
        self._counts: dict[str, Counter[str]] = {name: Counter() for name in CATEGORIES}

    def add(self, shot: Shot) -> None:
        """Count a shot; its pixels are not looked at."""
        people = shot.people
        seen = people.visible_share > 0
        up = shot.camera_from_world[:3, 1]
        self.shots += 1
        self.people += int(seen.sum())
        add = self._values
        add["fov_x_deg"].append(shot.fov_x_deg)
        add["pitch_deg"].append(float(np.degrees(np.arcsin(np.clip(shot.camera_from_world[2, 1], -1, 1)))))
        add["roll_deg"].append(float(np.degrees(np.arctan2(-up[0], -up[1]))))
        add["camera_height_m"].append(shot.ground_plane[1])
        add["people"].append(float(seen.sum()))
        add["stature_m"].extend(people.height_m[seen].tolist())
        add["age_years"].extend(age_years(people.shape[seen, 1]).tolist())
        add["distance_m"].extend(np.linalg.norm(people.translation_m[seen], axis=1).tolist())
        add["visible_share"].extend(people.visible_share[seen].tolist())
        add["outside_share"].extend((people.visibility[seen] == OUTSIDE).mean(axis=1).tolist())
        add["root_tilt_deg"].extend(root_tilt_deg(people.pose[seen, 0], up).tolist())
        self._counts["environment"][shot.environment.split("+")[0]] += 1
        for person in np.flatnonzero(seen):
            self._counts["support"][people.support[person]] += 1
            self._counts["pose_source"][_family(people.pose_source[person])] += 1

    def summary(self) -> dict[str, Any]:
        """Everything as JSON values."""
        return {
            "shots": self.shots,
            "people_seen": self.people,
            "quantities": {name: _summary(np.array(values), QUANTITIES[name]) for name, values in self._values.items()},
            "categories": {name: dict(counts.most_common()) for name, counts in self._counts.items()},
        }


def collect(shots: Iterable[Shot]) -> SetStatistics:
    """The statistics of some shots."""
    statistics = SetStatistics()
    for shot in shots:
        statistics.add(shot)
    return statistics


def root_tilt_deg(root: Float[np.ndarray, "P 3"], up: Float[np.ndarray, "3"]) -> Float[np.ndarray, "P"]:
    """Angle between the pelvis' own up and the world's: 0 upright, 90 lying, 180 head down; degrees.

    Args:
        root: rotation vectors from body frame (z up) to camera frame.
        up: the world's up in the camera frame.
    """
    angle = np.linalg.norm(root, axis=-1, keepdims=True)
    axis = root / np.maximum(angle, 1e-12)
    z = np.array([0.0, 0.0, 1.0])
    # Rodrigues' formula of the one vector.
    turned = np.cos(angle) * z + np.sin(angle) * np.cross(axis, z) + (1 - np.cos(angle)) * axis[:, 2:] * axis
    return np.degrees(np.arccos(np.clip(turned @ up, -1, 1)))


def age_years(age: Float[np.ndarray, "P"]) -> Float[np.ndarray, "P"]:
    """Years of Anny's age parameter."""
    # Late: that module needs torch.
    from metrichmsr.bodies.shape_prior import AGE_KNOTS, YEARS_KNOTS

    return np.interp(age, AGE_KNOTS, YEARS_KNOTS)


def write_statistics(summary: Mapping[str, Any], folder: Path) -> None:
    """Write ``statistics.json`` and ``statistics.png`` into a folder."""
    text = json.dumps(summary, indent=1, ensure_ascii=False)
    (folder / "statistics.json").write_text(text, encoding="utf-8")
    draw_statistics(summary).save(folder / "statistics.png")


def draw_statistics(summary: Mapping[str, Any], *, columns: int = 4) -> Image.Image:
    """Histograms of all quantities and bars of all categories in one picture."""
    names = [*QUANTITIES, *CATEGORIES]
    width, height = 380, 250
    rows = -(-len(names) // columns)
    sheet = Image.new("RGB", (columns * width, rows * height + 34), "white")
    title = f"{summary['shots']} pictures, {summary['people_seen']} people seen"
    ImageDraw.Draw(sheet).text((16, 8), title, font=ImageFont.load_default(18), fill="black")
    for number, name in enumerate(names):
        plot = Image.new("RGB", (width, height), "white")
        if name in QUANTITIES:
            _draw_histogram(plot, QUANTITIES[name].title, summary["quantities"][name])
        else:
            _draw_bars(plot, CATEGORIES[name], summary["categories"][name])
        sheet.paste(plot, (number % columns * width, 34 + number // columns * height))
    return sheet


_AXIS, _BAR, _GRID = (90, 90, 90), (0, 114, 178), (225, 225, 225)


def _draw_histogram(plot: Image.Image, title: str, summary: Mapping[str, Any]) -> None:
    draw, small = ImageDraw.Draw(plot), ImageFont.load_default(12)
    left, top, right, bottom = 50, 44, plot.width - 16, plot.height - 30
    draw.text((left, 6), title, font=ImageFont.load_default(14), fill="black")
    if summary["n"]:
        median, low, high = (summary["percentiles"][key] for key in ("50", "5", "95"))
        draw.text((left, 24), f"median {median:.4g}, 90 % in {low:.4g} to {high:.4g}", font=small, fill=_AXIS)
    edges, counts = np.array(summary["edges"]), np.array(summary["counts"], dtype=float)
    total = max(1.0, counts.sum())
    peak = max(1e-9, counts.max() / total)
    step = _nice(peak / 3)
    for share in np.arange(0, peak + step / 2, step):
        y = bottom - (bottom - top) * share / (1.02 * peak)
        if y >= top - 4:
            draw.line((left, y, right, y), fill=_GRID)
            draw.text((left - 5, y), f"{100 * share:.3g} %", font=small, fill=_AXIS, anchor="rm")
    scale = (right - left) / (edges[-1] - edges[0])
    for a, b, count in zip(edges[:-1], edges[1:], counts, strict=True):
        if count:
            y = bottom - (bottom - top) * (count / total) / (1.02 * peak)
            box = (left + (a - edges[0]) * scale, y, left + (b - edges[0]) * scale - 1, bottom)
            draw.rectangle(box, fill=_BAR)
    draw.line((left, bottom, right, bottom), fill=_AXIS)
    step = _nice((edges[-1] - edges[0]) / 6)
    for tick in np.arange(np.ceil(edges[0] / step) * step, edges[-1] + step / 100, step):
        x = left + (tick - edges[0]) * scale
        draw.line((x, bottom, x, bottom + 4), fill=_AXIS)
        draw.text((x, bottom + 6), f"{round(tick, 6) + 0.0:g}", font=small, fill=_AXIS, anchor="mt")


def _draw_bars(plot: Image.Image, title: str, counts: Mapping[str, int]) -> None:
    draw, small = ImageDraw.Draw(plot), ImageFont.load_default(12)
    shown = list(counts.items())[:10]
    rest = sum(counts.values()) - sum(count for _, count in shown)
    if rest:
        shown.append((f"{len(counts) - len(shown)} others", rest))
    draw.text((50, 6), f"{title} ({len(counts)})", font=ImageFont.load_default(14), fill="black")
    left, top, right = 150, 32, plot.width - 50
    total, peak = max(1, sum(counts.values())), max((count for _, count in shown), default=1)
    for line, (name, count) in enumerate(shown):
        y = top + 18 * line
        label = name if len(name) <= 22 else f"{name[:21]}…"
        draw.text((left - 6, y + 7), label, font=small, fill=_AXIS, anchor="rm")
        end = left + (right - left) * count / peak
        draw.rectangle((left, y + 1, end, y + 13), fill=_BAR)
        draw.text((end + 4, y + 7), f"{100 * count / total:.1f} %", font=small, fill=_AXIS, anchor="lm")


def _nice(step: float) -> float:
    """The next larger of 1, 2, 5 times a power of ten."""
    power = 10.0 ** np.floor(np.log10(step))
    return float(next(m * power for m in (1, 2, 5, 10) if m * power >= 0.999 * step))


def _summary(values: Float[np.ndarray, "N"], quantity: Quantity) -> dict[str, Any]:
    values = values[np.isfinite(values)]
    ends = quantity.low, quantity.high
    counts, edges = np.histogram(values.clip(*ends), quantity.bins, ends)
    summary: dict[str, Any] = {"title": quantity.title, "n": len(values)}
    if len(values):
        percentiles = np.percentile(values, _PERCENTILES)
        summary |= {
            "mean": _short(values.mean()),
            "sd": _short(values.std()),
            "min": _short(values.min()),
            "max": _short(values.max()),
            "percentiles": {str(p): _short(v) for p, v in zip(_PERCENTILES, percentiles, strict=True)},
        }
    return summary | {"edges": [_short(edge) for edge in edges], "counts": counts.tolist()}


def _short(value: float) -> float:
    return float(f"{value:.5g}")


def _family(source: str) -> str:
    """What a pose comes from, without clip and frame: ``cmu/02_01 17`` is of ``cmu``; made ones keep their kind."""
    parts = source.replace(":", " ").split()[0].split("/")
    return "/".join(parts[:2]) if parts[0] == "synthetic" else parts[0]
