"""The one door of this room: image in, people with boxes and landmarks out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from metrichmsr.people.detection import Detections, Detector
from metrichmsr.people.landmarker import Landmarker
from metrichmsr.people.landmarks import Landmarks


@dataclass(frozen=True)
class People:
    """Who is in the picture. Row i of both is the same person; best detection score first."""

    detections: Detections
    """Boxes, scores and the detector's own keypoints."""
    landmarks: Landmarks
    """Landmarks, masks and features."""

    def __len__(self) -> int:
        return len(self.detections)


def find_people(
    image: UInt8[np.ndarray, "H W 3"],
    *,
    detector: Detector | None = None,
    landmarker: Landmarker | None = None,
    boxes: Float[np.ndarray, "N 4"] | None = None,
    max_people: int = 50,
    min_score: float = 0.15,
) -> People:
    """Detect people and run the landmark network on them.

    Args:
        image: upright RGB.
        detector: how to find people; MoveNet by default.
        landmarker: the landmark network; made anew by default (keep one for more than one image).
        boxes: boxes given by the user, continuous pixels; then nothing is detected, and all of them are kept in order.
        max_people: keep at most so many.
        min_score: drop detections below.
    """
    landmarker = landmarker or Landmarker()
    if boxes is not None:
        boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
        detections = Detections(boxes, np.ones(len(boxes)))
    else:
        if detector is None:
            from metrichmsr.people.movenet_detector import MoveNetDetector

            detector = MoveNetDetector(max_people=max_people, min_score=min_score)
        detections = detector(image)
        detections = detections[np.argsort(-detections.scores, kind="stable")]
        detections = detections[detections.scores >= min_score][:max_people]
    return People(detections, landmarker(image, detections.boxes_xyxy, keypoints=detections.keypoints))
