"""Crops as image tokens: frozen BlazePose features and landmarks (small preset), or a ViTPose backbone (large)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from metrichmsr.hmr.tuned_stages import TunedStages


@dataclass(frozen=True)
class CropEvidence:
    """What is known of B person crops before the network; which parts are needed depends on the image encoder."""

    rays: Float[Tensor, "B 3 h w"]
    """Ray map of the crop at the resolution of the ray encoder, camera frame, z = 1."""
    image: Float[Tensor, "B 3 H W"] | None = None
    """The crop, RGB in [0, 1]."""
    features: Float[Tensor, "B 192 16 16"] | None = None
    """BlazePose heavy's ``r16`` features of the crop; None where they are withheld."""
    grid32: Float[Tensor, "B 56 32 32"] | None = None
    """BlazePose heavy's ``grid32`` features, from which a tuned encoder goes on; None where they are withheld."""
    landmarks: Float[Tensor, "B 33 9"] | None = None
    """Per landmark: x, y in the crop from −1 to 1; confidence; log sigma (of half crops); visibility; presence; the
    network's own 3D place (metres, see ``Landmarks.world``, turned with the crop)."""
    mask: Float[Tensor, "B 1 16 16"] | None = None
    """Probability that a cell shows the person."""
    up: Float[Tensor, "B 4"] | None = None
    """Which way is up, view frame, and how surely (:func:`~metrichmsr.hmr.gravity.gravity_inputs`); None where it is
    withheld."""

    def __getitem__(self, index: Int64[Tensor, "M"]) -> CropEvidence:
        """Some of the crops."""
        values: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        chosen: dict[str, Any] = {name: None if value is None else value[index] for name, value in values.items()}
        return CropEvidence(**chosen)


class ImageEncoder(nn.Module, ABC):
    """Crops to image tokens."""

    @abstractmethod
    def forward(self, crops: CropEvidence) -> Float[Tensor, "B N D"]:
        """Image tokens of the network's width."""


class BlazePoseTokens(ImageEncoder):
    """Tokens of frozen BlazePose: merged patches of features and mask, and one token for each landmark.

    Args:
        width: D.
        features: whether the feature map is used; landmarks alone otherwise.
        merge: features of merge × merge cells become one token.
        feature_dropout: share of crops whose features are withheld in training: landmarks must do without.
        tuned: whether later stages of the encoder are the network's own and join in
            (:class:`~metrichmsr.hmr.tuned_stages.TunedStages`).
    """

    CELLS = 16

    def __init__(
        self, *, width: int, features: bool = True, merge: int = 2, feature_dropout: float = 0.0, tuned: bool = False
    ) -> None:
        super().__init__()
        self.feature_dropout = feature_dropout
        self.embed = nn.Conv2d(193, width, merge, stride=merge) if features else None
        self.place = nn.Parameter(torch.randn((self.CELLS // merge) ** 2, width) * 0.02) if features else None
        self.tuned = TunedStages(width=width, merge=merge) if features and tuned else None
        self.landmark = nn.Sequential(nn.Linear(9, width), nn.GELU(), nn.Linear(width, width))
        self.name = nn.Parameter(torch.randn(33, width) * 0.02)

    def forward(self, crops: CropEvidence) -> Float[Tensor, "B N D"]:
        """33 landmark tokens, then feature tokens in rows (none where features are withheld)."""
        if crops.landmarks is None:
            raise ValueError("this network reads BlazePose's landmarks, and there are none")
        tokens = self.landmark(crops.landmarks) + self.name
        if self.embed is None or self.place is None:
            return tokens
        if crops.features is None or crops.mask is None:
            return tokens
        # r16 has a standard deviation of about 3.
        maps = torch.cat([crops.features / 3, crops.mask], dim=1)
        patches = self.embed(maps)
        if self.tuned is not None and crops.grid32 is not None:
            patches = patches + self.tuned(crops.grid32)
        patches = patches.flatten(2).transpose(1, 2)
        if self.training and self.feature_dropout:
            patches = patches * (torch.rand(len(patches), 1, 1, device=patches.device) >= self.feature_dropout)
        return torch.cat([tokens, patches + self.place], dim=1)


class ViTPoseTokens(ImageEncoder):
    """Tokens of a ViTPose backbone of ``transformers``, the paper's image encoder.

    Args:
        backbone: a ``VitPoseBackbone``.
        width: D.
    """

    MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

    def __init__(self, backbone: nn.Module, *, width: int) -> None:
        super().__init__()
        self.backbone = backbone
        config = backbone.config
        self.size: tuple[int, int] = tuple(config.image_size)  # pyright: ignore[reportArgumentType, reportAttributeAccessIssue]
        self.project = nn.Linear(int(config.hidden_size), width)  # pyright: ignore[reportArgumentType, reportAttributeAccessIssue]

    def forward(self, crops: CropEvidence) -> Float[Tensor, "B N D"]:
        """Patch tokens in rows."""
        if crops.image is None:
            raise ValueError("this network reads the crop's pixels, and there are none")
        mean, std = (crops.image.new_tensor(values)[:, None, None] for values in (self.MEAN, self.STD))
        # ViTPose looks at 256×192: the square crop loses an eighth on either side.
        height, width = self.size
        image = nn.functional.interpolate(crops.image, size=(height, height), mode="bilinear", antialias=True)
        left = (height - width) // 2
        pixels = (image[..., left : left + width] - mean) / std
        tokens = self.backbone(pixels).feature_maps[-1]
        return self.project(tokens if tokens.ndim == 3 else tokens.flatten(2).transpose(1, 2))
