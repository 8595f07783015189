"""Training samples from rendered shots: the frozen landmark network looks at each as it would at a photograph."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import roma
import torch
from jaxtyping import Float

from metrichmsr.bodies.anny import AnnyBody
from metrichmsr.hmr.crop_evidence import evidence_from_landmarks
from metrichmsr.people.landmarker import Landmarker, to_landmarks
from metrichmsr.people.landmarks import Landmarks
from metrichmsr.people.regions import region_from_box, region_from_keypoints
from metrichmsr.synthetic.shots import OUTSIDE, VISIBLE, Shot
from metrichmsr.training.samples import Samples

_MIN_PIXELS = 200
"""Subjects seen in fewer pixels teach nothing."""
_BOX_ALONE = 0.15
"""Share of crops cut around the box alone, as where a detector gives no keypoints."""
_KEYPOINT_NOISE = 0.03
"""One sigma of the detector's keypoints, as a share of the box's longer side."""
_BOX_NOISE = 0.06
_TURN_NOISE = 0.06
_SIZE_NOISE, _MIDDLE_NOISE = 0.095, 0.025
"""Beyond that, of the log of a region's size, and of its middle as a share of the size: scales of Student's t, by which
regions of MoveNet's keypoints on rendered people differ from the true ones. With less a network may take the
crop's edge for the truth about hands and feet."""
_SIZE_TAILS, _MIDDLE_TAILS = 5, 3
"""Degrees of freedom."""


def usable(shot: Shot) -> bool:
    """Whether the subject is seen well enough to learn from."""
    return len(shot.people) > 0 and int((shot.person_id == 0).sum()) >= _MIN_PIXELS


def landmarks_of_shots(
    shots: Sequence[Shot], landmarker: Landmarker, generator: np.random.Generator
) -> list[Landmarks]:
    """What the landmark network sees of each shot's subject, its region as wrong as a detector would have it."""
    regions = np.stack([_region(shot, generator) for shot in shots])
    looks = landmarker.look_at_each([shot.image for shot in shots], regions)
    return [to_landmarks(looks[[i]], None) for i in range(len(shots))]


def samples_from_shots(
    shots: Sequence[Shot], landmarker: Landmarker, body: AnnyBody, generator: np.random.Generator, *, looks: int = 1
) -> Samples | None:
    """Samples of the usable shots' subjects; None where there is none.

    Args:
        shots: rendered pictures; the first of their people is the subject.
        landmarker: the frozen network.
        body: tells which bones are driven.
        generator: of detectors' mistakes.
        looks: regions of each shot that are looked at, each a sample.
    """
    shots = [shot for shot in shots if usable(shot) for _ in range(looks)]
    if not shots:
        return None
    driven = [body.bone_names.index(bone) for bone in body.driven_bones]
    parts = []
    for shot, landmarks in zip(shots, landmarks_of_shots(shots, landmarker, generator), strict=True):
        evidence, K_crop = evidence_from_landmarks(landmarks, shot.K, ray_size=16)
        assert evidence.features is not None
        assert evidence.grid32 is not None
        assert evidence.mask is not None
        assert evidence.landmarks is not None
        parts.append(
            Samples(
                features=evidence.features.half(),
                mask=evidence.mask.half(),
                landmarks=evidence.landmarks,
                K_crop=K_crop,
                pose=torch.from_numpy(shot.people.pose[:1, driven]),
                shape=torch.from_numpy(shot.people.shape[:1]),
                translation_m=torch.from_numpy(shot.people.translation_m[:1]),
                up=torch.from_numpy(-shot.gravity[None]),
                grid32=evidence.grid32.half(),
            )
        )
    samples = Samples.concatenate(parts)
    finite = torch.isfinite(samples.landmarks).flatten(1).all(1) & torch.isfinite(samples.K_crop).flatten(1).all(1)
    # Rotations as vectors of at most half a turn.
    pose = roma.rotmat_to_rotvec(roma.rotvec_to_rotmat(samples.pose))
    samples = Samples(**{**vars(samples), "pose": pose})
    return samples[finite.nonzero().squeeze(1)]


def _region(shot: Shot, generator: np.random.Generator) -> Float[np.ndarray, "4"]:
    people = shot.people
    box = people.box_xyxy[0].astype(np.float64)
    side = (box[2:] - box[:2]).max()
    box = box + _BOX_NOISE * side * generator.normal(size=4)
    if (box[2:] - box[:2]).min() < 4:
        box = people.box_xyxy[0].astype(np.float64)
    if generator.random() < _BOX_ALONE:
        return region_from_box(box)
    confidence = np.select([people.visibility[0] == VISIBLE, people.visibility[0] == OUTSIDE], [0.8, 0.05], default=0.5)
    places = np.nan_to_num(people.coco17_px[0].astype(np.float64), nan=-1e3)
    places = places + _KEYPOINT_NOISE * side * generator.normal(size=places.shape)
    region = region_from_keypoints(np.concatenate([places, confidence[:, None]], axis=1), box)
    region[3] += _TURN_NOISE * generator.normal()
    # One draw of how wild it is for both coordinates of the middle: a detector errs by a little, or altogether.
    wild = np.sqrt(_MIDDLE_TAILS / generator.chisquare(_MIDDLE_TAILS))
    region[:2] += _MIDDLE_NOISE * wild * region[2] * generator.normal(size=2)
    region[2] *= np.exp(np.clip(_SIZE_NOISE * generator.standard_t(_SIZE_TAILS), -0.7, 0.7))
    return region
