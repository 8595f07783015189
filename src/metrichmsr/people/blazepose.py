"""BlazePose GHUM heavy as a plain PyTorch module: one upright person crop in, 39 landmarks, mask and features out.

Architecture of ``pose_landmark_heavy`` (Bazarevsky et al., *BlazePose: On-device Real-time Body Pose Tracking*, 2020;
Grishchenko et al., *BlazePose GHUM Holistic*, 2022). Grids are named by their side at the 256×256 input::

    image 256 ─ stem 128 ─ grid64 ─ grid32 ─ grid16a ─ grid16b ─ grid8 ─ top
                  │          │        │                   │                │
                  │          └────────┴── FPN, 48 wide ───┴────────────────┤
                  │                        │                               │
                  └─► mask head ◄──────────┤                               │
                                           ├─► heat maps                   │
                                           └─► tower: r32 ─ r16 ─ r8 ◄─────┘ ─ r4 ─ r2 ─► landmarks, world, flag

``r16`` (16×16×192, the backbone's features added to the tower's) is what the rest of the project uses as image tokens.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from metrichmsr.people.layers import ConvAct, InvertedResidual, upsample2

CROP_SIZE = 256
"""Side of the input crop, pixels."""
NUM_LANDMARKS = 39
"""33 landmarks of the body, then mid-hip, a point on the circle around the body, and four points of the hands."""


class Stage(NamedTuple):
    """One run of inverted residuals of the backbone; its first block changes width and size."""

    channels: int
    blocks: int
    kernel: int
    stride: int
    expansions: tuple[int, ...] = ()
    """How many times the first blocks widen; all others widen six times."""


STAGES: dict[str, Stage] = {
    "grid64": Stage(channels=32, blocks=4, kernel=3, stride=2, expansions=(4, 4)),
    "grid32": Stage(channels=56, blocks=4, kernel=5, stride=2),
    "grid16a": Stage(channels=112, blocks=6, kernel=3, stride=2),
    "grid16b": Stage(channels=160, blocks=6, kernel=5, stride=1),
    "grid8": Stage(channels=272, blocks=8, kernel=5, stride=2),
}
STEM_CHANNELS = 24
TOP_CHANNELS = 6 * STAGES["grid8"].channels
PYRAMID_CHANNELS = 48
TOWER: dict[str, tuple[int, int]] = {"r32": (96, 6), "r16": (192, 7), "r8": (288, 7), "r4": (288, 7), "r2": (288, 7)}
"""Regression tower: channels, and number of blocks behind the strided one."""
FEATURES: dict[str, tuple[int, int]] = {
    "grid64": (64, 32),
    "grid32": (32, 56),
    "grid16b": (16, 160),
    "grid8": (8, 272),
    "fpn64": (64, 48),
    "r32": (32, 96),
    "r16": (16, 192),
    "r8": (8, 288),
}
"""Feature maps that can be asked for: side and channels."""


class SeparableConv(nn.Module):
    """Depthwise 3×3, then 1×1."""

    def __init__(self, channels_in: int, channels_out: int, *, stride: int = 1, act: bool = True) -> None:
        super().__init__()
        self.depthwise = ConvAct(channels_in, channels_in, 3, stride, groups=channels_in, padding="tf")
        self.pointwise = ConvAct(channels_in, channels_out, act="relu6" if act else "none")

    def forward(self, x: Float[Tensor, "B Cin H W"]) -> Float[Tensor, "B Cout h w"]:  # noqa: D102
        return self.pointwise(self.depthwise(x))


class BlazeBlock(nn.Module):
    """Separable convolution with a shortcut; a strided one max-pools it and pads it with empty channels."""

    def __init__(self, channels_in: int, channels_out: int, *, stride: int = 1) -> None:
        super().__init__()
        self.conv = SeparableConv(channels_in, channels_out, stride=stride, act=False)
        self.stride = stride
        self.new_channels = channels_out - channels_in

    def forward(self, x: Float[Tensor, "B Cin H W"]) -> Float[Tensor, "B Cout h w"]:  # noqa: D102
        shortcut = F.max_pool2d(x, 2) if self.stride == 2 else x
        if self.new_channels:
            shortcut = F.pad(shortcut, (0, 0, 0, 0, 0, self.new_channels))
        return F.relu6(self.conv(x) + shortcut, inplace=True)


class Stem(nn.Module):
    """256² RGB to 128²×24."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = ConvAct(3, STEM_CHANNELS, 3, 2)
        self.depthwise = ConvAct(STEM_CHANNELS, STEM_CHANNELS, 3, groups=STEM_CHANNELS)
        self.project = ConvAct(STEM_CHANNELS, STEM_CHANNELS, act="none")

    def forward(self, image: Float[Tensor, "B 3 256 256"]) -> Float[Tensor, "B 24 128 128"]:  # noqa: D102
        return self.project(self.depthwise(self.conv(image)))


