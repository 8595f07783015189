"""A video of someone whose stature is known: the demo of Sports2D."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from metrichmsr.errors import InputError


@dataclass(frozen=True)
class HeightVideo:
    """A video and where in it the person of known stature is."""

    path: Path
    height_m: float
    """Stated stature, metres."""
    track: tuple[tuple[int, tuple[float, float, float, float]], ...]
    """(frame number from 0, box xyxy in pixels) of the person, ascending, drawn by eye (±5 px)."""

    @property
    def first_frame(self) -> int:
        """First frame with a box."""
        return self.track[0][0]

    @property
    def last_frame(self) -> int:
        """Last frame with a box."""
        return self.track[-1][0]

    def box_at(self, frame: int) -> Float[np.ndarray, "4"]:
        """The person's box in any frame of the track, between the drawn ones by interpolation."""
        if not self.first_frame <= frame <= self.last_frame:
            raise ValueError(f"frame {frame} is outside the track {self.first_frame}-{self.last_frame}")
        frames = [number for number, _ in self.track]
        boxes = np.array([box for _, box in self.track], dtype=np.float64)
        return np.array([np.interp(frame, frames, boxes[:, side]) for side in range(4)])

    def read(self, every: int) -> Iterator[tuple[int, UInt8[np.ndarray, "H W 3"]]]:
        """(frame number, RGB) of every n-th frame of the track, one at a time."""
        if every < 1:
            raise ValueError(f"every must be at least 1, not {every}")
        capture = cv2.VideoCapture(str(self.path))
        try:
            if not capture.isOpened():
                raise InputError(f"{self.path}: cannot be read as a video")
            for number in range(self.last_frame + 1):
                if not capture.grab():
                    raise InputError(f"{self.path}: ends at frame {number}, expected {self.last_frame + 1}")
                if number >= self.first_frame and (number - self.first_frame) % every == 0:
                    _, frame = capture.retrieve()
                    yield number, cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
        finally:
            capture.release()


SPORTS2D_TRACK = (
    (60, (1270, 544, 1502, 942)),
    (75, (1168, 525, 1375, 928)),
    (90, (1072, 518, 1183, 930)),
    (105, (905, 518, 1078, 928)),
    (120, (715, 516, 950, 929)),
    (135, (534, 512, 795, 929)),
    (150, (385, 506, 615, 932)),
    (165, (299, 510, 430, 947)),
    (180, (131, 515, 280, 941)),
)
"""The woman on the lawn, while she is whole in the picture. The man on the roof is another person."""


def read_sports2d(folder: Path) -> HeightVideo:
    """``video_sports2d``: a woman of 1.65 m walks past a camera that stands still (its K is unknown)."""
    path = folder / "video_sports2d" / "Demo" / "demo.mp4"
    if not path.is_file():
        raise InputError(f"{path}: no such video")
    return HeightVideo(path=path, height_m=1.65, track=SPORTS2D_TRACK)
