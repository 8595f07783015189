"""AMASS archives: SMPL-H poses (``poses`` T×156, or SMPL's T×72), z up in the world."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import roma
import torch

from metrichmsr.errors import InputError
from pose_sources.motion import Y_UP_TO_Z_UP, Motion

# The first 22 joints of SMPL, SMPL-H and SMPL-X: role, parent, and where they are in the T-pose of an average body
# (y up, facing +z; metres, to a centimetre or two: only directions matter).
_JOINTS: tuple[tuple[str, int, tuple[float, float, float]], ...] = (
    ("pelvis", -1, (0.00, 0.00, 0.00)),
    ("thigh.L", 0, (0.06, -0.09, -0.01)),
    ("thigh.R", 0, (-0.06, -0.09, -0.01)),
    ("spine1", 0, (0.00, 0.11, -0.03)),
    ("shin.L", 1, (0.10, -0.47, -0.01)),
    ("shin.R", 2, (-0.10, -0.47, -0.01)),
    ("spine2", 3, (0.00, 0.25, -0.02)),
    ("foot.L", 4, (0.09, -0.87, -0.05)),
    ("foot.R", 5, (-0.09, -0.87, -0.05)),
    ("spine3", 6, (0.00, 0.30, 0.00)),
    ("toe.L", 7, (0.13, -0.93, 0.07)),
    ("toe.R", 8, (-0.13, -0.93, 0.07)),
    ("neck", 9, (0.00, 0.52, -0.03)),
    ("collar.L", 9, (0.08, 0.42, -0.02)),
    ("collar.R", 9, (-0.08, 0.42, -0.02)),
    ("head", 12, (0.00, 0.60, 0.02)),
    ("upperarm.L", 13, (0.17, 0.45, -0.03)),
    ("upperarm.R", 14, (-0.17, 0.45, -0.03)),
    ("forearm.L", 16, (0.43, 0.44, -0.06)),
    ("forearm.R", 17, (-0.43, 0.44, -0.06)),
    ("hand.L", 18, (0.68, 0.45, -0.06)),
    ("hand.R", 19, (-0.68, 0.45, -0.06)),
)


def read_amass(path: Path) -> Motion:
    """Read one clip.

    Raises:
        InputError: the file holds no SMPL poses.
    """
    try:
        with np.load(path, allow_pickle=False) as raw:
            poses = np.asarray(raw["poses"], dtype=np.float64)
            rate = float(raw["mocap_framerate"]) if "mocap_framerate" in raw else 60.0
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path}: not an AMASS archive ({error})") from error
    if poses.ndim != 2 or poses.shape[1] < 3 * len(_JOINTS) or len(poses) == 0 or not np.isfinite(poses).all():
        raise InputError(f"{path}: poses must be T×66 or wider and finite, not {poses.shape}")
    local = roma.rotvec_to_rotmat(torch.from_numpy(poses[:, : 3 * len(_JOINTS)].reshape(len(poses), -1, 3))).numpy()
    world: list[np.ndarray] = []
    for joint, (_, parent, _) in enumerate(_JOINTS):
        world.append(local[:, joint] if parent < 0 else world[parent] @ local[:, joint])
    # The world is z up already; the body at rest is y up.
    return Motion(
        name=path.stem,
        rotations={role: turn @ Y_UP_TO_Z_UP.T for (role, _, _), turn in zip(_JOINTS, world, strict=True)},
        rest_m={role: Y_UP_TO_Z_UP @ np.array(place) for role, _, place in _JOINTS},
        frame_rate=rate,
    )
