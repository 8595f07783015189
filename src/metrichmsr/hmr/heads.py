"""Three MLP heads (paper §3.3): pose, shape, position, each with what the network thinks of its own certainty.

Convention: rotations are predicted in the **view frame**, the camera turned so that it looks through the middle of the
crop with the crop upright: a crop then looks the same wherever in the picture it was cut. The root is turned back,
exactly, by :func:`camera_from_crop`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from metrichmsr.geometry import camera_from_view, invert_intrinsics, rotation_6d_to_matrix
from metrichmsr.hmr.body_parameters import BodySizes
from metrichmsr.hmr.stature_grid import STATURES_M

_TYPICAL_EXTENT_M = 2.2
"""Metres that a person's crop spans at the person's depth: where training starts."""
_SIGMA_START = -2.0


@dataclass(frozen=True)
class HeadOutput:
    """What the heads predict for B crops."""

    rotations: Float[Tensor, "B D 3 3"]
    """Parent-relative rotations of the driven bones; the root's takes body frame to view frame."""
    shape: Float[Tensor, "B S"]
    """Shape parameters of the body model."""
    place: Float[Tensor, "B 2"]
    """The root in the crop: 0 is its middle, ±1 its edges. Unused where position is plain xyz."""
    log_extent: Float[Tensor, "B"]
    """Log of the metres that the crop spans at the root's depth."""
    xyz_m: Float[Tensor, "B 3"] | None
    """The root in the camera frame where position is plain xyz."""
    log_sigma_distance: Float[Tensor, "B"]
    """Log of one sigma of log distance."""
    log_sigma_height: Float[Tensor, "B"]
    """Log of one sigma of stature, metres."""
    log_sigma_joints: Float[Tensor, "B 17"]
    """Log of one sigma of each COCO-17 joint relative to the root, metres (mean over the axes)."""
    stature_logits: Float[Tensor, "B S"] | None = None
    """Log odds of statures on :data:`~metrichmsr.hmr.stature_grid.STATURES_M`."""


class Head(nn.Module):
    """An MLP of one hidden layer whose answer starts at a given value."""

    def __init__(self, width: int, hidden: int, start: Tensor) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, hidden)
        self.out = nn.Linear(hidden, len(start))
        nn.init.normal_(self.out.weight, std=1e-3)
        with torch.no_grad():
            self.out.bias.copy_(start)

    def forward(self, x: Float[Tensor, "B W"]) -> Float[Tensor, "B O"]:
        """The answer."""
        return self.out(nn.functional.gelu(self.up(self.norm(x))))


class Heads(nn.Module):
    """Pose, shape and position from image-level tokens.

    Args:
        width: width of all image-level tokens of a crop together.
        hidden: width inside each head.
        sizes: of the body model.
        mean_shape: shape that predictions start from.
        plain_xyz: predict the position as plain metres (ablation).
        stature_bins: tell the stature as a distribution as well.
    """

    def __init__(
        self,
        width: int,
        hidden: int,
        sizes: BodySizes,
        *,
        mean_shape: Float[Tensor, "S"],
        plain_xyz: bool,
        stature_bins: bool = False,
    ) -> None:
        super().__init__()
        self.sizes = sizes
        self.plain_xyz = plain_xyz
        # An upright body that faces the camera: Anny's and SMPL's frames differ, a network learns that at once.
        identity = torch.tensor([1.0, 0, 0, 0, 1, 0]).repeat(sizes.bones)
        sigmas = torch.full((17,), _SIGMA_START)
        self.pose = Head(width, hidden, torch.cat([identity, sigmas]))
        if sizes.limits is not None:
            low, high = torch.tensor(sizes.limits).T
            self.register_buffer("low", low, persistent=False)
            self.register_buffer("range", high - low, persistent=False)
            mean_shape = ((mean_shape - low) / (high - low)).clamp(0.02, 0.98).logit()
        self.shape = Head(width, hidden, torch.cat([mean_shape, torch.tensor([_SIGMA_START])]))
        extent = torch.tensor(_TYPICAL_EXTENT_M).log()
        start = torch.tensor([0.0, 0.0, 4.0] if plain_xyz else [0.0, 0.0, float(extent)])
        self.position = Head(width, hidden, torch.cat([start, torch.tensor([_SIGMA_START])]))
        self.stature = Head(width, hidden, torch.zeros(len(STATURES_M))) if stature_bins else None

    low: Tensor
    range: Tensor

    @torch.no_grad()
    def scale_sigmas(self, *, distance: float, height: float, joints: float) -> None:
        """Make all predicted sigmas larger by these factors (calibration)."""
        self.position.out.bias[-1] += math.log(distance)
        self.shape.out.bias[-1] += math.log(height)
        self.pose.out.bias[-17:] += math.log(joints)

    @torch.no_grad()
    def temper_statures(self, temperature: float) -> None:
        """Divide the logits of the statures' distribution by a temperature (calibration)."""
        assert self.stature is not None
        for parameter in self.stature.out.parameters():
            parameter.div_(temperature)

    def forward(self, x: Float[Tensor, "B W"]) -> HeadOutput:
        """Predictions in float32."""
        pose, shape, position = (head(x).float() for head in (self.pose, self.shape, self.position))
        rotations = rotation_6d_to_matrix(pose[:, :-17].unflatten(-1, (-1, 6)))
        values = shape[:, :-1]
        if self.sizes.limits is not None:
            values = self.low + self.range * values.sigmoid()
        return HeadOutput(
            rotations=rotations,
            shape=values,
            place=position[:, :2],
            log_extent=position[:, 2],
            xyz_m=position[:, :3] if self.plain_xyz else None,
            log_sigma_distance=position[:, 3].clamp(-6, 2),
            log_sigma_height=shape[:, -1].clamp(-6, 2),
            log_sigma_joints=pose[:, -17:].clamp(-6, 2),
            stature_logits=None if self.stature is None else self.stature(x).float(),
        )


