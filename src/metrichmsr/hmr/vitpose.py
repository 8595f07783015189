"""ViTPose backbones of ``transformers`` (extra ``transformers``), from weights the user has or with random ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from metrichmsr.errors import MissingPackageError, ModelFileError

if TYPE_CHECKING:
    from transformers import VitPoseBackbone

_SIZES = {"base": (768, 12, 12), "large": (1024, 24, 16), "huge": (1280, 32, 16)}
"""Width, layers, heads."""


def load_vitpose(name: str) -> VitPoseBackbone:
    """The backbone of weights that lie on the disk: a folder, or a name in the local cache. Nothing is downloaded.

    Raises:
        ModelFileError: there are no such weights here.
    """
    backbone = _backbone_class()
    try:
        return backbone.from_pretrained(name, local_files_only=True, use_safetensors=True)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelFileError(
            f"{name}: no ViTPose weights there ({reason}); give a folder with config.json and model.safetensors"
        ) from error


def random_vitpose(size: Literal["base", "large", "huge"], layers: int | None = None) -> VitPoseBackbone:
    """A backbone of ViTPose's shape with random weights; fewer layers for tests."""
    backbone = _backbone_class()
    from transformers import VitPoseBackboneConfig

    width, depth, heads = _SIZES[size]
    depth = layers or depth
    config = VitPoseBackboneConfig(
        hidden_size=width, num_hidden_layers=depth, num_attention_heads=heads, out_indices=[depth]
    )
    return backbone(config)


def _backbone_class() -> type[VitPoseBackbone]:
    try:
        from transformers import VitPoseBackbone
    except ImportError as error:
        raise MissingPackageError(
            "the ViTPose image encoder needs transformers: pip install 'metrichmsr[transformers]'"
        ) from error
    return VitPoseBackbone
