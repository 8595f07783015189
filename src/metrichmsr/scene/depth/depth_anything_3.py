"""Depth by Depth Anything 3: metres by the focal length (DA3METRIC), by its own camera (DA3NESTED), or none (the rest).

Package ``depth_anything_3`` (Lin et al. 2025, github.com/ByteDance-Seed/Depth-Anything-3, Apache-2.0), interface of its
version 0.1. Its metric network sees a canonical camera: metres = output · focal length / 300, the focal length in
pixels of the picture *as the network sees it*. The nested models do this with the focal length they estimate; where a
better one is known their depth is scaled by the ratio of the two, which is exact, since they only multiply.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt8

from metrichmsr.scene.depth.foreign import (
    ForeignDepth,
    first_cached,
    import_foreign,
    knows_camera,
    load_foreign,
    missing_weights,
)
from metrichmsr.scene.depth.protocol import DepthEstimate, SceneAnchors
from metrichmsr.scene.depth.resampling import (
    known_depth,
    plausible_intrinsics,
    resize_depth,
    resize_nearest,
    scale_intrinsics,
)
from metrichmsr.structures import Camera

MODELS = ("depth-anything/DA3METRIC-LARGE", "depth-anything/DA3NESTED-GIANT-LARGE-1.1")
"""Looked for in this order; the first is Apache-2.0, the second for research only (CC BY-NC 4.0)."""

HOW = "pip install depth-anything-3"
WEIGHTS = ("model.safetensors",)
_CANONICAL_FOCAL_PX = 300.0
_LONG_SIDE = 504


def load_depth_anything_3(model: str | None = None, *, download: bool = False, device: str = "cpu") -> ForeignDepth:
    """Depth Anything 3 as a depth source.

    Args:
        model: folder or hub id; by default the first of :data:`MODELS` on this disk, or the first of them.
        download: let the package fetch what is missing.
        device: torch device.

    Raises:
        MissingPackageError: the package is not installed.
        ModelFileError: the weights are missing or cannot be loaded.
    """
    package = import_foreign("depth_anything_3.api", "DepthAnything3", source="depth_anything_3", how=HOW)
    model = model or first_cached(MODELS, *WEIGHTS) or MODELS[0]
    if first_cached([model], *WEIGHTS) is None and not download:
        raise missing_weights("depth_anything_3", model)
    network = load_foreign(
        "depth_anything_3",
        model,
        lambda: package.DepthAnything3.from_pretrained(model, local_files_only=not download),
    )
    network = network.to(device).eval()
    canonical = str(network.model_name).startswith("da3metric")

    def run(image: UInt8[np.ndarray, "H W 3"], camera: Camera, anchors: SceneAnchors | None) -> DepthEstimate:
        del anchors
        height, width = image.shape[:2]
        found = network.inference([image], process_res=_LONG_SIDE, process_res_method="upper_bound_resize")
        depth = np.asarray(found.depth[0], dtype=np.float64)
        size = depth.shape[1], depth.shape[0]
        metric, K = canonical or bool(found.is_metric), None
        if found.intrinsics is not None:  # pixels of the picture it saw, counted from the corner, as ours
            K = plausible_intrinsics(scale_intrinsics(found.intrinsics[0], size, (width, height)), width, height)
        if canonical:
            seen = scale_intrinsics(camera.K, (width, height), size)
            depth = depth * (0.5 * (seen[0, 0] + seen[1, 1]) / _CANONICAL_FOCAL_PX)
        elif metric and K is not None and knows_camera(camera):
            depth = depth * (camera.focal_px / (0.5 * (K[0, 0] + K[1, 1])))
        confidence = None
        if found.conf is not None:
            # At least 1 and open upwards. Where there is sky the nested models write exactly 1 beside a made-up depth.
            raw = np.maximum(np.nan_to_num(np.asarray(found.conf[0], dtype=np.float64), nan=1.0), 1.0)
            confidence = resize_depth(1 - 1 / raw, width, height)
            if metric:
                depth[raw <= 1.0] = np.nan
        depth = resize_depth(known_depth(depth, metric=metric), width, height)
        if found.sky is not None:
            sky = resize_nearest(np.asarray(found.sky[0], dtype=bool), width, height)
            depth = np.where(sky, np.float32(np.nan), depth)
        warnings = ()
        if canonical and not knows_camera(camera):
            warnings = ("depth has the scale of an assumed focal length",)
        return DepthEstimate(depth_m=depth, metric=metric, confidence=confidence, K=K, warnings=warnings)

    return ForeignDepth("depth_anything_3", run)
