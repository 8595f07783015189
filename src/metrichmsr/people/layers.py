"""Convolution blocks shared by the two person networks.

Both come from TensorFlow, where "same" padding of a strided convolution on an even input pads right and bottom only;
:class:`ConvAct` writes that as ``padding="tf"``. Batch norms are folded into the convolutions.
"""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

Activation = Literal["relu6", "relu", "none"]


class ConvAct(nn.Conv2d):
    """Convolution with bias, then an activation.

    Args:
        channels_in: input channels.
        channels_out: output channels.
        kernel: side of the square kernel.
        stride: step in both directions.
        groups: ``channels_in`` for a depthwise convolution.
        act: activation behind the bias.
        padding: ``"centered"`` pads ``kernel // 2`` on all sides; ``"tf"`` pads what TensorFlow's ``SAME`` pads on
            even inputs; ``"valid"`` pads nothing.
        bias: whether there is one.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        kernel: int = 1,
        stride: int = 1,
        *,
        groups: int = 1,
        act: Activation = "relu6",
        padding: Literal["centered", "tf", "valid"] = "centered",
        bias: bool = True,
    ) -> None:
        one_sided = padding == "tf" and stride == 2
        around = 0 if one_sided or padding == "valid" else kernel // 2
        super().__init__(channels_in, channels_out, kernel, stride, around, groups=groups, bias=bias)
        before = (kernel - stride) // 2
        self.one_sided = (before, kernel - stride - before) * 2 if one_sided else None
        self.act: Activation = act

    def forward(self, input: Float[Tensor, "B Cin H W"]) -> Float[Tensor, "B Cout h w"]:  # noqa: D102
        x = input if self.one_sided is None else F.pad(input, self.one_sided)
        x = super().forward(x)
        if self.act == "relu6":
            return F.relu6(x, inplace=True)
        if self.act == "relu":
            return F.relu(x, inplace=True)
        return x


class InvertedResidual(nn.Module):
    """MobileNetV2's block (Sandler et al. 2018): widen, depthwise, project; a shortcut where shapes allow it."""

    def __init__(
        self,
        channels_in: int,
        hidden: int,
        channels_out: int,
        *,
        kernel: int = 3,
        stride: int = 1,
        padding: Literal["centered", "tf"] = "centered",
    ) -> None:
        super().__init__()
        self.expand = ConvAct(channels_in, hidden)
        self.depthwise = ConvAct(hidden, hidden, kernel, stride, groups=hidden, padding=padding)
        self.project = ConvAct(hidden, channels_out, act="none")
        self.shortcut = stride == 1 and channels_in == channels_out

    def forward(self, x: Float[Tensor, "B Cin H W"]) -> Float[Tensor, "B Cout h w"]:  # noqa: D102
        y = self.project(self.depthwise(self.expand(x)))
        return x + y if self.shortcut else y


def upsample2(x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C 2*H 2*W"]:
    """Twice the size, bilinear with half-pixel centres."""
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
