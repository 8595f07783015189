"""The refinement network (paper §5): UNet encoder – ViT – UNet decoder → per-pixel scale s(x) and shift b(x).

    ẑ(x) = s(x)·z_in(x) + b(x)

It sees the picture, the initial depth z_in, the anchor depth z_hmr of the recovered people with its mask M_a, and the
ray map. (ours) The field is predicted around the closed form (:mod:`metrichmsr.scene.closed_form`), in units of the
picture's median depth: an untrained network gives the closed form, and depth of any unit and scale looks alike to it.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from metrichmsr.hmr.transformer import Layer
from metrichmsr.scene.network_files import read_network
from metrichmsr.scene.network_input import CANONICAL_FOCAL_PX, SceneInput
from metrichmsr.scene.unet_blocks import DoubleConv, Up

FORMAT = "metrichmsr-refine/1"
"""Changes whenever older files could no longer be read."""
STRIDE = 4
"""Input pixels per cell of s and b; in between they are interpolated: smooth by construction."""
_IN = 3 + 2 + 3 + 1 + 2
_MAX_LOG_SCALE, _MAX_SHIFT = 0.8, 0.6
_MIN_M = 0.05


@dataclass(frozen=True)
class RefineConfig:
    """Sizes of the network."""

    channels: tuple[int, int, int, int] = (16, 32, 64, 128)
    """Of the UNet at strides 2, 4, 8 and 16; the last is the width of the ViT's tokens."""
    layers: int = 3
    """Of the ViT."""
    heads: int = 4
    hidden: int = 384


@dataclass(frozen=True)
class AffineField:
    """s(x) and b(x) at the input's size, and what they make of the initial depth."""

    scale: Float[Tensor, "B H W"]
    """s(x)."""
    shift_m: Float[Tensor, "B H W"]
    """b(x), metres."""
    depth_m: Float[Tensor, "B H W"]
    """ẑ = s·z_in + b; meaningless where z_in is not known."""
    log_scale: Float[Tensor, "B h w"]
    """log s over the closed form's, on the network's own grid: what the smoothness losses look at."""
    relative_shift: Float[Tensor, "B h w"]
    """b minus the closed form's, over the median depth, on that grid."""


