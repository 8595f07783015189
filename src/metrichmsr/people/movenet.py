"""MoveNet MultiPose as a plain PyTorch module, and our decoding of its maps.

Architecture of Google's ``movenet/multipose/lightning``: MobileNetV2 at 1.5 times the width (Sandler et al. 2018), a
small feature pyramid to a quarter of the input's size, and CenterNet's heads (Zhou et al., *Objects as Points*, 2019).
The published graph keeps six people; :func:`decode` keeps as many as there are peaks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from metrichmsr.people.layers import ConvAct, InvertedResidual, upsample2

STRIDE = 4
"""Input pixels per cell of the output maps."""
SIZE_MULTIPLE = 32
"""Height and width of the input must be multiples of this."""
NUM_KEYPOINTS = 17

BACKBONE: tuple[tuple[int, int, int], ...] = ((40, 2, 2), (48, 3, 2), (96, 4, 2), (144, 3, 1), (240, 3, 2), (480, 1, 1))
"""MobileNetV2's stages behind its first block: channels, blocks, stride of the first. All widen six times."""
PYRAMID_TAPS = (2, 5, 9)
"""Blocks (counted from 1) whose output the pyramid reads: strides 4, 8 and 16 (of stride 16 not the last)."""
HEADS: dict[str, int] = {
    "center": 1,
    "box_scale": 2,
    "box_offset": 2,
    "keypoint_heatmap": NUM_KEYPOINTS,
    "keypoint_regression": 2 * NUM_KEYPOINTS,
    "keypoint_offset": 2 * NUM_KEYPOINTS,
}
"""Output channels of each head. Pairs are (y, x), as in the published graph."""


class Backbone(nn.Module):
    """MobileNetV2 ×1.5; returns the maps at strides 4, 8, 16 and 32."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvAct(3, 48, 3, 2, padding="tf")
        self.stem_depthwise = ConvAct(48, 48, 3, groups=48)
        self.stem_project = ConvAct(48, 24, act="none")
        self.blocks = nn.ModuleList()
        width = 24
        for channels, blocks, stride in BACKBONE:
            for i in range(blocks):
                step = stride if i == 0 else 1
                self.blocks.append(InvertedResidual(width, 6 * width, channels, stride=step, padding="tf"))
                width = channels
        self.top = ConvAct(width, 1280)

    def forward(self, x: Float[Tensor, "B 3 H W"]) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # noqa: D102
        x = self.stem_project(self.stem_depthwise(self.stem(x)))
        maps = []
        for number, block in enumerate(self.blocks, start=1):
            x = block(x)
            if number in PYRAMID_TAPS:
                maps.append(x)
        return maps[0], maps[1], maps[2], self.top(x)

    def taps(self, x: Float[Tensor, "B 3 H W"], after: Sequence[int]) -> tuple[Tensor, ...]:
        """The maps behind some of the blocks, counted from 1, for other networks that start from these features.

        Args:
            x: RGB in [-1, 1]; height and width multiples of 32.
            after: numbers of the blocks, rising.
        """
        x = self.stem_project(self.stem_depthwise(self.stem(x)))
        maps = []
        for number, block in enumerate(self.blocks, start=1):
            x = block(x)
            if number in after:
                maps.append(x)
        return tuple(maps)


class MergeConv(nn.Module):
    """Depthwise 3×3 without bias, 1×1, ReLU: TensorFlow's separable convolution."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.depthwise = ConvAct(channels_in, channels_in, 3, groups=channels_in, act="none", bias=False)
        self.pointwise = ConvAct(channels_in, channels_out, act="relu")

    def forward(self, x: Float[Tensor, "B Cin H W"]) -> Float[Tensor, "B Cout H W"]:  # noqa: D102
        return self.pointwise(self.depthwise(x))