def camera_from_crop(K_crop: Float[Tensor, "B 3 3"], crop_size: int) -> Float[Tensor, "B 3 3"]:
    """Rotation from the view frame of crops to the camera frame.

    The view looks through the crop's middle, and the crop's own down direction is its y. K_crop = (crop from image)·K
    may include a turn of the crop in the image plane.
    """
    inverse = invert_intrinsics(K_crop.double())
    middle = torch.nn.functional.normalize(inverse @ inverse.new_tensor([crop_size / 2, crop_size / 2, 1]), dim=-1)
    view = camera_from_view(middle)
    # Where the crop's right points, seen in the view: what turn about its axis is left.
    right = inverse[:, :, 0] - middle * (inverse[:, :, 0] * middle).sum(-1, keepdim=True)
    x, y = (view.transpose(1, 2) @ right[..., None]).squeeze(-1)[:, :2].unbind(-1)
    norm = (x.square() + y.square()).sqrt()  # hypot has no ONNX operation
    cos, sin, zero, one = x / norm, y / norm, torch.zeros_like(x), torch.ones_like(x)
    turn = torch.stack([cos, -sin, zero, sin, cos, zero, zero, zero, one], dim=-1).unflatten(-1, (3, 3))
    return (view @ turn).to(K_crop.dtype)


def crop_focal(K_crop: Float[Tensor, "B 3 3"]) -> Float[Tensor, "B"]:
    """Focal length of crops in crop pixels: the root of the determinant's size, whatever way the crop is turned."""
    return (K_crop[:, 0, 0] * K_crop[:, 1, 1] - K_crop[:, 0, 1] * K_crop[:, 1, 0]).abs().sqrt()


def decode_position(output: HeadOutput, K_crop: Float[Tensor, "B 3 3"], crop_size: int) -> Float[Tensor, "B 3"]:
    """The root in the camera frame, metres.

    t = z·K'⁻¹[u, v, 1]ᵀ with (u, v) the root's place in the crop and z = f'·extent / crop size (METHOD §3, ours): the
    network says how many metres the crop spans, the camera says how far away that is.
    """
    if output.xyz_m is not None:
        return output.xyz_m
    half = crop_size / 2
    pixel = torch.cat([output.place * half + half, torch.ones_like(output.place[:, :1])], dim=-1)
    ray = (invert_intrinsics(K_crop.float()) @ pixel[..., None]).squeeze(-1)
    depth = output.log_extent.clamp(-3, 5).exp() * crop_focal(K_crop.float()) / crop_size
    return ray / ray[:, 2:] * depth[:, None]
