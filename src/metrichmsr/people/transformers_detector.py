"""A detector from the ``transformers`` library: RT-DETR, RF-DETR, DETR and whatever else fits its detection class.

The weights are the user's: a folder, or a name already in the library's cache. Nothing is downloaded unless allowed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8

from metrichmsr.errors import MissingPackageError, ModelFileError
from metrichmsr.people.detection import Detections

PERSON_LABELS = frozenset({"person", "people", "pedestrian", "human"})


class TransformersDetector:
    """Person boxes, without keypoints.

    Args:
        name_or_path: folder of a checkpoint, or its name in the cache.
        min_score: finds below are dropped.
        device: where it runs.
        allow_download: let the library fetch what is not in its cache.

    Raises:
        MissingPackageError: ``transformers`` is not installed.
        ModelFileError: no such checkpoint here, or it knows no persons.
    """

    def __init__(
        self,
        name_or_path: str | Path,
        *,
        min_score: float = 0.3,
        device: torch.device | str = "cpu",
        allow_download: bool = False,
    ) -> None:
        try:
            from transformers import AutoImageProcessor, AutoModelForObjectDetection
        except ImportError as error:
            raise MissingPackageError(
                f"detector {name_or_path}: transformers is not installed (pip install 'metrichmsr[transformers]')"
            ) from error
        source = str(name_or_path)
        try:
            self.processor: Any = AutoImageProcessor.from_pretrained(source, local_files_only=not allow_download)
            model: Any = AutoModelForObjectDetection.from_pretrained(source, local_files_only=not allow_download)
        except (OSError, ValueError, ImportError) as error:
            reason = str(error).strip().splitlines()[0]
            raise ModelFileError(f"detector {source}: cannot be loaded from here ({reason})") from error
        self.person_ids = {int(i) for i, label in model.config.id2label.items() if label.lower() in PERSON_LABELS}
        if not self.person_ids:
            raise ModelFileError(f"detector {source}: none of its {len(model.config.id2label)} labels is a person")
        self.model: Any = model.eval().to(device)
        self.min_score = min_score

    def __call__(self, image: UInt8[np.ndarray, "H W 3"]) -> Detections:
        """Find the people of an upright RGB image."""
        height, width = image.shape[:2]
        inputs = self.processor(images=image, return_tensors="pt").to(self.model.device)
        with torch.inference_mode():
            output = self.model(**inputs)
        found = self.processor.post_process_object_detection(
            output, threshold=self.min_score, target_sizes=[(height, width)]
        )[0]
        labels = found["labels"].cpu().numpy()
        order = np.argsort(-found["scores"].float().cpu().numpy(), kind="stable")
        order = order[np.isin(labels[order], list(self.person_ids))]
        return Detections(
            found["boxes"].double().cpu().numpy().reshape(-1, 4)[order],
            found["scores"].double().cpu().numpy()[order],
        )