class Pyramid(nn.Module):
    """Stride 32 to stride 4, 24 channels at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.lateral4 = ConvAct(40, 24, act="none")
        self.lateral8 = ConvAct(48, 32, act="none")
        self.lateral16 = ConvAct(96, 64, act="none")
        self.lateral32 = ConvAct(1280, 64, act="none")
        self.merge16 = MergeConv(64, 32)
        self.merge8 = MergeConv(32, 24)
        self.merge4 = MergeConv(24, 24)

    def forward(self, x4: Tensor, x8: Tensor, x16: Tensor, x32: Tensor) -> Float[Tensor, "B 24 h w"]:  # noqa: D102
        x = self.merge16(upsample2(self.lateral32(x32)) + self.lateral16(x16))
        x = self.merge8(upsample2(x) + self.lateral8(x8))
        return self.merge4(upsample2(x) + self.lateral4(x4))


class Head(nn.Module):
    """One separable convolution to 96 channels, then 1×1."""

    def __init__(self, channels_out: int) -> None:
        super().__init__()
        self.merge = MergeConv(24, 96)
        self.out = ConvAct(96, channels_out, act="none")

    def forward(self, x: Float[Tensor, "B 24 h w"]) -> Float[Tensor, "B C h w"]:  # noqa: D102
        return self.out(self.merge(x))


class MoveNetMultiPose(nn.Module):
    """The whole network. 4.7 million weights."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = Backbone()
        self.pyramid = Pyramid()
        self.heads = nn.ModuleDict({name: Head(channels) for name, channels in HEADS.items()})

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> dict[str, Float[Tensor, "B C H/4 W/4"]]:
        """Maps of all heads.

        Args:
            images: RGB in [0, 1]; height and width multiples of 32.
        """
        x = self.pyramid(*self.backbone(2.0 * images - 1.0))
        return {name: head(x) for name, head in self.heads.items()}


@dataclass(frozen=True)
class MoveNetPeople:
    """People of one image. Pixels are continuous pixels of the network's input."""

    boxes: Float[Tensor, "N 4"]
    """x0, y0, x1, y1 as predicted, not clipped."""
    scores: Float[Tensor, "N"]
    """Centre probability times the mean confidence of the keypoints found, as in the published graph."""
    keypoints: Float[Tensor, "N 17 3"]
    """COCO-17: x, y, confidence."""


def decode(maps: dict[str, Float[Tensor, "C h w"]], *, max_people: int = 50, min_center: float = 0.05) -> MoveNetPeople:
    """People from the maps of one image.

    A person is a peak of the centre map. Each keypoint is where the heat map, weighted by a Gaussian around the place
    regressed from the centre and cut to the person's box, is highest, plus the sub-cell offset there.

    Args:
        maps: what :meth:`MoveNetMultiPose.forward` gives, one image of the batch.
        max_people: keep at most this many, strongest centres first.
        min_center: peaks below this centre probability are dropped.
    """
    center = maps["center"][0].sigmoid()
    height, width = center.shape
    peaks = center * (F.max_pool2d(center[None], 5, 1, 2)[0] == center)
    strength, index = peaks.flatten().topk(min(max_people, peaks.numel()))
    strength, index = strength[strength > min_center], index[strength > min_center]
    row, column = index // width, index % width

    size = maps["box_scale"][:, row, column].clamp_min(0)
    middle = maps["box_offset"][:, row, column] + torch.stack([row, column])
    low, high = middle - size / 2, middle + size / 2
    boxes = torch.cat([low.flip(0), high.flip(0)]).T

    rows = torch.arange(height, device=center.device, dtype=center.dtype)
    columns = torch.arange(width, device=center.device, dtype=center.dtype)
    regressed = maps["keypoint_regression"][:, row, column].reshape(NUM_KEYPOINTS, 2, -1)  # (17, yx, N)
    near_row = torch.exp(-((rows - (regressed[:, 0] + row)[..., None]) ** 2) / (0.3 * min(height, width)))
    near_column = torch.exp(-((columns - (regressed[:, 1] + column)[..., None]) ** 2) / (0.3 * min(height, width)))
    near_row = near_row * ((rows >= low[0, :, None].clamp_min(0)) & (rows < high[0, :, None]))
    near_column = near_column * ((columns >= low[1, :, None].clamp_min(0)) & (columns < high[1, :, None]))
    heat = maps["keypoint_heatmap"].sigmoid()
    weighted = heat[:, None] * near_row[..., :, None] * near_column[..., None, :]  # (17, N, h, w)
    confidence, best = weighted.flatten(2).max(-1)
    best_row, best_column = best // width, best % width
    joint = torch.arange(NUM_KEYPOINTS, device=center.device)[:, None]
    offset = maps["keypoint_offset"].reshape(NUM_KEYPOINTS, 2, height, width)[joint, :, best_row, best_column]
    x, y = best_column + offset[..., 1], best_row + offset[..., 0]
    found = confidence > 0.127  # the published graph's threshold
    quality = (confidence * found).sum(0) / found.sum(0).clamp_min(1)
    return MoveNetPeople(
        boxes=STRIDE * boxes,
        scores=strength * quality,
        keypoints=torch.stack([STRIDE * x, STRIDE * y, confidence], dim=-1).transpose(0, 1).contiguous(),
    )
