"""Distances of people against a depth sensor, surface against surface."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Bool, Float

from metrichmsr.datasets import RgbdFrame, RgbdPerson
from metrichmsr.evaluation.baselines import depth_from_box
from metrichmsr.evaluation.distances import DistanceCase, HeightCase, distance_table, height_table
from metrichmsr.evaluation.matching import match_people
from metrichmsr.evaluation.metrics import summarise_errors
from metrichmsr.evaluation.pictures import case_picture
from metrichmsr.evaluation.regions import erode, surface_depth, torso_region
from metrichmsr.evaluation.report import Case, SetResult, Table, Value, percent_row
from metrichmsr.evaluation.session import Session
from metrichmsr.structures import Person, Recovery

MIN_IOU = 0.3
EDGE_PX = 3
"""Sensor depth is mixed with the background's this close to a person's edge."""
MIN_PIXELS = 50
"""Fewer common pixels than this do not make a distance."""


@dataclass(frozen=True)
class SurfaceDepths:
    """Depth of one person's visible surface, by sensor and by the recovered mesh, over the same pixels."""

    sensor_m: float
    """Median over the common pixels."""
    mesh_m: float
    """Median over the common pixels."""
    pixels: int

    @property
    def percent(self) -> float:
        """Signed relative error: positive where the mesh is too far away."""
        return 100.0 * (self.mesh_m / self.sensor_m - 1.0)


def compare_surfaces(
    mesh_m: Float[np.ndarray, "H W"], sensor_m: Float[np.ndarray, "H W"], region: Bool[np.ndarray, "H W"]
) -> SurfaceDepths | None:
    """Both medians where region, sensor and mesh overlap; None where that is fewer than :data:`MIN_PIXELS` pixels.

    Args:
        mesh_m: depth of the recovered body, NaN beside it.
        sensor_m: depth of the sensor, NaN where it has no reading.
        region: pixels that show the person, away from edges.
    """
    common = region & np.isfinite(sensor_m) & np.isfinite(mesh_m)
    if common.sum() < MIN_PIXELS:
        return None
    return SurfaceDepths(float(np.median(sensor_m[common])), float(np.median(mesh_m[common])), int(common.sum()))


def halves(
    region: Bool[np.ndarray, "H W"],
) -> tuple[Bool[np.ndarray, "H W"], Bool[np.ndarray, "H W"]]:
    """The region above and from its median row on: a body that leans has errors of opposite sign in the two."""
    rows = np.nonzero(region)[0]
    split = int(np.median(rows)) if len(rows) else 0
    upper, lower = region.copy(), region.copy()
    upper[split:], lower[:split] = False, False
    return upper, lower


def evaluate_rgbd(frames: Sequence[RgbdFrame], session: Session) -> SetResult:
    """Distance errors in percent, and height errors where the set states heights."""
    distances: list[DistanceCase] = []
    by_half: list[tuple[float, float]] = []
    heights: list[HeightCase] = []
    cases: list[Case] = []
    counts: dict[str, int] = dict.fromkeys(
        ("frames", "people", "matched", "missed", "no common pixels", "false alarms"), 0
    )
    for frame in session.frames(frames):
        counts["frames"] += 1
        label, image = frame.name, frame.photo.read()
        recovery = session.recover(image, frame.photo.camera, label)
        matched, unmatched = match_people(frame.people, recovery, min_iou=MIN_IOU)
        counts["people"] += len(frame.people)
        counts["matched"] += len(frame.people) - matched.count(None)
        counts["missed"] += matched.count(None)
        counts["false alarms"] += unmatched if frame.people_complete else 0
        for i, (truth, person) in enumerate(zip(frame.people, matched, strict=True)):
            values: dict[str, Value] = {"found": int(person is not None)}
            if person is not None and recovery is not None:
                measured = _measure(f"{label}#{i}", frame, truth, person, recovery)
                if measured is None:
                    counts["no common pixels"] += 1
                else:
                    distances.append(measured.distance)
                    values |= measured.distance.values()
                    if measured.half_percent is not None:
                        by_half.append(measured.half_percent)
                        values |= dict(zip(("upper_percent", "lower_percent"), measured.half_percent, strict=True))
                if truth.height_m is not None:
                    heights.append(HeightCase(f"{label}#{i}", truth.height_m, person.height_m, person.height_std_m))
                    values |= {"true_height_m": truth.height_m, "height_m": person.height_m}
            cases.append(Case(f"{label}#{i}", values))
            error = float(values.get("error_percent", np.nan))
            draw = partial(
                case_picture,
                image,
                (f"{label}#{i}", f"distance {error:+.1f} %" if person is not None else "not found"),
                camera=recovery.camera if recovery is not None else None,
                person=person,
                truth_box=truth.box_xyxy,
            )
            session.gallery.offer(session.name, abs(error), draw)
    tables = [distance_table("Distance (surface depth)", distances)]
    if by_half:
        upper, lower = zip(*by_half, strict=True)
        rows = (("upper half of the visible body", upper), ("lower half", lower))
        tables.append(
            Table("The same by half: leaning shows here", tuple(percent_row(n, summarise_errors(e)) for n, e in rows))
        )
    if heights:
        tables.append(height_table("Height (what the set states is good to ±4 cm)", heights))
    return SetResult(
        name=session.name,
        protocol=_PROTOCOL,
        counts=counts,
        tables=tuple(tables),
        cases=tuple(cases),
        failures=tuple(session.failures),
        seconds_per_image=session.seconds_per_image,
    )


_PROTOCOL = (
    "Median z-depth of the recovered mesh's visible surface against the sensor's median over the same pixels: the "
    f"person's mask shrunk by {EDGE_PX} px where the set has masks, else the quadrilateral of the detected shoulders "
    f"and hips. People are matched one to one by box (IoU at least {MIN_IOU}). K given. Positive: put too far away. "
    "Frames of one person are not independent."
)


@dataclass(frozen=True)
class _Measured:
    """One matched person."""

    distance: DistanceCase
    half_percent: tuple[float, float] | None
    """Errors of the upper and lower half of the visible body, where the whole of it is masked."""


def _measure(label: str, frame: RgbdFrame, truth: RgbdPerson, person: Person, recovery: Recovery) -> _Measured | None:
    sensor, mesh = frame.read_depth(), surface_depth(person, recovery.camera)
    mask = frame.read_mask(truth)
    region = erode(mask, EDGE_PX) if mask is not None else torso_region(person.keypoints_2d_px[:, :2], *sensor.shape)
    depths = compare_surfaces(mesh, sensor, region)
    if depths is None:
        return None
    distance = DistanceCase(
        label=label,
        true_m=depths.sensor_m,
        predicted_m=depths.mesh_m,
        sigma_m=person.distance_std_m,
        stature_m=person.height_m,
        true_stature_m=truth.height_m if truth.height_m is not None else np.nan,
        box_rule_m=depth_from_box(truth.box_xyxy, recovery.camera),
    )
    if mask is None:
        return _Measured(distance, None)
    upper, lower = (compare_surfaces(mesh, sensor, half) for half in halves(region))
    return _Measured(distance, (upper.percent if upper else np.nan, lower.percent if lower else np.nan))
