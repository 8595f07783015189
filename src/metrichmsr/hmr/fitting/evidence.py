"""What the picture says about each person, gathered for the fit: landmarks, their doubt, depth order, outline."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from metrichmsr.structures import Camera

if TYPE_CHECKING:
    from metrichmsr.people.landmarks import Landmarks

OUTLINE_POINTS = 96
DISTANCE_MAP_SIZE = 128
MIN_CONFIDENCE = 0.2
"""Landmarks below this confidence are hidden, or outside the picture: the network guesses them."""
GUESS_SIGMA = 0.15
"""Sigma of such guesses, in person sizes. Weak, but without them nothing keeps unseen legs out of the picture."""

_FACE, _HANDS, _HIPS, _FEET = range(11), range(17, 23), (23, 24), range(29, 33)
LANDMARK_MISMATCH = np.full(33, 0.012)
"""Sigma of what body and detector mean by the same landmark, in person sizes."""
LANDMARK_MISMATCH[list(_FACE)] = 0.010
LANDMARK_MISMATCH[list(_HANDS)] = 0.025
LANDMARK_MISMATCH[list(_HIPS)] = 0.022
LANDMARK_MISMATCH[list(_FEET)] = 0.018


@dataclass(frozen=True)
class Evidence:
    """Observations of B people in one image, all in continuous image pixels unless said otherwise."""

    K: Float[Tensor, "B 3 3"]
    """Intrinsics."""
    landmarks_px: Float[Tensor, "B 33 2"]
    """Detected landmarks."""
    landmark_sigma_px: Float[Tensor, "B 33"]
    """One sigma of each landmark; infinite where nothing is known of it."""
    seen: Bool[Tensor, "B 33"]
    """Whether each landmark was seen, and not guessed."""
    size_px: Float[Tensor, "B"]
    """Size of the person in the picture: the long side of the box of the visible landmarks."""
    world_m: Float[Tensor, "B 33 3"]
    """The landmark network's own 3D guess, hip-centred, axes of a camera that looks at the person."""
    score: Float[Tensor, "B"]
    """How well each person was seen, 0 to 1: mean confidence of the landmarks inside the picture."""
    outside_map: Float[Tensor, "B S S"]
    """Distance to the person's mask in map cells, 0 inside."""
    map_from_image: Float[Tensor, "B 3 3"]
    """Image pixels to cells of ``outside_map``."""
    outline_px: Float[Tensor, "B O 2"]
    """Points on the mask's outline; NaN where there are fewer."""
    outline_normal: Float[Tensor, "B O 2"]
    """Outward unit normals there."""
    has_mask: Bool[Tensor, "B"]
    """Whether there is a usable mask."""
    known_height_m: Float[Tensor, "B"]
    """Stature given by the user; NaN where none was."""
    known_depth_m: Float[Tensor, "B"]
    """z-depth of the pelvis fixed by a known length; NaN where none was."""
    expected_m: Float[Tensor, "B 33 3"]
    """Where a network expects the landmarks relative to the middle of the hips, camera axes."""
    expected_sigma_m: Float[Tensor, "B 33"]
    """One sigma (per axis) of that; infinite where there is no network."""

    def __getitem__(self, index: Tensor) -> Evidence:
        """Select (or repeat) people."""
        return Evidence(**{f.name: getattr(self, f.name)[index] for f in fields(self)})


@dataclass(frozen=True)
class MaskEvidence:
    """Outline and distance map of one person's mask."""

    outside_map: np.ndarray
    map_from_image: np.ndarray
    outline_px: np.ndarray
    outline_normal: np.ndarray
    usable: bool


def mask_evidence(
    probability: Float[np.ndarray, "C C"], image_from_crop: Float[np.ndarray, "3 3"], image_size: tuple[int, int]
) -> MaskEvidence:
    """Distance map and outline of one mask.

    Args:
        probability: per-pixel probability of being the person, over an (upright, possibly turned) crop.
        image_from_crop: continuous crop pixels to continuous image pixels.
        image_size: (width, height): outline points on the picture's border are no evidence of the body's border.
    """
    size = DISTANCE_MAP_SIZE
    small = cv2.resize(probability.astype(np.float32), (size, size), interpolation=cv2.INTER_AREA)
    inside = (small > 0.5).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(inside, connectivity=4)
    scale = size / probability.shape[0]
    map_from_crop = np.diag([scale, scale, 1.0])
    map_from_image = map_from_crop @ np.linalg.inv(image_from_crop)
    empty_points = np.full((OUTLINE_POINTS, 2), np.nan, np.float32)
    if count < 2 or stats[1:, cv2.CC_STAT_AREA].max() < 0.01 * size * size:
        return MaskEvidence(np.zeros((size, size), np.float32), map_from_image, empty_points, empty_points, False)
    # Islands are other people's hands or noise: the largest piece is the person, others of some size may be limbs.
    areas = stats[1:, cv2.CC_STAT_AREA]
    kept = 1 + np.flatnonzero(areas > 0.1 * areas.max())
    inside = np.isin(labels, kept).astype(np.uint8)
    outside_map = cv2.distanceTransform(1 - inside, cv2.DIST_L2, 5)

    # Sub-pixel outline: level set 0.5 of the probabilities, normals from their gradient.
    contours, _ = cv2.findContours(inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    outline = np.concatenate([c[:, 0] for c in contours]).astype(np.float64)
    smooth = cv2.GaussianBlur(inside.astype(np.float32), (0, 0), 2.0)
    gx, gy = cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)
    cells = outline.astype(int)
    normal = -np.stack([gx[cells[:, 1], cells[:, 0]], gy[cells[:, 1], cells[:, 0]]], axis=1).astype(np.float64)
    length = np.linalg.norm(normal, axis=1)
    border = (outline <= 0).any(1) | (outline >= size - 1).any(1)
    image_from_map = np.linalg.inv(map_from_image)
    points = (np.c_[outline + 0.5, np.ones(len(outline))] @ image_from_map.T)[:, :2]
    margin = 0.02 * max(image_size)
    in_picture = ((points > margin) & (points < np.array(image_size) - margin)).all(1)
    good = (length > 1e-4) & ~border & in_picture
    points, normal = points[good], (normal[good] / length[good, None]) @ image_from_map[:2, :2].T
    normal /= np.linalg.norm(normal, axis=1, keepdims=True) if len(normal) else 1.0
    chosen = np.linspace(0, len(points) - 1, OUTLINE_POINTS).round().astype(int) if len(points) else []
    if len(points) < 20:
        return MaskEvidence(outside_map, map_from_image, empty_points, empty_points, True)
    return MaskEvidence(
        outside_map, map_from_image, points[chosen].astype(np.float32), normal[chosen].astype(np.float32), True
    )


