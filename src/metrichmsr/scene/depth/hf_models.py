"""Depth by models of the ``transformers`` library: Depth Anything (metric and relative), Depth Pro, ZoeDepth.

By hub id or local folder. Whether a model claims metres is read from its configuration, never from its name. The
pictures are prepared here, by the numbers in the model's ``preprocessor_config.json``: the library's own processors
need torchvision, whose builds must match torch's.

- Depth Anything, ``depth_estimation_type`` metric: z-depth in metres, trained at one kind of camera; K is not used.
  Within 2 % of its reach (20 m indoors, 80 m outdoors) depth is unknown: the network cannot say more.
- Depth Anything, relative: disparity up to a scale and a shift, see :mod:`metrichmsr.scene.depth.disparity`.
- Depth Pro: canonical inverse depth C; 1/z = C · width / focal length, with the known focal length or its own estimate.
- ZoeDepth: z-depth in metres, K is not used.

Sources: Yang et al. 2024 (arXiv 2406.09414), Bochkovskii et al. 2024 (arXiv 2410.02073), Bhat et al. 2023
(arXiv 2302.12288).
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from metrichmsr.calibration.centred import centred_camera
from metrichmsr.errors import ModelFileError
from metrichmsr.scene.depth.disparity import depth_from_disparity
from metrichmsr.scene.depth.foreign import (
    ForeignDepth,
    cached_file,
    import_foreign,
    knows_camera,
    load_foreign,
    missing_weights,
)
from metrichmsr.scene.depth.protocol import DepthEstimate, SceneAnchors
from metrichmsr.scene.depth.resampling import FAR_M, known_depth, resize_depth, resize_picture
from metrichmsr.structures import Camera

MODELS = (
    "apple/DepthPro-hf",
    "depth-anything/Depth-Anything-V2-Metric-Indoor-Large-hf",
    "depth-anything/Depth-Anything-V2-Metric-Indoor-Base-hf",
    "depth-anything/Depth-Anything-V2-Metric-Indoor-Small-hf",
)
"""Looked for by ``auto``, in this order."""

HOW = "pip install 'metrichmsr[transformers]'"
WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin")

_IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
_HALVES = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
_DEFAULTS: dict[str, dict[str, Any]] = {  # of each model's published preprocessor_config.json
    "depth_anything": {
        "size": {"height": 518, "width": 518},
        "keep_aspect_ratio": True,
        "ensure_multiple_of": 14,
        "resample": 3,
        **_IMAGENET,
    },
    # Depth Pro was trained without a low-pass before its bilinear resize.
    "depth_pro": {"size": {"height": 1536, "width": 1536}, "low_pass": False, "resample": 2, **_HALVES},
    "zoedepth": {
        "size": {"height": 384, "width": 512},
        "keep_aspect_ratio": True,
        "ensure_multiple_of": 32,
        "do_pad": True,
        "resample": 2,
        **_HALVES,
    },
}


def load_hf_model(model: str, *, download: bool = False, device: str = "cpu") -> ForeignDepth:
    """A depth model of the transformers library as a depth source.

    Args:
        model: folder or hub id, for instance ``depth-anything/Depth-Anything-V2-Metric-Indoor-Small-hf``.
        download: let the library fetch what is missing.
        device: torch device.

    Raises:
        MissingPackageError: the library is not installed.
        ModelFileError: the weights are missing, cannot be loaded, or are of a model this cannot use.
    """
    name = f"transformers:{model}"
    library = import_foreign("transformers", "AutoModelForDepthEstimation", source=name, how=HOW)
    if cached_file(model, *WEIGHTS) is None and not download:
        if Path(model).is_dir():
            raise ModelFileError(f"--depth {name}: no {WEIGHTS[0]} in that folder")
        raise missing_weights(name, model)

    def load() -> Any:
        config = library.AutoConfig.from_pretrained(model, local_files_only=not download)
        if config.model_type not in _DEFAULTS:
            raise ModelFileError(f"--depth {name}: a {config.model_type}; these can be used: {', '.join(_DEFAULTS)}")
        with contextlib.nullcontext() if download else _no_progress_bars(library.utils.logging):
            return library.AutoModelForDepthEstimation.from_pretrained(model, local_files_only=not download)

    network = load_foreign(name, model, load).to(device).eval()
    kind: str = network.config.model_type
    recipe = _DEFAULTS[kind] | _stated_recipe(name, model)

    def run(image: UInt8[np.ndarray, "H W 3"], camera: Camera, anchors: SceneAnchors | None) -> DepthEstimate:
        pixels = (_padded if kind == "zoedepth" else _plain)(image, recipe)
        with torch.inference_mode():
            found = network(pixel_values=pixels.to(device))
        raw = found.predicted_depth[0].float().cpu().numpy()
        if kind == "depth_pro":
            return _depth_pro(raw, found.field_of_view, image, camera)
        if kind == "zoedepth":
            return _zoedepth(raw, recipe, image)
        return _depth_anything(raw, network.config, image, anchors)

    return ForeignDepth(name, run)


@contextlib.contextmanager
def _no_progress_bars(logging: Any) -> Iterator[None]:
    """Reading from disk is too quick to be watched."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _depth_anything(
    raw: Float[np.ndarray, "h w"], config: Any, image: UInt8[np.ndarray, "H W 3"], anchors: SceneAnchors | None
) -> DepthEstimate:
    height, width = image.shape[:2]
    if config.depth_estimation_type == "metric":
        near = np.where(raw < 0.98 * config.max_depth, raw, np.nan)
        return DepthEstimate(resize_depth(known_depth(near, metric=True), width, height), metric=True)
    # Resized before it is inverted: disparity is what the network made smooth.
    depth, warnings = depth_from_disparity(resize_depth(raw, width, height), anchors)
    return DepthEstimate(depth, metric=False, warnings=warnings)


