"""The stature of one known person, frame after frame of a video: its error and how much it wavers."""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from metrichmsr.datasets import HeightVideo
from metrichmsr.evaluation.distances import HeightCase, height_table
from metrichmsr.evaluation.matching import person_at
from metrichmsr.evaluation.pictures import case_picture
from metrichmsr.evaluation.report import Case, Row, SetResult, Table
from metrichmsr.evaluation.session import Session, spread

MIN_IOU = 0.3
EVERY_FRAMES = 10
"""A third of a second at 30 frames/s."""


def evaluate_height_video(video: HeightVideo, session: Session, *, every: int = EVERY_FRAMES) -> SetResult:
    """Heights over every n-th frame in which the person is whole; each frame on its own, nothing is smoothed."""
    wanted = set(spread(range(video.first_frame, video.last_frame + 1, every), session.max_frames))
    heights: list[HeightCase] = []
    cases: list[Case] = []
    frames = ((number, image) for number, image in video.read(every) if number in wanted)
    for number, image in session.watch(frames, total=len(wanted)):
        label = f"frame {number}"
        box = video.box_at(number)
        recovery = session.recover(image, None, label)
        person = person_at(box, recovery, min_iou=MIN_IOU)
        error = math.nan
        if person is not None:
            heights.append(HeightCase(label, video.height_m, person.height_m, person.height_std_m))
            error = person.height_m - video.height_m
            cases.append(Case(label, {"found": 1, "height_m": person.height_m, "distance_m": person.distance_m}))
        else:
            cases.append(Case(label, {"found": 0}))
        draw = partial(
            case_picture,
            image,
            (label, f"height {100 * error:+.1f} cm" if person is not None else "not found"),
            camera=recovery.camera if recovery is not None else None,
            person=person,
            truth_box=box,
        )
        session.gallery.offer(session.name, abs(error), draw)
    return SetResult(
        name=session.name,
        protocol=(
            f"Stature of one woman of {video.height_m} m in every {every}th frame of a static video, each frame "
            "recovered on its own; matched by a box drawn by eye. No K is known. The frames are one person: the spread "
            "is what they add."
        ),
        counts={"frames": len(wanted), "found": len(heights)},
        tables=(_with_spread(height_table("Height", heights), [case.predicted_m for case in heights]),),
        cases=tuple(cases),
        failures=tuple(session.failures),
        seconds_per_image=session.seconds_per_image,
    )


def _with_spread(table: Table, heights_m: list[float]) -> Table:
    recovered, constant = table.rows
    spread_m = float(np.std(heights_m, ddof=1)) if len(heights_m) > 1 else math.nan
    return Table(
        table.title,
        (
            Row(recovered.method, {**recovered.values, "spread_cm": 100 * spread_m}),
            Row(constant.method, {**constant.values, "spread_cm": 0.0}),
        ),
    )
