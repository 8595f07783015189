"""Distances of pedestrians against 3D boxes from LiDAR: KITTI's foot points, nuScenes' box centres."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from jaxtyping import Float

from metrichmsr.datasets import PedestrianFrame
from metrichmsr.datasets.pedestrians import Anchor
from metrichmsr.evaluation.baselines import depth_from_box
from metrichmsr.evaluation.distances import DistanceCase, HeightCase, distance_table, height_table
from metrichmsr.evaluation.matching import match_people
from metrichmsr.evaluation.pictures import case_picture
from metrichmsr.evaluation.report import Case, SetResult, Value
from metrichmsr.evaluation.session import Session

MIN_IOU = 0.3


def anchor_of_mesh(vertices_m: Float[np.ndarray, "V 3"], anchor: Anchor) -> Float[np.ndarray, "3"]:
    """What a labeller's 3D box would have at this body: the middle of its extent, or of its lowest face, metres.

    The box is taken along the camera's axes, which on a car are level: y is down.
    """
    low, high = vertices_m.min(axis=0), vertices_m.max(axis=0)
    middle = 0.5 * (low + high)
    return np.array([middle[0], high[1], middle[2]]) if anchor == "foot" else middle


def evaluate_pedestrians(frames: Sequence[PedestrianFrame], session: Session) -> SetResult:
    """Distance errors in percent over matched pedestrians, and heights against the boxes' heights."""
    distances: list[DistanceCase] = []
    heights: list[HeightCase] = []
    cases: list[Case] = []
    counts: dict[str, int] = dict.fromkeys(
        ("frames", "pedestrians", "matched", "missed", "cyclists, not scored", "found, unlabelled"), 0
    )
    for frame in session.frames(frames):
        counts["frames"] += 1
        label, image = frame.photo.path.name, frame.photo.read()
        recovery = session.recover(image, frame.photo.camera, label)
        # Cyclists take part in the matching, so that nobody else is matched to them, and are then left out.
        matched, unmatched = match_people(frame.people, recovery, min_iou=MIN_IOU)
        counts["found, unlabelled"] += unmatched
        for i, (truth, person) in enumerate(zip(frame.people, matched, strict=True)):
            if truth.kind != "Pedestrian":
                counts["cyclists, not scored"] += 1
                continue
            counts["pedestrians"] += 1
            name = f"{label}#{i}"
            true_m = float(np.linalg.norm(truth.position_m))
            values: dict[str, Value] = {"found": int(person is not None), "true_m": true_m}
            error = np.nan
            if person is not None and recovery is not None:
                depth = depth_from_box(truth.box_xyxy, recovery.camera)
                distance = DistanceCase(
                    label=name,
                    true_m=true_m,
                    predicted_m=float(np.linalg.norm(anchor_of_mesh(person.vertices_m, frame.anchor))),
                    sigma_m=person.distance_std_m,
                    stature_m=person.height_m,
                    true_stature_m=truth.height_m,
                    # The rule gives depth; the ray through the true anchor turns it into distance.
                    box_rule_m=depth * true_m / float(truth.position_m[2]),
                )
                distances.append(distance)
                heights.append(HeightCase(name, truth.height_m, person.height_m, person.height_std_m))
                values |= {**distance.values(), "true_height_m": truth.height_m}
                error = distance.percent
            counts["matched" if person is not None else "missed"] += 1
            cases.append(Case(name, values))
            draw = partial(
                case_picture,
                image,
                (name, f"{true_m:.1f} m, " + (f"{error:+.1f} %" if person is not None else "not found")),
                camera=recovery.camera if recovery is not None else None,
                person=person,
                truth_box=truth.box_xyxy,
            )
            # Missed ones are many and small: the distances of the found ones are what to look at.
            session.gallery.offer(session.name, abs(error) if person is not None else -1.0, draw)
    anchor = frames[0].anchor if frames else "foot"
    point = "foot point (middle of the 3D box's lowest face)" if anchor == "foot" else "centre of the 3D box"
    return SetResult(
        name=session.name,
        protocol=(
            f"Euclidean distance of the {point} against the same point of the recovered mesh's extent along the camera "
            f"axes. People are matched one to one by box (IoU at least {MIN_IOU}; the labelled boxes are those of the "
            "projected 3D box, looser than a person). K given. Positive: put too far away. Frames of one street are "
            "not independent. 'True stature' is the 3D box's height: of the walking person with shoes and hat."
        ),
        counts=counts,
        tables=(
            distance_table("Distance", distances),
            height_table("Stature against the height of the 3D box", heights),
        ),
        cases=tuple(cases),
        failures=tuple(session.failures),
        seconds_per_image=session.seconds_per_image,
    )
