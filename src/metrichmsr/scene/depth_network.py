"""The embedded depth network: picture + ray map + recovered people → metric depth with a sigma, and what is far.

The encoder is the frozen backbone of the detector (MobileNetV2, trained on COCO), which the package carries anyway:
what has learned on photographs is not spoiled by training on renderings. A transformer over cells of 16 pixels sees the
whole picture, its rays and its people at once; a UNet decoder goes back to cells of 2 pixels.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from metrichmsr.hmr.transformer import Layer
from metrichmsr.people.movenet import Backbone, MoveNetMultiPose
from metrichmsr.people.weight_files import WEIGHTS_DIR, load_into
from metrichmsr.scene.network_files import read_network
from metrichmsr.scene.network_input import CANONICAL_FOCAL_PX, SceneInput
from metrichmsr.scene.unet_blocks import DoubleConv, Up

FORMAT = "metrichmsr-depth/1"
"""Changes whenever older files could no longer be read."""
STRIDE = 2
"""Input pixels per cell of the output."""
_TAPS = (2, 5, 12, 16)
_TAP_CHANNELS = (40, 48, 144, 480)
_PEOPLE_CHANNELS = 3
_MIN_LOG_SIGMA, _MAX_LOG_SIGMA = -4.0, 1.0


@dataclass(frozen=True)
class DepthConfig:
    """Sizes of the network."""

    width: int = 160
    """Of the transformer's tokens, one for every 16×16 pixels."""
    layers: int = 3
    heads: int = 5
    hidden: int = 480
    channels: tuple[int, int, int] = (80, 48, 24)
    """Of the decoder at strides 8, 4 and 2."""


@dataclass(frozen=True)
class DepthOutput:
    """Maps at half the input's size."""

    log_depth: Float[Tensor, "B h w"]
    """Logarithm of z-depth in metres."""
    log_sigma: Float[Tensor, "B h w"]
    """Logarithm of the mean absolute error expected of it (Laplace)."""
    far_logit: Float[Tensor, "B h w"]
    """Log odds that there is nothing within reach: sky, a far background."""


class DepthNetwork(nn.Module):
    """See the module.

    Args:
        config: sizes.
        backbone: the frozen encoder; it is no part of the state dict.
    """

    def __init__(self, config: DepthConfig, backbone: Backbone) -> None:
        super().__init__()
        self.config = config
        # In a tuple PyTorch does not see it: neither trained nor saved with this network.
        self._backbone = (backbone.eval().requires_grad_(False),)
        eighth, quarter, half = config.channels
        extra = 2 + _PEOPLE_CHANNELS
        self.embed = nn.Conv2d(_TAP_CHANNELS[2] + _TAP_CHANNELS[3] + extra, config.width, 1)
        self.scale = nn.Linear(2, config.width)
        self.layers = nn.ModuleList(Layer(config.width, config.heads, config.hidden) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)
        self.up8 = Up(config.width, _TAP_CHANNELS[1] + extra, eighth)
        self.up4 = Up(eighth, _TAP_CHANNELS[0] + extra, quarter)
        self.stem = DoubleConv(3 + _PEOPLE_CHANNELS, 16, stride=2)
        self.up2 = Up(quarter, 16, half)
        self.head = nn.Conv2d(half, 3, 1)
        with torch.no_grad():
            self.head.weight.mul_(0.1)
            assert self.head.bias is not None
            self.head.bias.copy_(torch.tensor([1.3, -1.0, -2.0]))

    @property
    def config_json(self) -> str:
        """The config as a file of this network carries it."""
        return json.dumps(asdict(self.config))

    @classmethod
    def build(cls, config: DepthConfig) -> DepthNetwork:
        """With the backbone of the package."""
        with torch.device("meta"):
            movenet = MoveNetMultiPose()
        load_into(movenet, WEIGHTS_DIR / "movenet_multipose.safetensors")
        return cls(config, movenet.backbone.to(memory_format=torch.channels_last))  # pyright: ignore[reportCallIssue]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> DepthNetwork:
        # What moves this network moves its backbone.
        self._backbone[0]._apply(fn, recurse)
        return super()._apply(fn, recurse)

    @torch.no_grad()
    def encode(self, image: Float[Tensor, "B 3 H W"]) -> tuple[Tensor, ...]:
        """The frozen backbone's maps at strides 4, 8, 16 and 32."""
        x = (2 * image - 1).contiguous(memory_format=torch.channels_last)
        return self._backbone[0].taps(x, _TAPS)

    def forward(self, scene: SceneInput) -> DepthOutput:
        """Depth of a batch."""
        f4, f8, f16, f32 = self.encode(scene.image)
        people = _people_channels(scene)
        x = torch.cat([f16, F.interpolate(f32, scale_factor=2.0, mode="nearest"), *_beside(scene, people, 16)], dim=1)
        x = self.embed(x)
        rows, columns = x.shape[-2:]
        # How large a pixel is on the plane z = 1: what tells a wide lens from a long one wherever a cell lies.
        size = torch.stack([scene.focal_px.log() - 5.3, people[:, 1].mean((1, 2))], dim=-1)
        tokens = x.flatten(2).transpose(1, 2) + self.scale(size)[:, None]
        for layer in self.layers:
            tokens = layer(tokens)
        x = self.norm(tokens).transpose(1, 2).unflatten(2, (rows, columns))
        x = self.up8(x, torch.cat([f8, *_beside(scene, people, 8)], dim=1))
        x = self.up4(x, torch.cat([f4, *_beside(scene, people, 4)], dim=1))
        x = self.up2(x, self.stem(torch.cat([scene.image - 0.5, people], dim=1)))
        canonical, log_sigma, far = self.head(x).float().unbind(1)
        zoom = (scene.focal_px / CANONICAL_FOCAL_PX).log()
        return DepthOutput(canonical + zoom[:, None, None], log_sigma.clamp(_MIN_LOG_SIGMA, _MAX_LOG_SIGMA), far)


def _people_channels(scene: SceneInput) -> Float[Tensor, "B 3 H W"]:
    """Canonical log depth of the anchors, their mask, and their sigma."""
    mask = scene.anchor_mask
    zoom = (scene.focal_px / CANONICAL_FOCAL_PX)[:, None, None]
    canonical = (scene.anchor_m.clamp_min(0.05) / zoom).log() - 1.3
    return torch.stack([canonical * mask, mask, scene.anchor_std * 5 * mask], dim=1)


def _beside(scene: SceneInput, people: Float[Tensor, "B 3 H W"], stride: int) -> tuple[Tensor, Tensor]:
    """Rays and people at a coarser size. Depths are averaged over the pixels that have one."""
    pooled = F.avg_pool2d(people, stride)
    share = pooled[:, 1:2].clamp_min(1e-4)
    return scene.rays(stride), torch.cat([pooled[:, :1] / share, pooled[:, 1:2], pooled[:, 2:] / share], dim=1)


def load_depth_network(path: Path, *, device: torch.device | str = "cpu") -> tuple[DepthNetwork, dict[str, str]]:
    """Read a network; evaluation mode, float32.

    Raises:
        ModelFileError: the file is missing, damaged, of another version, or not such a network.
    """

    def make(text: str) -> DepthNetwork:
        values = json.loads(text)
        return DepthNetwork.build(DepthConfig(**{**values, "channels": tuple(values["channels"])}))

    network, notes = read_network(path, FORMAT, make)
    return network.to(device).eval(), notes
