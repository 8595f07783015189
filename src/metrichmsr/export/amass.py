"""``person_<id>_amass.npz``: a body of the SMPL family in AMASS's layout, for retargeting and motion tools.

Convention: AMASS's world is z up, metres: the frame of ``scene.glb`` turned about x. ``trans`` is SMPL's own, which is
**not** the pelvis: a vertex is LBS(poses, betas) + trans with the pelvis where the model's data puts it.

| body | ``poses`` | columns |
| --- | --- | --- |
| ``smpl``, ``smplh`` | N×156 | root, 21 body joints, 15 left and 15 right hand joints; SMPL has no fingers: zero |
| ``smplx`` | N×165 | root, 21 body joints, jaw, eyes, hands; also by part: ``root_orient``, ``pose_body``… |

Source: Mahmood et al., "AMASS: Archive of Motion Capture as Surface Shapes" (2019), and its repository's notebooks.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from metrichmsr.errors import InputError, UsageError
from metrichmsr.export.atomic import atomic_file
from metrichmsr.export.frames import y_up_from_camera
from metrichmsr.export.skeleton import rotations_from_rotvecs
from metrichmsr.structures import Person, Recovery

_Z_UP_FROM_Y_UP = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
_BODY, _HANDS, _BETAS = 22, 30, 16
FAMILY = ("smpl", "smplh", "smplx")


def require_smpl(body_model: str) -> None:
    """Raise :class:`UsageError` where a body model has no place in AMASS's layout."""
    if body_model not in FAMILY:
        raise UsageError(
            f"AMASS's layout is for bodies of the SMPL family, not {body_model}: recover with --body-model smpl "
            "(or convert with --body smpl) and --body-model-dir DIR, or take npz, which holds any body"
        )


def write_people_amass(recovery: Recovery, folder: Path) -> None:
    """Write one file of one frame a person.

    Raises:
        UsageError: the bodies are not of the SMPL family.
        InputError: the body model's own pelvis is not known.
    """
    matrix = y_up_from_camera(recovery)
    for person in recovery.people:
        with atomic_file(folder / f"person_{person.id}_amass.npz") as temporary:
            np.savez(temporary, **amass_arrays([person], matrix))


def amass_arrays(
    frames: Sequence[Person], y_up_from_camera: Float[np.ndarray, "4 4"], *, fps: float = 30.0, gender: str = "neutral"
) -> dict[str, Any]:
    """One person's motion in AMASS's layout; errors as of :func:`write_people_amass`.

    Args:
        frames: the person at evenly spaced times; the first one's shape counts.
        y_up_from_camera: the camera's pose in a y-up frame, the same for all frames.
        fps: frames a second.
        gender: of the model file that the body was made with.
    """
    first = frames[0]
    require_smpl(first.body_model)
    turn = _Z_UP_FROM_Y_UP @ y_up_from_camera[:3, :3]
    shift = _Z_UP_FROM_Y_UP @ y_up_from_camera[:3, 3]
    poses, places = [], []
    for person in frames:
        if person.rest_pelvis_m is None:
            raise InputError(f"person {person.id}: AMASS's trans cannot be told without the body model's file")
        rotvecs = np.stack([np.asarray(rotvec, np.float64) for rotvec in person.pose.values()])
        rotvecs[0] = _rotvec(turn @ rotations_from_rotvecs(rotvecs[:1])[0])
        if person.body_model == "smpl":  # its two hand joints are none of SMPL-H's
            rotvecs = np.concatenate([rotvecs[:_BODY], np.zeros((_HANDS, 3))])
        poses.append(rotvecs.ravel())
        places.append(turn @ np.asarray(person.translation_m) + shift - np.asarray(person.rest_pelvis_m))
    betas = np.zeros(_BETAS)
    shape = list(first.shape.values())[:_BETAS]
    betas[: len(shape)] = shape
    pose = np.stack(poses)
    arrays: dict[str, Any] = {
        "poses": pose,
        "trans": np.stack(places),
        "betas": betas,
        "gender": np.array(gender),
        "mocap_framerate": np.array(float(fps)),
    }
    if first.body_model == "smplx":
        hands = 3 * (_BODY + 3)
        arrays |= {
            "surface_model_type": np.array("smplx"),
            "mocap_frame_rate": arrays["mocap_framerate"],
            "num_betas": np.array(_BETAS),
            "root_orient": pose[:, :3],
            "pose_body": pose[:, 3 : 3 * _BODY],
            "pose_jaw": pose[:, 3 * _BODY : 3 * _BODY + 3],
            "pose_eye": pose[:, 3 * _BODY + 3 : hands],
            "pose_hand": pose[:, hands:],
        }
    else:
        arrays["dmpls"] = np.zeros((len(pose), 8))
    return arrays


def _rotvec(rotation: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "3"]:
    import roma
    import torch

    return roma.rotmat_to_rotvec(torch.from_numpy(rotation)).numpy()
