"""Depth by MoGe-2: metres and a mask of what has a depth, with the field of view where it is known.

Package ``moge`` (Wang et al. 2025, github.com/microsoft/MoGe, MIT, parts of it Apache-2.0), interface of its version 2.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image

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
    fitted_size,
    known_depth,
    plausible_intrinsics,
    resize_depth,
    resize_picture,
)
from metrichmsr.structures import Camera

MODELS = tuple(f"Ruicheng/moge-2-{size}" for size in ("vitl-normal", "vitl", "vitb-normal", "vits-normal"))
"""Looked for in this order, the most accurate first."""

HOW = "pip install git+https://github.com/microsoft/MoGe"
WEIGHTS = ("model.pt",)
_LONGEST = 1024  # it works on some 3,600 tokens whatever it is given, and its output has the size of its input


def load_moge(model: str | None = None, *, download: bool = False, device: str = "cpu") -> ForeignDepth:
    """MoGe-2 as a depth source.

    Args:
        model: checkpoint file or hub id; by default the first of :data:`MODELS` on this disk, or the first of them.
        download: let the package fetch what is missing.
        device: torch device.

    Raises:
        MissingPackageError: the package is not installed.
        ModelFileError: the weights are missing or cannot be loaded.
    """
    package = import_foreign("moge.model.v2", "MoGeModel", source="moge", how=HOW)
    model = model or first_cached(MODELS, *WEIGHTS) or MODELS[0]
    is_file = Path(model).is_file()
    if not is_file and first_cached([model], *WEIGHTS) is None and not download:
        raise missing_weights("moge", model)
    options = {} if is_file or download else {"local_files_only": True}
    network = load_foreign("moge", model, lambda: package.MoGeModel.from_pretrained(model, **options))
    network = network.to(device).eval()

    def run(image: UInt8[np.ndarray, "H W 3"], camera: Camera, anchors: SceneAnchors | None) -> DepthEstimate:
        del anchors
        height, width = image.shape[:2]
        if max(height, width) > _LONGEST:
            image = resize_picture(image, fitted_size(width, height, _LONGEST), resample=Image.Resampling.BOX)
        tensor = torch.from_numpy(np.array(image)).to(device).permute(2, 0, 1).float() / 255
        fov = None
        if knows_camera(camera):  # across the width, of a principal point in the middle: it knows no other
            fov = math.degrees(2 * math.atan(camera.width / (2 * camera.K[0, 0])))
        with torch.inference_mode():
            found = network.infer(tensor, fov_x=fov, use_fp16=tensor.is_cuda)
        metric = hasattr(network, "scale_head")
        depth = known_depth(found["depth"].float().cpu().numpy(), metric=metric)  # infinite where masked
        if "mask" in found:
            depth = np.where(found["mask"].cpu().numpy() > 0.5, depth, np.float32(np.nan))
        K = None
        if fov is None:  # else it would be an echo of ours
            K = np.diag([width, height, 1.0]) @ found["intrinsics"].double().cpu().numpy()  # of a picture of size 1
            K = plausible_intrinsics(K, width, height)
        return DepthEstimate(resize_depth(depth, width, height), metric, K=K)

    return ForeignDepth("moge", run)
