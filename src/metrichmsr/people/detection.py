"""What a person detector is, and how its double finds are removed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

COCO_SIGMAS = np.array([26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89]) / 1000
"""How far annotators disagree, per COCO-17 keypoint, over the square root of the person's area (COCO's table)."""


@dataclass(frozen=True)
class Detections:
    """People found in one image, best first. Continuous pixels of the upright image."""

    boxes_xyxy: Float[np.ndarray, "N 4"]
    """A box around each person; may reach out of the image where the person does."""
    scores: Float[np.ndarray, "N"]
    """Confidence in [0, 1]."""
    keypoints: Float[np.ndarray, "N 17 3"] | None = None
    """COCO-17 as u, v and confidence, where the detector knows them."""

    def __len__(self) -> int:
        return len(self.boxes_xyxy)

    def __getitem__(self, index: Int[np.ndarray, "M"] | Bool[np.ndarray, "N"] | slice) -> Detections:
        keypoints = None if self.keypoints is None else self.keypoints[index]
        return Detections(self.boxes_xyxy[index], self.scores[index], keypoints)

    @staticmethod
    def concatenate(parts: list[Detections]) -> Detections:
        """All finds of several; without keypoints where one part has none."""
        keypoints = [part.keypoints for part in parts if part.keypoints is not None]
        return Detections(
            np.concatenate([part.boxes_xyxy for part in parts]),
            np.concatenate([part.scores for part in parts]),
            np.concatenate(keypoints) if len(keypoints) == len(parts) else None,
        )


class Detector(Protocol):
    """Anything that finds people."""

    def __call__(self, image: UInt8[np.ndarray, "H W 3"]) -> Detections:
        """Find the people of an upright RGB image; an empty result where there are none."""
        ...


def empty_detections(*, with_keypoints: bool = False) -> Detections:
    """Nobody."""
    return Detections(np.zeros((0, 4)), np.zeros(0), np.zeros((0, 17, 3)) if with_keypoints else None)


def box_iou(a: Float[np.ndarray, "N 4"], b: Float[np.ndarray, "M 4"]) -> Float[np.ndarray, "N M"]:
    """Intersection over union of all pairs of boxes."""
    overlap = np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2])
    intersection = overlap.clip(0).prod(-1)
    area_a, area_b = (a[:, 2:] - a[:, :2]).clip(0).prod(-1), (b[:, 2:] - b[:, :2]).clip(0).prod(-1)
    return intersection / np.maximum(area_a[:, None] + area_b[None] - intersection, 1e-9)


def keypoint_similarity(
    a: Float[np.ndarray, "... 17 3"],
    b: Float[np.ndarray, "... 17 3"],
    area: Float[np.ndarray, "..."],
    *,
    min_confidence: float = 0.2,
) -> Float[np.ndarray, "..."]:
    """COCO's object keypoint similarity over the keypoints that both show; NaN where they share none.

    Args:
        a: u, v, confidence.
        b: the same of another find.
        area: of the person, square pixels.
        min_confidence: keypoints below are not compared.
    """
    both = (a[..., 2] >= min_confidence) & (b[..., 2] >= min_confidence)
    square = ((a[..., :2] - b[..., :2]) ** 2).sum(-1)
    closeness = np.exp(-square / (2 * np.maximum(area, 1e-9)[..., None] * (2 * COCO_SIGMAS) ** 2))
    count = both.sum(-1)
    return np.where(count > 0, (closeness * both).sum(-1) / np.maximum(count, 1), np.nan)


def remove_duplicates(found: Detections, *, max_box_iou: float = 0.6, max_similarity: float = 0.5) -> Detections:
    """Best first, without those who were found before.

    Two finds are one person when their boxes coincide, or when the keypoints that both see do: somebody seen whole in
    one tile and cut off in the next has different boxes but the same elbows; two people in each other's arms have
    similar boxes but different elbows.

    Args:
        found: finds of one image, double ones among them.
        max_box_iou: boxes that overlap more are one person's.
        max_similarity: keypoints that are more similar (COCO's OKS) are one person's.
    """
    found = found[np.argsort(-found.scores, kind="stable")]
    same = box_iou(found.boxes_xyxy, found.boxes_xyxy) > max_box_iou
    if found.keypoints is not None:
        area = 0.53 * (found.boxes_xyxy[:, 2:] - found.boxes_xyxy[:, :2]).clip(0).prod(-1)
        area = np.maximum(area[:, None], area[None])
        similarity = keypoint_similarity(found.keypoints[:, None], found.keypoints[None], area, min_confidence=0.1)
        same |= np.nan_to_num(similarity) > max_similarity
    kept: list[int] = []
    for i in range(len(found)):
        if not same[i, kept].any():
            kept.append(i)
    return found[np.array(kept, dtype=np.int64)]
