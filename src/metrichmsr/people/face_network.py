"""Age and sex of a face: the small Xception of face-api.js as a plain PyTorch module.

Architecture of ``age_gender_model`` (V. Mühler, *face-api.js*, 2019; blocks after Chollet, *Xception: Deep Learning
with Depthwise Separable Convolutions*, CVPR 2017): 112² RGB ─ 56² ─ three reductions to 7² with two residual blocks
between, mean over all cells, one number and two classes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from metrichmsr.people.layers import ConvAct

FACE_SIZE = 112
"""Side of a face's crop, pixels."""
_MEAN = (122.782, 117.001, 104.298)


class Separable(nn.Module):
    """ReLU (unless it is left out), depthwise 3×3 without bias, then 1×1."""

    def __init__(self, channels_in: int, channels_out: int, *, act: bool = True) -> None:
        super().__init__()
        self.depthwise = ConvAct(channels_in, channels_in, 3, groups=channels_in, act="none", bias=False)
        self.pointwise = ConvAct(channels_in, channels_out, act="none")
        self.act = act

    def forward(self, x: Float[Tensor, "B Cin H W"]) -> Float[Tensor, "B Cout H W"]:  # noqa: D102
        return self.pointwise(self.depthwise(F.relu(x) if self.act else x))


class Reduction(nn.Module):
    """Two separable convolutions and a pool beside a strided 1×1."""

    def __init__(self, channels_in: int, channels_out: int, *, act: bool = True) -> None:
        super().__init__()
        self.separable = nn.Sequential(
            Separable(channels_in, channels_out, act=act), Separable(channels_out, channels_out)
        )
        self.shortcut = ConvAct(channels_in, channels_out, stride=2, act="none")

    def forward(self, x: Float[Tensor, "B Cin H W"]) -> Float[Tensor, "B Cout h w"]:  # noqa: D102
        # TensorFlow pads even inputs on the right and below only.
        wide = F.pad(self.separable(x), (0, 1, 0, 1), value=float("-inf"))
        return F.max_pool2d(wide, 3, 2) + self.shortcut(x)


class Residual(nn.Module):
    """Three separable convolutions with a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.separable = nn.Sequential(*(Separable(channels, channels) for _ in range(3)))

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:  # noqa: D102
        return x + self.separable(x)


class FaceNetwork(nn.Module):
    """The whole network, 420,000 weights."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvAct(3, 32, 3, 2, act="relu", padding="tf")
        self.entry = nn.Sequential(Reduction(32, 64, act=False), Reduction(64, 128))
        self.middle = nn.Sequential(Residual(128), Residual(128))
        self.exit = nn.Sequential(Reduction(128, 256), Separable(256, 512, act=False))
        self.age = nn.Linear(512, 1)
        self.sex = nn.Linear(512, 2)

    def forward(self, faces: Float[Tensor, "B 3 112 112"]) -> tuple[Float[Tensor, "B"], Float[Tensor, "B"]]:
        """Age in years, and the probability that the face is a man's or boy's.

        Args:
            faces: RGB from 0 to 255.
        """
        x = (faces - faces.new_tensor(_MEAN)[:, None, None]) / 256
        x = F.relu(self.exit(self.middle(self.entry(self.stem(x)))))
        x = x.mean((2, 3))
        return self.age(x).squeeze(-1), torch.softmax(self.sex(x), dim=-1)[:, 0]
