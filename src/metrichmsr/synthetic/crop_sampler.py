"""Square crops around the subject, as loose and as wrong as detectors make them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from metrichmsr.geometry import square_box
from metrichmsr.synthetic.cameras import Cameras


@dataclass(frozen=True)
class CropJitter:
    """How a crop departs from the box around the person."""

    margin: float = 1.25
    """Median of its side as a share of the box's longer side."""
    margin_log_std: float = 0.10
    center_std: float = 0.035
    """Of the crop's side."""
    bad: float = 0.06
    """Share of bad boxes: far off, much too large, or cutting the person."""
    amodal: float = 0.3
    """Share of boxes that also hold what lies beyond the picture's edge."""
    min_side_px: float = 24.0


def person_boxes(
    cameras: Cameras, points_m: Float[Tensor, "S N 3"]
) -> tuple[Float[Tensor, "S 4"], Float[Tensor, "S 4"]]:
    """Boxes around one person in each shot, in pixels of the full picture: whole, and cut at the picture's edge.

    Args:
        cameras: of the shots.
        points_m: points of the person's skin, world; those less than 5 cm before the camera plane are left out.
    """
    rotation, shift = cameras.camera_from_world[:, :3, :3], cameras.camera_from_world[:, :3, 3]
    seen = points_m @ rotation.transpose(1, 2) + shift[:, None]
    front = seen[..., 2:] > 0.05
    homogeneous = seen @ cameras.K.transpose(1, 2)
    pixels = homogeneous[..., :2] / homogeneous[..., 2:].clamp_min(0.05)
    size = torch.stack([cameras.width, cameras.height], dim=-1).to(pixels)
    reach = 3 * size.amax(-1)[:, None]
    low = torch.where(front, pixels, float("inf")).amin(1).clamp(-reach, reach)
    high = torch.where(front, pixels, float("-inf")).amax(1).clamp(-reach, reach)
    whole = torch.cat([low, torch.maximum(high, low)], dim=-1)
    zero = torch.zeros_like(size)
    cut_low = torch.maximum(torch.minimum(low, size), zero)
    cut_high = torch.maximum(torch.minimum(high, size), cut_low)
    return whole, torch.cat([cut_low, cut_high], dim=-1)


def crop_boxes(
    cameras: Cameras,
    subject_points_m: Float[Tensor, "S N 3"],
    generator: torch.Generator,
    *,
    jitter: CropJitter | None = None,
) -> Float[Tensor, "S 4"]:
    """A square crop around each shot's subject: xyxy, continuous pixels of the full picture, which it may leave.

    The crop's intrinsics are :func:`metrichmsr.geometry.crop_intrinsics` of the cameras' K and these boxes.

    Args:
        cameras: of the shots.
        subject_points_m: points of the subjects' skins, world (a few hundred, the outermost among them).
        generator: of the CPU.
        jitter: how the crops depart from the boxes.
    """
    jitter = jitter or CropJitter()
    whole, cut = person_boxes(cameras, subject_points_m)
    shots, device = len(whole), whole.device
    u = torch.rand(4, shots, generator=generator).to(device)
    normal = torch.randn(3, shots, generator=generator).clamp_(-2.5, 2.5).to(device)
    # Never more than what two pictures hold: a leg beside the camera reaches to infinity.
    longest = 2 * torch.maximum(cameras.width, cameras.height).to(whole)
    use_whole = (u[0] < jitter.amodal) & ((whole[:, 2:] - whole[:, :2]).amax(-1) < longest)
    empty = (cut[:, 2:] - cut[:, :2]).amin(-1) <= 0
    box = square_box(torch.where((use_whole | empty)[:, None], whole, cut))
    bad = u[1] < jitter.bad
    scale = torch.exp(normal[0] * torch.where(bad, 0.35, jitter.margin_log_std))
    center = 0.5 * (box[:, :2] + box[:, 2:])
    side = (box[:, 2] - box[:, 0]) * jitter.margin * scale
    side = side.clamp_min(jitter.min_side_px)
    center = center + normal[1:].T * (torch.where(bad, 0.14, jitter.center_std) * side)[:, None]
    return torch.cat([center - side[:, None] / 2, center + side[:, None] / 2], dim=-1)