def sample_map(maps: Float[Tensor, "B S S"], at: Float[Tensor, "B N 2"]) -> tuple[Tensor, Tensor]:
    """Bilinear value (B N) and gradient (B N 2) of each map at continuous cell coordinates; edges extend outwards."""
    size = maps.shape[-1]
    position = (at - 0.5).clamp(0, size - 1.001)
    cell = position.floor().long()
    fx, fy = (position - cell).unbind(-1)
    x, y = cell.unbind(-1)
    flat = maps.flatten(1)
    v00 = flat.gather(1, y * size + x)
    v10 = flat.gather(1, y * size + x + 1)
    v01 = flat.gather(1, (y + 1) * size + x)
    v11 = flat.gather(1, (y + 1) * size + x + 1)
    top, bottom = v00 + fx * (v10 - v00), v01 + fx * (v11 - v01)
    gradient = torch.stack([(1 - fy) * (v10 - v00) + fy * (v11 - v01), bottom - top], dim=-1)
    return top + fy * (bottom - top), gradient


def gather_evidence(
    landmarks: Landmarks,
    camera: Camera,
    *,
    known_height_m: Float[np.ndarray, "N"] | None = None,
    known_depth_m: Float[np.ndarray, "N"] | None = None,
    use_mask: bool = True,
) -> Evidence:
    """Evidence of all people of one image from what the landmark network saw.

    Args:
        landmarks: of N people.
        camera: pinhole camera of the image.
        known_height_m: statures the user knows, NaN elsewhere.
        known_depth_m: z-depths of the pelvis the user knows, NaN elsewhere.
        use_mask: whether masks count.
    """
    n = len(landmarks)
    xy = landmarks.xy.astype(np.float32)
    size = np.array([person_size(xy[i], landmarks.confidence[i]) for i in range(n)], np.float32)
    # Body and detector do not mean quite the same points by their names; nothing is known better than that.
    floor = LANDMARK_MISMATCH[None] * size[:, None]
    sigma = np.hypot(landmarks.sigma_px, floor) / np.sqrt(landmarks.confidence.clip(1e-3, 1.0))
    seen = landmarks.confidence > MIN_CONFIDENCE
    sigma = np.where(seen, sigma, GUESS_SIGMA * size[:, None]).astype(np.float32)
    masks = []
    for i in range(n):
        probability = 1 / (1 + np.exp(-landmarks.mask_logits[i].clip(-30, 30)))
        image_from_crop = np.linalg.inv(landmarks.crop_from_image[i])
        masks.append(mask_evidence(probability, image_from_crop, (camera.width, camera.height)))

    def stacked(name: str) -> Tensor:
        return torch.from_numpy(np.stack([getattr(m, name) for m in masks]).astype(np.float32))

    nothing = np.full(n, np.nan)
    return Evidence(
        K=torch.from_numpy(camera.K.astype(np.float32)).expand(n, 3, 3),
        landmarks_px=torch.from_numpy(xy),
        landmark_sigma_px=torch.from_numpy(sigma),
        seen=torch.from_numpy(seen),
        size_px=torch.from_numpy(size),
        world_m=torch.from_numpy(landmarks.world.astype(np.float32)),
        score=torch.from_numpy(landmarks.score.astype(np.float32)).clamp(0, 1),
        outside_map=stacked("outside_map"),
        map_from_image=stacked("map_from_image"),
        outline_px=stacked("outline_px"),
        outline_normal=stacked("outline_normal"),
        has_mask=torch.tensor([m.usable and use_mask for m in masks]),
        known_height_m=torch.from_numpy((nothing if known_height_m is None else known_height_m).astype(np.float32)),
        known_depth_m=torch.from_numpy((nothing if known_depth_m is None else known_depth_m).astype(np.float32)),
        expected_m=torch.zeros(n, 33, 3),
        expected_sigma_m=torch.full((n, 33), torch.inf),
    )


def person_size(xy: Float[np.ndarray, "33 2"], confidence: Float[np.ndarray, "33"]) -> float:
    """Size of a person in the picture, pixels: the long side of the box of the landmarks that count."""
    seen = xy[confidence > MIN_CONFIDENCE]
    if len(seen) < 2:
        seen = xy
    return float(max((seen.max(0) - seen.min(0)).max(), 8.0))
