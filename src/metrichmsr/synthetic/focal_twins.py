"""Focal twins: the same people, framed alike, at another focal length.

The camera keeps its direction and slides along its optical axis, so that one point of the subject stays at its pixel
and focal length over depth stays what it was: it is as large as before, and only perspective tells the twins apart.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from metrichmsr.synthetic.cameras import Cameras


def twins(
    cameras: Cameras, anchor_m: Float[Tensor, "S 3"], fovs_deg: Float[Tensor, "T"] | Float[Tensor, "S T"]
) -> Cameras:
    """The cameras' twins at T fields of view: S·T cameras, those of a shot together.

    Principal point and picture size stay.

    Args:
        cameras: of S shots; square pixels are not needed, the ratio of both focal lengths stays.
        anchor_m: the point that keeps pixel and scale (the subject's pelvis), world, metres; before the camera.
        fovs_deg: horizontal fields of view, degrees: the angles on both sides of the principal point together.

    Raises:
        ValueError: a field of view is not between 0 and 180 degrees, or not to be had with the principal point where
            it is (see :func:`fov_possible`).
    """
    wanted = torch.as_tensor(fovs_deg, dtype=cameras.K.dtype, device=cameras.K.device)
    if not bool(((wanted > 0) & (wanted < 180)).all()):
        raise ValueError(f"fields of view must be between 0 and 180 degrees, not {wanted.tolist()}")
    shots = len(cameras.K)
    wanted = wanted.expand(shots, -1)
    count = wanted.shape[1]
    K = cameras.K.repeat_interleave(count, dim=0)
    width = cameras.width.repeat_interleave(count)
    matrix = cameras.camera_from_world.repeat_interleave(count, dim=0)
    anchor = anchor_m.repeat_interleave(count, dim=0)
    if not bool(fov_possible(wanted.reshape(-1), width.to(K), K[:, 0, 2]).all()):
        raise ValueError(f"no focal length sees {wanted.tolist()} degrees with a principal point outside the picture")
    focal = focal_of_fov(wanted.reshape(-1), width.to(K), K[:, 0, 2])
    factor = focal / K[:, 0, 0]
    depth = (matrix[:, 2, :3] * anchor).sum(-1) + matrix[:, 2, 3]
    moved = matrix.clone()
    moved[:, 2, 3] += depth * (factor - 1)
    # x/z shrinks as the depth grows and the focal length undoes it: sideways nothing moves.
    K = K.clone()
    K[:, :2, :2] = K[:, :2, :2] * factor[:, None, None]
    return Cameras(K=K, width=width, height=cameras.height.repeat_interleave(count), camera_from_world=moved)


def focal_of_fov(fov_deg: Float[Tensor, "B"], width: Float[Tensor, "B"], cx: Float[Tensor, "B"]) -> Float[Tensor, "B"]:
    """Focal length in pixels whose angles left and right of the principal point add up to a field of view.

    atan(cx/f) + atan((w − cx)/f) = φ is f² − f·w/tan φ − cx·(w − cx) = 0.
    """
    half = 0.5 * width / torch.tan(torch.deg2rad(fov_deg))
    return half + (half.square() + cx * (width - cx)).clamp_min(0).sqrt()


def fov_possible(fov_deg: Float[Tensor, "B"], width: Float[Tensor, "B"], cx: Float[Tensor, "B"]) -> Bool[Tensor, "B"]:
    """Whether some focal length has this field of view: from a principal point beside the picture not every angle is.

    With cx outside [0, w] both angles have opposite signs, and their sum has a greatest value below 90 degrees.
    """
    half = 0.5 * width / torch.tan(torch.deg2rad(fov_deg))
    return (half.square() + cx * (width - cx) >= 0) & (focal_of_fov(fov_deg, width, cx) > 0)


def twins_possible(
    cameras: Cameras,
    points_m: Float[Tensor, "S N 3"],
    *,
    nearest_m: float = 0.25,
    height_m: tuple[float, float] = (0.1, 30.0),
) -> Bool[Tensor, "S"]:
    """Which cameras are above the ground, not too high, and not too near to anybody.

    Args:
        cameras: of S shots (twins included).
        points_m: points of everybody's skin in each of these shots, world, metres.
        nearest_m: least distance of the camera, and least depth of points in front of it.
        height_m: least and greatest height of the camera.
    """
    position = cameras.position_m
    distance = (points_m - position[:, None]).norm(dim=-1).amin(1)
    above = (position[:, 1] >= height_m[0]) & (position[:, 1] <= height_m[1])
    return above & (distance >= nearest_m)
