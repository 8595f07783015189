"""The results of a sequence's frames as motions: each person once, with one shape.

Convention: camera frame, metres, radians. What is in a motion is what every frame's recovery says: nothing is smoothed,
and a camera that moves is not taken out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from metrichmsr.bodies.protocol import BodyModel
from metrichmsr.errors import InputError
from metrichmsr.export.read import body_parameters
from metrichmsr.export.read_entries import number
from metrichmsr.export.schema import PersonEntry, ResultDocument
from metrichmsr.people.linking import link_people

_SPARSE = 10
"""A step that would leave more places empty than this for each picture is none: the numbers are clock times."""


@dataclass(frozen=True, eq=False)
class Motion:
    """One person in the frames where it was seen (N of them)."""

    id: int
    """By when the person came into sight, in the first frame by its id there."""
    frames: Int[np.ndarray, "N"]
    """Indices of frames, ascending."""
    rotvecs: Float[np.ndarray, "N J 3"] = field(repr=False)
    """Parent-relative rotation vectors, root first; the root's takes the body frame to the camera frame."""
    places_m: Float[np.ndarray, "N 3"] = field(repr=False)
    """Pelvis joint."""
    shape: Float[np.ndarray, "S"]
    """Median of each shape parameter over the person's frames."""
    score: float
    """Mean detection confidence."""


@dataclass(frozen=True, eq=False)
class MotionSequence:
    """Everybody's motion."""

    times_s: Float[np.ndarray, "F"]
    """Time of each frame, from 0."""
    body: BodyModel
    motions: tuple[Motion, ...]


def read_motions(
    frames: Sequence[tuple[Path, ResultDocument]],
    times_s: Float[np.ndarray, "F"],
    *,
    body_model_dir: str | Path | None = None,
) -> MotionSequence:
    """The motions in a sequence's results; people of different frames are joined by where they stand.

    Args:
        frames: folder and content of ``result.json`` of each frame, in order.
        times_s: of each frame, ascending.
        body_model_dir: folder with the user's files, for results with bodies of the SMPL family.

    Raises:
        InputError: fewer than two frames, nobody in them, bodies of different models, or a result that does not fit its
            body model.
        ModelFileError: the body model's file is missing.
    """
    from metrichmsr.bodies import load_body_model

    if len(frames) < 2:
        raise InputError(
            f"{frames[0][0] if frames else 'no results'}: a motion needs the results of two frames or more"
        )
    where = {name: folder for folder, document in reversed(frames) for name in _models(document)}
    if not where:
        raise InputError(f"{frames[0][0].parent}: there is nobody in these {len(frames)} results")
    if len(where) > 1:
        told = ", ".join(f"{name} in {folder.name}" for name, folder in sorted(where.items()))
        raise InputError(f"{frames[0][0].parent}: bodies of one motion must be of one model, not of {told}")
    body = load_body_model(next(iter(where)), body_model_dir=body_model_dir)
    entries: list[list[PersonEntry]] = [document["people"] for _, document in frames]
    read = [
        [body_parameters(entry, body, folder / "result.json") for entry in document["people"]]
        for folder, document in frames
    ]
    places = [np.array([place for _, _, place in people]).reshape(-1, 3) for people in read]
    motions = []
    for id_, track in enumerate(link_people(places, list(times_s))):
        rotvecs, shapes, where_m = zip(*(read[frame][index] for frame, index in track), strict=True)
        motions.append(
            Motion(
                id=id_,
                frames=np.array([frame for frame, _ in track]),
                rotvecs=np.stack(rotvecs),
                places_m=np.stack(where_m),
                shape=np.median(np.stack(shapes), axis=0),
                score=float(np.mean([number(entries[frame][index]["score"]) for frame, index in track])),
            )
        )
    return MotionSequence(np.asarray(times_s, np.float64), body, tuple(motions))


def frame_times(numbers: Sequence[int], fps: float, *, of_video: bool) -> Float[np.ndarray, "F"]:
    """Seconds from the first frame.

    Args:
        numbers: of the frames of a video, or those in the names of pictures; ascending, none twice.
        fps: frames a second of the video; pictures a second, those that are missing counted with.
        of_video: numbers count the video's frames. Those of pictures may go in steps (``0010, 0020, 0040``): the
            smallest step is one picture's time. Where they do not (clock times), pictures come evenly.
    """
    counts = np.asarray(numbers, np.float64) - numbers[0]
    if not of_video and len(counts) > 1:
        step = np.diff(counts).min()
        regular = not (counts % step).any() and counts[-1] / step <= _SPARSE * len(counts)
        counts = counts / step if regular else np.arange(len(counts), dtype=np.float64)
    return counts / fps


def _models(document: ResultDocument) -> set[str]:
    return {entry["body_model"] for entry in document["people"]}