def stage(shape: Stage, width: int) -> nn.Sequential:
    """The blocks of one stage of the backbone; ``width``: channels that come in."""
    blocks: list[nn.Module] = []
    for i in range(shape.blocks):
        hidden = width * (shape.expansions[i] if i < len(shape.expansions) else 6)
        stride = shape.stride if i == 0 else 1
        blocks.append(InvertedResidual(width, hidden, shape.channels, kernel=shape.kernel, stride=stride))
        width = shape.channels
    return nn.Sequential(*blocks)


class Backbone(nn.Module):
    """Stem and five stages of inverted residuals."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = Stem()
        width = STEM_CHANNELS
        for name, shape in STAGES.items():
            self.add_module(name, stage(shape, width))
            width = shape.channels
        self.top = nn.Sequential(
            ConvAct(width, TOP_CHANNELS), ConvAct(TOP_CHANNELS, TOP_CHANNELS, 3, groups=TOP_CHANNELS)
        )

    def forward(self, image: Float[Tensor, "B 3 256 256"]) -> dict[str, Tensor]:
        """Feature maps by name: ``stem``, the stages, ``top``."""
        maps = {"stem": self.stem(image)}
        x = maps["stem"]
        for name in STAGES:
            x = maps[name] = self.get_submodule(name)(x)
        maps["top"] = self.top(x)
        return maps


class Pyramid(nn.Module):
    """Feature pyramid from 8² up to 64², 48 channels throughout; returns its finest map."""

    def __init__(self) -> None:
        super().__init__()
        self.lateral64 = SeparableConv(STAGES["grid64"].channels, PYRAMID_CHANNELS)
        self.lateral32 = SeparableConv(STAGES["grid32"].channels, PYRAMID_CHANNELS)
        self.lateral16 = SeparableConv(STAGES["grid16b"].channels, PYRAMID_CHANNELS)
        self.lateral8 = SeparableConv(TOP_CHANNELS, PYRAMID_CHANNELS)

    def forward(self, maps: dict[str, Tensor]) -> Float[Tensor, "B 48 64 64"]:  # noqa: D102
        x = upsample2(self.lateral8(maps["top"])) + self.lateral16(maps["grid16b"])
        x = upsample2(x) + self.lateral32(maps["grid32"])
        return upsample2(x) + self.lateral64(maps["grid64"])


class MaskHead(nn.Module):
    """Person mask, from the pyramid and the stem, eight channels wide."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.from_stem = SeparableConv(STEM_CHANNELS, width)
        self.from_pyramid = SeparableConv(PYRAMID_CHANNELS, width)
        self.refine128 = nn.Sequential(BlazeBlock(width, width), BlazeBlock(width, width))
        self.refine256 = nn.Sequential(BlazeBlock(width, width), BlazeBlock(width, width))
        self.logits = ConvAct(width, 1, 3, act="none")

    def forward(
        self, stem: Float[Tensor, "B 24 128 128"], fpn64: Float[Tensor, "B 48 64 64"]
    ) -> Float[Tensor, "B 256 256"]:
        """Logits of "this pixel shows the person"."""
        x = self.refine128(upsample2(self.from_pyramid(fpn64)) + self.from_stem(stem))
        return self.logits(self.refine256(upsample2(x))).squeeze(1)


