"""The source that needs nothing: the network that the package carries (:mod:`metrichmsr.scene.depth_network`)."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import UInt8

from metrichmsr.people.weight_files import WEIGHTS_DIR
from metrichmsr.scene.depth.protocol import DepthEstimate, SceneAnchors
from metrichmsr.scene.depth_network import STRIDE, DepthNetwork, load_depth_network
from metrichmsr.scene.network_input import and_mirrored, scene_input, with_margin, without_margin
from metrichmsr.structures import Camera

WEIGHTS = WEIGHTS_DIR / "depth_small.safetensors"
"""The shipped checkpoint."""
REACH_M = 60.0
"""Beyond it the network was not trained: unknown."""


class EmbeddedDepth:
    """Metric depth of any picture, people or not.

    Args:
        network: see :func:`~metrichmsr.scene.depth_network.load_depth_network`.
    """

    name = "embedded"

    def __init__(self, network: DepthNetwork) -> None:
        self._network = network

    @classmethod
    def load(cls, weights: Path = WEIGHTS, *, device: torch.device | str = "cpu") -> EmbeddedDepth:
        """With the shipped weights, or a file that ``metrichmsr train depth`` wrote.

        Raises:
            ModelFileError: the file is missing or damaged.
        """
        return cls(load_depth_network(weights, device=device)[0])

    @torch.inference_mode()
    def __call__(
        self,
        image: UInt8[np.ndarray, "H W 3"],
        camera: Camera,
        *,
        path: Path | None = None,
        anchors: SceneAnchors | None = None,
    ) -> DepthEstimate:
        """z-depth with confidence; NaN where nothing is within reach.

        Confidence is the chance, by the network's own sigma, that depth is within a quarter of the truth. The answer is
        the mean with that for the mirrored picture: geometric, of depth and sigma.
        """
        del path
        device = next(self._network.parameters()).device
        output = self._network(and_mirrored(with_margin(scene_input(image, camera, anchors, device=device))))
        height, width = image.shape[:2]

        def enlarged(values: torch.Tensor) -> np.ndarray:
            seen, in_mirror = values.chunk(2)
            values = without_margin(0.5 * (seen + in_mirror.flip(-1)), STRIDE)
            return cv2.resize(values[0].float().cpu().numpy(), (width, height), interpolation=cv2.INTER_LINEAR)

        log_depth, log_sigma, far = map(enlarged, (output.log_depth, output.log_sigma, output.far_logit))
        depth = np.exp(log_depth)
        unknown = (far > 0) | (depth > REACH_M)
        within = 1 - np.exp(-np.log(1.25) / np.exp(log_sigma))
        within[unknown] = 0
        depth[unknown] = np.nan
        return DepthEstimate(depth_m=depth.astype(np.float32), metric=True, confidence=within.astype(np.float32))
