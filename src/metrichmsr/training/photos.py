"""Training samples from photographs whose people have labelled keypoints and nothing else, as those of COCO."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import UInt8

from metrichmsr.bodies.anny import AnnyBody
from metrichmsr.calibration import calibrate
from metrichmsr.datasets import KeypointFrame, KeypointPerson
from metrichmsr.hmr.crop_evidence import CROP_SIZE, evidence_from_landmarks
from metrichmsr.images import from_array
from metrichmsr.people.landmarker import Landmarker, to_landmarks
from metrichmsr.training.samples import Samples

MIN_LABELLED = 6
"""People with fewer labelled keypoints teach little."""
MIN_SIDE_PX = 40.0
"""So do those whose box is smaller than this."""
_KEYPOINT_NOISE = 0.03
"""One sigma of a detector's keypoints, as a share of the box's longer side."""


def usable(person: KeypointPerson) -> bool:
    """Whether enough is labelled of somebody, and large enough, to learn from."""
    labelled = np.isfinite(person.keypoints_px).all(1).sum()
    side = (person.box_xyxy[2:] - person.box_xyxy[:2]).max()
    return bool(labelled >= MIN_LABELLED and side >= MIN_SIDE_PX)


def samples_from_photo(
    frame: KeypointFrame, landmarker: Landmarker, body: AnnyBody, generator: np.random.Generator
) -> Samples | None:
    """Samples of the usable people of one photograph; None where there is nobody.

    Labels say where to look and what is right; the network is shown what the landmark network makes of it, as ever.

    Args:
        frame: the photograph. Where its camera is not known it is found as for a photograph to recover.
        landmarker: the frozen network.
        body: whose parameters are left open.
        generator: of detectors' mistakes.

    Raises:
        InputError: the picture cannot be read.
    """
    people = [person for person in frame.people if usable(person)]
    if not people:
        return None
    image = frame.photo.read()
    camera = frame.photo.camera or calibrate(from_array(image), sidecar=False).camera
    landmarks = _look(image, people, landmarker, generator)
    evidence, K_crop = evidence_from_landmarks(landmarks, camera.K, ray_size=16)
    assert evidence.features is not None
    assert evidence.grid32 is not None
    assert evidence.mask is not None
    assert evidence.landmarks is not None
    labels = torch.from_numpy(np.stack([person.keypoints_px for person in people])).float()
    labelled = torch.isfinite(labels).all(-1, keepdim=True)
    crop_from_image = torch.from_numpy(landmarks.crop_from_image).float()
    in_crop = torch.nan_to_num(labels) @ crop_from_image[:, :2, :2].mT + crop_from_image[:, None, :2, 2]
    place = (in_crop * (2 / CROP_SIZE) - 1) * labelled
    unknown = torch.full((len(people), len(body.driven_bones), 3), torch.nan)
    return Samples(
        features=evidence.features.half(),
        mask=evidence.mask.half(),
        landmarks=evidence.landmarks,
        K_crop=K_crop,
        pose=unknown,
        shape=unknown.new_full((len(people), len(body.shape_names)), torch.nan),
        translation_m=unknown.new_full((len(people), 3), torch.nan),
        keypoints=torch.cat([place, labelled.float()], dim=-1),
        grid32=evidence.grid32.half(),
    )


def _look(
    image: UInt8[np.ndarray, "H W 3"],
    people: Sequence[KeypointPerson],
    landmarker: Landmarker,
    generator: np.random.Generator,
):
    boxes = np.stack([person.box_xyxy for person in people])
    points = np.stack([person.keypoints_px for person in people])
    sides = (boxes[:, 2:] - boxes[:, :2]).max(1)
    noisy = points + _KEYPOINT_NOISE * sides[:, None, None] * generator.normal(size=points.shape)
    known = np.isfinite(noisy).all(-1, keepdims=True)
    keypoints = np.concatenate([np.nan_to_num(noisy), 0.8 * known], axis=-1)
    looks = landmarker.first_look(image, boxes, keypoints)
    if landmarker.thorough:
        looks = landmarker.look_again(image, boxes, keypoints, looks)
    # Labels are not joined in: they are what is to be learned.
    return to_landmarks(looks, None)
