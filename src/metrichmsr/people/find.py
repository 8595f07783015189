"""The one door of this room: image in, people with boxes and landmarks out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, UInt8

from metrichmsr.people.detection import Detections, Detector, box_iou, keypoint_similarity
from metrichmsr.people.exposure import brighten_if_dark
from metrichmsr.people.landmarker import Landmarker, to_landmarks
from metrichmsr.people.landmarks import Landmarks

MIN_SCORE = 0.26
"""People below are dropped: see :func:`joint_score`."""
SAME_BODY = 0.8
"""Landmarks more similar than this (COCO's OKS) are of one body, whatever the boxes say."""
PART_OF_BODY = 0.6
"""The same where one box lies in the other."""


@dataclass(frozen=True)
class People:
    """Who is in the picture. Row i of both is the same person; best score first."""

    detections: Detections
    """Boxes, scores, and the detector's own keypoints."""
    landmarks: Landmarks
    """Landmarks, masks and features."""

    def __len__(self) -> int:
        return len(self.detections)


def joint_score(
    detector_score: Float[np.ndarray, "N"], landmark_score: Float[np.ndarray, "N"]
) -> Float[np.ndarray, "N"]:
    """(2·detector + landmarks)/3: a faint find whose landmarks are sure is a person, one without is a chair."""
    return (2 * detector_score + landmark_score) / 3


def find_people(
    image: UInt8[np.ndarray, "H W 3"],
    *,
    detector: Detector | None = None,
    landmarker: Landmarker | None = None,
    boxes: Float[np.ndarray, "N 4"] | None = None,
    max_people: int = 50,
    min_score: float = MIN_SCORE,
) -> People:
    """Detect people and run the landmark network on them.

    Args:
        image: upright RGB.
        detector: how to find people; MoveNet by default (keep one for more than one image).
        landmarker: the landmark network; made anew by default (keep one for more than one image).
        boxes: boxes given by the user, continuous pixels; then nothing is detected, and all are kept in their order.
        max_people: keep at most so many.
        min_score: drop people whose :func:`joint_score` is below.
    """
    landmarker = landmarker or Landmarker()
    image = brighten_if_dark(image)
    if boxes is not None:
        boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
        return People(Detections(boxes, np.ones(len(boxes))), landmarker(image, boxes))
    if detector is None:
        from metrichmsr.people.movenet_detector import MoveNetDetector

        detector = MoveNetDetector()
    found = detector(image)
    looks = landmarker.first_look(image, found.boxes_xyxy, found.keypoints)
    scores = joint_score(found.scores, looks.score())
    order = np.argsort(-scores, kind="stable")
    order = order[scores[order] >= min_score]
    found = Detections(found.boxes_xyxy, scores, found.keypoints)[order]
    looks = looks[order]
    order = np.flatnonzero(~_seen_before(found, to_landmarks(looks, None)))[:max_people]
    found, looks = found[order], looks[order]
    if landmarker.thorough:
        looks = landmarker.look_again(image, found.boxes_xyxy, found.keypoints, looks)
        order = np.flatnonzero(~_seen_before(found, to_landmarks(looks, None)))
        found, looks = found[order], looks[order]
    return People(found, to_landmarks(looks, found.keypoints))


def _seen_before(found: Detections, landmarks: Landmarks) -> Bool[np.ndarray, "N"]:
    """Finds whose landmarks fell on a better find's body: half of somebody, or a neighbour taken for somebody else."""
    points = landmarks.coco17
    area = 0.53 * (found.boxes_xyxy[:, 2:] - found.boxes_xyxy[:, :2]).clip(0).prod(-1)
    similarity = keypoint_similarity(points[:, None], points[None], np.maximum(area[:, None], area[None]))
    similarity = np.nan_to_num(similarity)
    same = (similarity > SAME_BODY) | (similarity > PART_OF_BODY) & (_contained(found.boxes_xyxy) > 0.7)
    again = np.zeros(len(found), bool)
    for i in range(len(found)):
        again[i] = (same[i, :i] & ~again[:i]).any()
    return again


def _contained(boxes: Float[np.ndarray, "N 4"]) -> Float[np.ndarray, "N N"]:
    """Share of the smaller box that lies in the other, for all pairs."""
    iou = box_iou(boxes, boxes)
    area = (boxes[:, 2:] - boxes[:, :2]).clip(0).prod(-1)
    intersection = iou / (1 + iou) * (area[:, None] + area[None])
    return intersection / np.maximum(np.minimum(area[:, None], area[None]), 1e-9)
