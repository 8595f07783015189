"""The default detector: MoveNet MultiPose on the whole image, and on tiles where people are many or small."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8

from metrichmsr.people.detection import Detections
from metrichmsr.people.movenet import SIZE_MULTIPLE, MoveNetMultiPose, decode
from metrichmsr.people.weight_files import WEIGHTS_DIR, load_into


class MoveNetDetector:
    """Finds people with 17 keypoints each.

    Args:
        network: the network; by default the shipped weights on the CPU.
        min_score: finds below are dropped.
        max_people: keep at most so many, best first.
    """

    def __init__(
        self, *, network: MoveNetMultiPose | None = None, min_score: float = 0.15, max_people: int = 50, side: int = 320
    ) -> None:
        if network is None:
            network = MoveNetMultiPose()
            load_into(network, WEIGHTS_DIR / "movenet_multipose.safetensors")
        self.network = network.eval().to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.min_score = min_score
        self.max_people = max_people
        self.side = side

    def __call__(self, image: UInt8[np.ndarray, "H W 3"]) -> Detections:
        """Find the people of an upright RGB image."""
        found = self._look(image, np.array([0, 0, image.shape[1], image.shape[0]]), self.side)
        order = np.argsort(-found.scores)
        return found[order[found.scores[order] >= self.min_score][: self.max_people]]

    def _look(self, image: UInt8[np.ndarray, "H W 3"], window: Float[np.ndarray, "4"], side: int) -> Detections:
        """People in one window of the image, scaled so that its long side becomes ``side`` input pixels."""
        x0, y0, x1, y1 = (int(v) for v in window)
        patch = image[y0:y1, x0:x1]
        scale = side / max(patch.shape[:2])
        height, width = (max(1, round(n * scale)) for n in patch.shape[:2])
        patch = cv2.resize(patch, (width, height), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        pad_y, pad_x = -height % SIZE_MULTIPLE, -width % SIZE_MULTIPLE
        patch = cv2.copyMakeBorder(patch, 0, pad_y, 0, pad_x, cv2.BORDER_CONSTANT)
        device = next(self.network.parameters()).device
        with torch.inference_mode():
            batch = torch.from_numpy(patch).to(device).permute(2, 0, 1)[None].float().div(255)
            maps = self.network(batch.contiguous(memory_format=torch.channels_last))
            people = decode({name: value[0].float() for name, value in maps.items()}, max_people=self.max_people)
        ratio = np.array([(x1 - x0) / width, (y1 - y0) / height])
        corner = np.array([x0, y0])
        boxes = people.boxes.double().cpu().numpy() * np.tile(ratio, 2) + np.tile(corner, 2)
        keypoints = people.keypoints.double().cpu().numpy()
        keypoints[..., :2] = keypoints[..., :2] * ratio + corner
        return Detections(boxes, people.scores.double().cpu().numpy(), keypoints)
