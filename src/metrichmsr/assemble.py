"""Estimates of bodies to the people of a result, in the camera frame."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from metrichmsr.structures import Camera, Person

if TYPE_CHECKING:
    from metrichmsr.bodies.protocol import BodyModel
    from metrichmsr.hmr.estimates import BodyEstimates
    from metrichmsr.people import People

_DISTANCES_M = 0.2, 1000.0
"""Nobody nearer or farther is recognised in a photo."""


def assemble(
    people: People,
    estimates: BodyEstimates,
    camera: Camera,
    anny: BodyModel,
    other: BodyModel | None,
    warnings: list[str],
) -> tuple[Person, ...]:
    """The people of a result.

    Args:
        people: found in the picture.
        estimates: of their bodies, in the same order; Anny's.
        camera: of the picture, a pinhole.
        anny: the body model of the estimates.
        other: the model that the result is to be in, where it is not Anny.
        warnings: where to say how far its bodies are from the estimated ones, and whose distance makes no sense.
    """
    import roma

    from metrichmsr.bodies.rig import rig_of

    body, landmarks = other or anny, people.landmarks
    posed, pose, shape = estimates.body, estimates.pose, estimates.shape
    if other is not None:
        from metrichmsr.bodies.transfer import transfer

        moved = transfer(estimates.body, other)
        posed, pose, shape = moved.body, moved.pose, moved.shape
        off = 1000 * float(moved.error_m.mean())
        warnings.append(f"{body.name} was fitted to the keypoints of the Anny body: {off:.0f} mm apart on average")
    rotvecs = roma.rotmat_to_rotvec(pose).numpy().astype(np.float64)
    vertices, joints = posed.vertices_m.numpy(), posed.joints_m.numpy().astype(np.float64)
    coco = posed.coco17_m.numpy().astype(np.float64)
    faces, rig = body.faces.numpy(), rig_of(body)
    rest_pelvis = body.rest(shape).joints_m[:, 0].numpy().astype(np.float64)
    # Distance is measured in focal lengths: what the focal length is off, the distance is off as well.
    focal_part = 0.0 if camera.focal_std_px is None else camera.focal_std_px / camera.focal_px
    detected = landmarks.coco17
    persons = []
    for i in range(len(landmarks)):
        translation = joints[i, 0]
        distance = float(np.linalg.norm(translation))
        seen = detected[i, :, 2] > 0.5
        projected = coco[i] @ camera.K.T
        error = np.linalg.norm(projected[:, :2] / projected[:, 2:] - detected[i, :, :2], axis=1)
        persons.append(
            Person(
                id=i,
                score=float(people.detections.scores[i]),
                box_xyxy=np.asarray(people.detections.boxes_xyxy[i], dtype=np.float64),
                body_model=body.name,
                translation_m=translation,
                pose={name: rotvecs[i, j] for j, name in enumerate(body.bone_names)},
                shape={name: float(shape[i, k]) for k, name in enumerate(body.shape_names)},
                height_m=float(posed.height_m[i]),
                height_std_m=float(estimates.height_std_m[i]),
                distance_std_m=distance * math.hypot(float(estimates.log_depth_std[i]), focal_part),
                keypoints_2d_px=np.asarray(detected[i], dtype=np.float64),
                keypoints_3d_m=coco[i],
                vertices_m=vertices[i],
                faces=faces,
                joints_m=joints[i],
                mask=landmarks.mask(i, height=camera.height, width=camera.width),
                reprojection_px=float(np.median(error[seen])) if seen.any() else math.nan,
                rig=rig,
                rest_pelvis_m=rest_pelvis[i],
            )
        )
    odd = [person for person in persons if not _DISTANCES_M[0] <= person.distance_m <= _DISTANCES_M[1]]
    if odd:
        told = ", ".join(f"person {person.id} at {person.distance_m:.2f} m" for person in odd)
        warnings.append(
            f"implausible distance: {told}; look at the focal length ({camera.source}, {camera.focal_px:.0f} px) and "
            "at what was given as known"
        )
    return tuple(persons)
