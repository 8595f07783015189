"""Depth by MapAnything, the paper's source: metres, with the intrinsics as ray directions where they are known.

Package ``mapanything`` (Keetha et al. 2025, github.com/facebookresearch/map-anything, Apache-2.0), interface of its
version 1.1. Model ``facebook/map-anything-apache`` (Apache-2.0) unless another is named.

The network gives depth along the ray; its ``depth_z`` is the z of the points in the camera frame, which is what we
take. Its own preprocessing cuts the picture's edges off to reach one of ten shapes; here the whole picture is squeezed
by up to seven pixels to sides that are multiples of 14, and the rays keep the truth about it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from safetensors import safe_open

from metrichmsr.errors import ModelFileError
from metrichmsr.scene.depth.foreign import (
    ForeignDepth,
    cached_file,
    import_foreign,
    knows_camera,
    load_foreign,
    missing_weights,
)
from metrichmsr.scene.depth.protocol import DepthEstimate, SceneAnchors
from metrichmsr.scene.depth.resampling import (
    fitted_size,
    known_depth,
    plausible_intrinsics,
    resize_depth,
    resize_picture,
    scale_intrinsics,
)
from metrichmsr.structures import Camera

MODELS = ("facebook/map-anything-apache", "facebook/map-anything")
"""Looked for in this order; the second is for research only (CC BY-NC 4.0)."""

HOW = "pip install git+https://github.com/facebookresearch/map-anything"
WEIGHTS = ("model.safetensors",)
_LONG_SIDE, _PATCH = 518, 14  # what it was trained on


def load_mapanything(model: str | None = None, *, download: bool = False, device: str = "cpu") -> ForeignDepth:
    """MapAnything as a depth source.

    Args:
        model: folder or hub id; by default the first of :data:`MODELS` on this disk, or the first of them.
        download: let the package fetch what is missing.
        device: torch device.

    Raises:
        MissingPackageError: the package is not installed.
        ModelFileError: the weights are missing or cannot be loaded.
    """
    # The package first: whoever lacks both installs it before fetching gigabytes.
    package = import_foreign("mapanything.models", "MapAnything", source="mapanything", how=HOW)
    if model is None:
        model = next((known for known in MODELS if cached_file(known, *WEIGHTS)), MODELS[0])
    if cached_file(model, *WEIGHTS) is None and not download:
        raise missing_weights("mapanything", model)
    norms = import_foreign(
        "uniception.models.encoders.image_normalizations", "IMAGE_NORMALIZATION_DICT", source="mapanything", how=HOW
    ).IMAGE_NORMALIZATION_DICT
    network = load_foreign("mapanything", model, lambda: _load(package.MapAnything, model, download))
    norm_type: str = network.encoder.data_norm_type
    mean, std = (np.asarray(values, dtype=np.float32) for values in (norms[norm_type].mean, norms[norm_type].std))
    network = network.to(device).eval()

    def run(image: UInt8[np.ndarray, "H W 3"], camera: Camera, anchors: SceneAnchors | None) -> DepthEstimate:
        del anchors
        height, width = image.shape[:2]
        size = fitted_size(width, height, _LONG_SIDE, multiple=_PATCH)
        small = resize_picture(image, size).astype(np.float32) / 255
        view: dict[str, Any] = {
            "img": torch.from_numpy((small - mean) / std).permute(2, 0, 1)[None],
            "data_norm_type": [norm_type],
        }
        if knows_camera(camera):
            view["ray_directions"] = torch.from_numpy(_rays(scale_intrinsics(camera.K, (width, height), size), size))
        on_gpu = torch.device(device).type == "cuda"
        with torch.inference_mode():
            # Unmasked: edges stay in, the scene cuts its own, and the mask is applied below.
            found = network.infer([view], use_amp=on_gpu, apply_mask=False, memory_efficient_inference=False)[0]
        depth = known_depth(_map(found["depth_z"]), metric=True)
        if "non_ambiguous_mask" in found:
            depth = np.where(_map(found["non_ambiguous_mask"]) > 0.5, depth, np.float32(np.nan))
        confidence = None
        if "conf" in found:  # at least 1 and open upwards; 1 - 1/c is the share of the error it does not expect
            raw = np.maximum(np.nan_to_num(_map(found["conf"]), nan=1.0), 1.0)
            confidence = resize_depth(1 - 1 / raw, width, height)
        K = None
        if not knows_camera(camera):  # else it would be an echo of ours
            K = found["intrinsics"][0].double().cpu().numpy().copy()
            K[:2, 2] += 0.5  # the package counts from pixel centres
            K = plausible_intrinsics(scale_intrinsics(K, size, (width, height)), width, height)
        return DepthEstimate(
            depth_m=resize_depth(depth, width, height),
            metric=True,
            confidence=confidence,
            K=K,
        )

    return ForeignDepth("mapanything", run)


def _rays(K: Float[np.ndarray, "3 3"], size: tuple[int, int]) -> Float[np.ndarray, "1 h w 3"]:
    """Unit ray through every pixel's centre, float32."""
    width, height = size
    u, v = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    rays = np.stack([u, v, np.ones_like(u)], axis=-1) @ np.linalg.inv(K).T
    return (rays / np.linalg.norm(rays, axis=-1, keepdims=True)).astype(np.float32)[None]


def _map(values: torch.Tensor) -> Float[np.ndarray, "h w"]:
    """The one map of a batch of one, with or without a channel dimension."""
    array = values[0].float().cpu().numpy()
    return array[..., 0] if array.ndim == 3 else array


def _load(network_class: Any, model: str, download: bool) -> Any:
    with _bare_encoder(download):
        network = network_class.from_pretrained(model, local_files_only=not download)
    weights = cached_file(model, *WEIGHTS)
    if weights is not None:
        with safe_open(weights, "pt") as file:
            stored = set(file.keys())
        missing = [name for name in network.encoder.state_dict() if f"encoder.{name}" not in stored]
        if missing:
            raise ModelFileError(f"{weights}: {len(missing)} parameters of the image encoder are missing")
    return network


@contextlib.contextmanager
def _bare_encoder(download: bool) -> Iterator[None]:
    """While MapAnything is built, torch.hub gives DINOv2 without its weights, and from disk only unless allowed.

    The constructor asks torch.hub for a DINOv2 with its own weights, gigabytes that the checkpoint then replaces; and
    torch.hub asks the network even for what it has.
    """
    load = torch.hub.load
    folder = Path(torch.hub.get_dir()) / "facebookresearch_dinov2_main"

    def bare(repository: str, name: str, *args: Any, **options: Any) -> Any:
        options["pretrained"] = False
        if (folder / "hubconf.py").is_file():
            options.pop("force_reload", None)
            return load(str(folder), name, *args, source="local", **options)
        if not download:
            raise ModelFileError(
                f"--depth mapanything: the code of its encoder, {repository}, is not on this machine ({folder}); "
                "get it with `git clone https://github.com/facebookresearch/dinov2` into that folder, or add --download"
            )
        return load(repository, name, *args, **options)

    torch.hub.load = bare
    try:
        yield
    finally:
        torch.hub.load = load
