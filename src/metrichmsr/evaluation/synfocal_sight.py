"""How SynFocal's subjects are looked at: found by the detector, as photographs are, or where the truth says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

import numpy as np

from metrichmsr.people import Landmarker
from metrichmsr.people.detection import Detector, box_iou
from metrichmsr.people.exposure import brighten_if_dark
from metrichmsr.people.landmarks import Landmarks
from metrichmsr.synthetic.shots import Shot
from metrichmsr.training.from_shots import landmarks_of_shots

Regions = Literal["detected", "true"]
MIN_IOU = 0.4
"""A find whose box overlaps the subject's by less is of somebody else."""


class Sight(Protocol):
    """Looks at the subjects of some shots."""

    missed: int
    """How many the detector did not find."""

    def __call__(self, shots: Sequence[Shot], generator: np.random.Generator) -> list[Landmarks]:
        """What is seen of each shot's subject; ``generator`` draws the errors of regions that are not detected."""
        ...


class TrueRegions:
    """Regions of the true keypoints, with a detector's errors; one look each."""

    def __init__(self, landmarker: Landmarker | None = None) -> None:
        self.landmarker = landmarker or Landmarker()
        self.missed = 0

    def __call__(self, shots: Sequence[Shot], generator: np.random.Generator) -> list[Landmarks]:
        """See :class:`Sight`."""
        return landmarks_of_shots(shots, self.landmarker, generator)


class DetectedRegions:
    """The detector's find that overlaps the subject most, looked at as ``recover`` does; else the true region."""

    def __init__(self, detector: Detector | None = None, landmarker: Landmarker | None = None) -> None:
        if detector is None:
            from metrichmsr.people.movenet_detector import MoveNetDetector

            detector = MoveNetDetector()
        self.detector = detector
        self.otherwise = TrueRegions(landmarker)
        self.missed = 0

    def __call__(self, shots: Sequence[Shot], generator: np.random.Generator) -> list[Landmarks]:
        """See :class:`Sight`."""
        # Drawn for all, so that nobody's errors hang on whether others were found.
        seeds = generator.integers(2**63, size=len(shots))
        return [self._see(shot, np.random.default_rng(seed)) for shot, seed in zip(shots, seeds, strict=True)]

    def _see(self, shot: Shot, generator: np.random.Generator) -> Landmarks:
        image = brighten_if_dark(shot.image)
        found = self.detector(image)
        overlap = box_iou(shot.people.box_xyxy[:1].astype(np.float64), found.boxes_xyxy)[0]
        if not len(overlap) or overlap.max() < MIN_IOU:
            self.missed += 1
            return self.otherwise([shot], generator)[0]
        subject = found[np.array([overlap.argmax()])]
        return self.otherwise.landmarker(image, subject.boxes_xyxy, keypoints=subject.keypoints)


def sight(regions: Regions) -> Sight:
    """The one that an option names."""
    return DetectedRegions() if regions == "detected" else TrueRegions()