class RegressionTower(nn.Module):
    """From the pyramid's finest map down to 2²; the backbone's own features join at 32², 16² and 8²."""

    def __init__(self) -> None:
        super().__init__()
        width = PYRAMID_CHANNELS
        for name, (channels, blocks) in TOWER.items():
            down = BlazeBlock(width, channels, stride=2)
            self.add_module(name, nn.Sequential(down, *(BlazeBlock(channels, channels) for _ in range(blocks))))
            width = channels
        self.lateral32 = SeparableConv(STAGES["grid32"].channels, TOWER["r32"][0])
        self.lateral16 = SeparableConv(STAGES["grid16b"].channels, TOWER["r16"][0])
        self.lateral8 = SeparableConv(TOP_CHANNELS, TOWER["r8"][0])

    def forward(self, fpn64: Float[Tensor, "B 48 64 64"], maps: dict[str, Tensor]) -> dict[str, Tensor]:
        """Feature maps by name, finest first."""
        laterals = {
            "r32": (self.lateral32, maps["grid32"]),
            "r16": (self.lateral16, maps["grid16b"]),
            "r8": (self.lateral8, maps["top"]),
        }
        x, out = fpn64, {}
        for name in TOWER:
            x = self.get_submodule(name)(x)
            if name in laterals:
                lateral, features = laterals[name]
                x = x + lateral(features)
            out[name] = x
        return out


@dataclass(frozen=True)
class BlazePoseOutput:
    """Raw output for a batch of crops. Crop pixels are those of the 256×256 input."""

    landmarks: Float[Tensor, "B 39 3"]
    """x and y in crop pixels, z at the same scale (towards the camera negative, mid-hip 0)."""
    visibility_logits: Float[Tensor, "B 39"]
    """Logits of "not hidden"."""
    presence_logits: Float[Tensor, "B 39"]
    """Logits of "inside the crop"."""
    flag_logits: Float[Tensor, "B"]
    """Logit of "the crop shows a person"."""
    world: Float[Tensor, "B 39 3"]
    """Metres from mid-hip, axes of the crop: x right, y down, z forward."""
    heatmap_logits: Float[Tensor, "B 39 64 64"]
    """Logits per cell of four crop pixels."""
    mask_logits: Float[Tensor, "B 256 256"] | None
    """Logits of "this pixel shows the person", where asked for."""
    features: dict[str, Tensor] = field(default_factory=dict)
    """The feature maps asked for."""


class BlazePoseHeavy(nn.Module):
    """The whole network. 13.7 million weights, 1.9 GMAC."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = Backbone()
        self.pyramid = Pyramid()
        self.mask_head = MaskHead()
        self.heatmap_head = ConvAct(PYRAMID_CHANNELS, NUM_LANDMARKS, act="none")
        self.tower = RegressionTower()
        width = TOWER["r2"][0]
        self.landmark_head = ConvAct(width, 5 * NUM_LANDMARKS, 2, act="none", padding="valid")
        self.world_head = ConvAct(width, 3 * NUM_LANDMARKS, 2, act="none", padding="valid")
        self.flag_head = ConvAct(width, 1, 2, act="none", padding="valid")

    def forward(
        self, crops: Float[Tensor, "B 3 256 256"], *, mask: bool = True, features: Iterable[str] = ()
    ) -> BlazePoseOutput:
        """Run a batch of crops.

        Args:
            crops: RGB in [0, 1].
            mask: whether to run the mask head (a sixth of the time).
            features: names from :data:`FEATURES` to return.
        """
        maps = self.backbone(crops)
        maps["fpn64"] = self.pyramid(maps)
        maps.update(self.tower(maps["fpn64"], maps))
        points = self.landmark_head(maps["r2"]).reshape(-1, NUM_LANDMARKS, 5)
        return BlazePoseOutput(
            landmarks=points[..., :3],
            visibility_logits=points[..., 3],
            presence_logits=points[..., 4],
            flag_logits=self.flag_head(maps["r2"]).reshape(-1),
            world=self.world_head(maps["r2"]).reshape(-1, NUM_LANDMARKS, 3),
            heatmap_logits=self.heatmap_head(maps["fpn64"]),
            mask_logits=self.mask_head(maps["stem"], maps["fpn64"]) if mask else None,
            features={name: maps[name] for name in features},
        )
