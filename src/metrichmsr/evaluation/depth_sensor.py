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
from metrichmsr.evaluation.pictures import case_picture
from metrichmsr.evaluation.regions import erode, surface_depth, torso_region
from metrichmsr.evaluation.report import Case, SetResult, Value
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


def compare_surfaces(
    person: Person, recovery: Recovery, sensor_m: Float[np.ndarray, "H W"], region: Bool[np.ndarray, "H W"]
) -> SurfaceDepths | None:
    """Both medians where region, sensor and mesh overlap; None where that is fewer than :data:`MIN_PIXELS` pixels."""
    mesh = surface_depth(person, recovery.camera)
    common = region & np.isfinite(sensor_m) & np.isfinite(mesh)
    if common.sum() < MIN_PIXELS:
        return None
    return SurfaceDepths(float(np.median(sensor_m[common])), float(np.median(mesh[common])), int(common.sum()))


def evaluate_rgbd(frames: Sequence[RgbdFrame], session: Session) -> SetResult:
    """Distance errors in percent, and height errors where the set states heights."""
    distances: list[DistanceCase] = []
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
                distance = _distance_case(f"{label}#{i}", frame, truth, person, recovery)
                if distance is None:
                    counts["no common pixels"] += 1
                else:
                    distances.append(distance)
                    values |= distance.values()
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
    if heights:
        tables.append(height_table("Height (stated as 1.70 m ± 4 cm)", heights))
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


def _distance_case(
    label: str, frame: RgbdFrame, truth: RgbdPerson, person: Person, recovery: Recovery
) -> DistanceCase | None:
    sensor = frame.read_depth()
    mask = frame.read_mask(truth)
    region = erode(mask, EDGE_PX) if mask is not None else torso_region(person.keypoints_2d_px[:, :2], *sensor.shape)
    depths = compare_surfaces(person, recovery, sensor, region)
    if depths is None:
        return None
    return DistanceCase(
        label=label,
        true_m=depths.sensor_m,
        predicted_m=depths.mesh_m,
        sigma_m=person.distance_std_m,
        stature_m=person.height_m,
        true_stature_m=truth.height_m if truth.height_m is not None else np.nan,
        box_rule_m=depth_from_box(truth.box_xyxy, recovery.camera),
    )