def _depth_pro(
    raw: Float[np.ndarray, "h w"], fov: Tensor | None, image: UInt8[np.ndarray, "H W 3"], camera: Camera
) -> DepthEstimate:
    height, width = image.shape[:2]
    K, focal, warnings = None, camera.K[0, 0], ()
    own_fov = math.nan if fov is None else float(fov.reshape(-1)[0])  # across the width, degrees
    if 1 < own_fov < 150:
        own = 0.5 * width / math.tan(0.5 * math.radians(own_fov))
        K = centred_camera(width, height, own, source="", focal_std_px=None).K
        focal = focal if knows_camera(camera) else own
    elif not knows_camera(camera):
        warnings = ("depth has the scale of an assumed focal length",)
    inverse = np.maximum(resize_depth(raw, width, height) * (width / focal), 1 / (2 * FAR_M))
    return DepthEstimate(known_depth(1 / inverse, metric=True), metric=True, K=K, warnings=warnings)


def _zoedepth(
    raw: Float[np.ndarray, "h w"], recipe: Mapping[str, Any], image: UInt8[np.ndarray, "H W 3"]
) -> DepthEstimate:
    height, width = image.shape[:2]
    top, left = _padding(height, width, recipe)
    depth = resize_depth(known_depth(raw, metric=True), width + 2 * left, height + 2 * top)
    return DepthEstimate(np.ascontiguousarray(depth[top : top + height, left : left + width]), metric=True)


def _plain(image: UInt8[np.ndarray, "H W 3"], recipe: Mapping[str, Any]) -> Float[Tensor, "1 3 h w"]:
    """Resized, then normalised."""
    size = _network_size(image.shape[1], image.shape[0], recipe)
    if not recipe.get("low_pass", True):
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255
        resized = torch.nn.functional.interpolate(pixels, size[::-1], mode="bilinear", align_corners=False)
        return _normalised(resized, recipe)
    small = resize_picture(image, size, resample=Image.Resampling(recipe["resample"]))
    return _normalised(torch.from_numpy(np.array(small)).permute(2, 0, 1)[None].float() / 255, recipe)


def _padded(image: UInt8[np.ndarray, "H W 3"], recipe: Mapping[str, Any]) -> Float[Tensor, "1 3 h w"]:
    """Mirrored at the edges, where ZoeDepth is weak, and resized corner to corner, as it was trained."""
    height, width = image.shape[:2]
    top, left = _padding(height, width, recipe)
    wide = np.pad(image, ((top, top), (left, left), (0, 0)), mode="reflect")
    tensor = torch.from_numpy(wide).permute(2, 0, 1)[None].float() / 255
    columns, rows = _network_size(wide.shape[1], wide.shape[0], recipe)
    resized = torch.nn.functional.interpolate(tensor, (rows, columns), mode="bilinear", align_corners=True)
    return _normalised(resized, recipe)


def _padding(height: int, width: int, recipe: Mapping[str, Any]) -> tuple[int, int]:
    """Rows above and below, columns left and right."""
    if not recipe.get("do_pad", False):
        return 0, 0
    return int(math.sqrt(height / 2) * 3), int(math.sqrt(width / 2) * 3)


def _normalised(image: Float[Tensor, "1 3 h w"], recipe: Mapping[str, Any]) -> Float[Tensor, "1 3 h w"]:
    mean, std = (torch.tensor(recipe[key]).view(3, 1, 1) for key in ("image_mean", "image_std"))
    return (image - mean) / std


def _network_size(width: int, height: int, recipe: Mapping[str, Any]) -> tuple[int, int]:
    """Width and height the network takes: the stated size, or the picture's shape scaled as little as possible."""
    across, down = recipe["size"]["width"] / width, recipe["size"]["height"] / height
    if recipe.get("keep_aspect_ratio", False):
        across = down = min(across, down, key=lambda scale: abs(1 - scale))
    multiple = recipe.get("ensure_multiple_of", 1)
    fitted = (max(1, round(scale * side / multiple)) * multiple for scale, side in ((across, width), (down, height)))
    return next(fitted), next(fitted)


def _stated_recipe(name: str, model: str) -> dict[str, Any]:
    """What the model's own preprocessor_config.json says, where there is one."""
    file = cached_file(model, "preprocessor_config.json")
    if file is None:
        return {}
    try:
        stated = json.loads(file.read_text(encoding="utf-8"))
        size = stated.get("size")
        if size is not None and not {"height", "width"} <= set(size):
            raise ValueError(f"size is {size}")
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise ModelFileError(f"--depth {name}: {file} cannot be used ({error})") from error
    keys = ("size", "keep_aspect_ratio", "ensure_multiple_of", "do_pad", "resample", "image_mean", "image_std")
    return {key: stated[key] for key in keys if stated.get(key) is not None}