class RefinementNetwork(nn.Module):
    """See the module."""

    def __init__(self, config: RefineConfig) -> None:
        super().__init__()
        self.config = config
        c2, c4, c8, c16 = config.channels
        self.down2 = DoubleConv(_IN, c2, stride=2)
        self.down4 = DoubleConv(c2, c4, stride=2)
        self.down8 = DoubleConv(c4, c8, stride=2)
        self.down16 = DoubleConv(c8, c16, stride=2)
        self.whole = nn.Linear(4, c16)
        self.layers = nn.ModuleList(Layer(c16, config.heads, config.hidden) for _ in range(config.layers))
        self.norm = nn.LayerNorm(c16)
        self.up8 = Up(c16, c8, c8)
        self.up4 = Up(c8, c4, c4)
        self.head = nn.Conv2d(c4, 2, 1)
        nn.init.zeros_(self.head.weight)
        assert self.head.bias is not None
        nn.init.zeros_(self.head.bias)

    @property
    def config_json(self) -> str:
        """The config as a file of this network carries it."""
        return json.dumps(asdict(self.config))

    def forward(
        self,
        scene: SceneInput,
        initial: Float[Tensor, "B H W"],
        known: Bool[Tensor, "B H W"],
        closed_form: Float[Tensor, "B 2"],
    ) -> AffineField:
        """The affine field of a batch.

        Args:
            scene: picture, intrinsics, anchors.
            initial: z_in, in any unit; what it holds where it is not known does not matter.
            known: where it is known.
            closed_form: scale and shift (metres) of the closed form.
        """
        scale, shift = closed_form[:, 0, None, None], closed_form[:, 1, None, None]
        filled = torch.where(known, initial, 1.0)
        start = (scale * filled + shift).clamp_min(_MIN_M)
        median = _median(start, known)[:, None, None]
        log_depth = torch.where(known, (start / median).log().clamp(-3, 3), 0.0)
        mask = scene.anchor_mask * known
        gap = (scene.anchor_m.clamp_min(_MIN_M) / start).log().clamp(-1.5, 1.5) * mask
        channels = [
            scene.image - 0.5,
            log_depth[:, None],
            known[:, None].float(),
            gap[:, None],
            mask[:, None],
            scene.anchor_std[:, None] * 5 * mask[:, None],
            # How the depth runs along the surface: walls and floors show whether it is bent.
            _slope(log_depth, known)[:, None],
            scene.rays(),
        ]
        x2 = self.down2(torch.cat(channels, dim=1))
        x4 = self.down4(x2)
        x8 = self.down8(x4)
        x16 = self.down16(x8)
        rows, columns = x16.shape[-2:]
        tokens = x16.flatten(2).transpose(1, 2) + self.whole(_summary(scene, median, mask, gap))[:, None]
        for layer in self.layers:
            tokens = layer(tokens)
        x = self.norm(tokens).transpose(1, 2).unflatten(2, (rows, columns))
        x = self.up4(self.up8(x, x8), x4)
        log_scale, relative_shift = self.head(x).float().unbind(1)
        log_scale = _MAX_LOG_SCALE * torch.tanh(log_scale / _MAX_LOG_SCALE)
        relative_shift = _MAX_SHIFT * torch.tanh(relative_shift / _MAX_SHIFT)
        size = scene.image.shape[-2:]
        change, offset = (_enlarged(values, size) for values in (log_scale, relative_shift))
        # ẑ = e^Δ·(scale·z + shift) + Δb·median, which is affine in z.
        s = change.exp() * scale
        b = change.exp() * shift + offset * median
        return AffineField(
            scale=s,
            shift_m=b,
            depth_m=(s * filled + b).clamp_min(_MIN_M),
            log_scale=log_scale,
            relative_shift=relative_shift,
        )


def _enlarged(values: Float[Tensor, "B h w"], size: torch.Size) -> Float[Tensor, "B H W"]:
    return F.interpolate(values[:, None], size=tuple(size), mode="bilinear", align_corners=False)[:, 0]


def _median(values: Float[Tensor, "B H W"], known: Bool[Tensor, "B H W"]) -> Float[Tensor, "B"]:
    """Of the known ones; 1 where there are none."""
    return torch.where(known, values, torch.nan).flatten(1).nanmedian(dim=1).values.nan_to_num(nan=1.0)


def _slope(log_depth: Float[Tensor, "B H W"], known: Bool[Tensor, "B H W"]) -> Float[Tensor, "B H W"]:
    down = F.pad(log_depth[:, 1:] - log_depth[:, :-1], (0, 0, 0, 1))
    both = F.pad((known[:, 1:] & known[:, :-1]).float(), (0, 0, 0, 1))
    return (down * both * 20).clamp(-2, 2)


def _summary(
    scene: SceneInput, median: Float[Tensor, "B 1 1"], mask: Float[Tensor, "B H W"], gap: Float[Tensor, "B H W"]
) -> Float[Tensor, "B 4"]:
    """Focal length, median depth in canonical metres, share of anchors, how far they are off on the average."""
    focal = (scene.focal_px / CANONICAL_FOCAL_PX).log()
    share = mask.mean((1, 2))
    mean_gap = gap.mean((1, 2)) / share.clamp_min(1e-3)
    return torch.stack([focal, median[:, 0, 0].log() - focal - 1.3, share, mean_gap], dim=-1)


def load_refinement_network(
    path: Path, *, device: torch.device | str = "cpu"
) -> tuple[RefinementNetwork, dict[str, str]]:
    """Read a network; evaluation mode, float32.

    Raises:
        ModelFileError: the file is missing, damaged, of another version, or not such a network.
    """

    def make(text: str) -> RefinementNetwork:
        values = json.loads(text)
        return RefinementNetwork(RefineConfig(**{**values, "channels": tuple(values["channels"])}))

    network, notes = read_network(path, FORMAT, make)
    return network.to(device).eval(), notes
