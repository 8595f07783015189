"""What the landmark network tells about each person: 2D landmarks, mask, image features."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from jaxtyping import Bool, Float

COCO17_OF_33 = (0, 2, 5, 7, 8, 11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28)
"""Which landmark is which COCO-17 keypoint."""


@dataclass(frozen=True)
class Landmarks:
    """What the landmark network saw of N people. NumPy, continuous pixels of the upright image."""

    xy: Float[np.ndarray, "N 33 2"]
    """Landmarks, pixels of the image (may lie outside it), in the order of ``metrichmsr.structures.BLAZEPOSE33``."""
    z: Float[np.ndarray, "N 33"]
    """Depth relative to mid-hip in pixels of the image (weak: negative is nearer)."""
    confidence: Float[np.ndarray, "N 33"]
    """How far a landmark can be trusted, in [0, 1]: the height of its heat map there (and the detector's own confidence
    where it joined in); near 0 outside the image. Tells right from wrong better than the next two."""
    sigma_px: Float[np.ndarray, "N 33"]
    """One sigma of ``xy`` per axis, pixels: see :func:`metrichmsr.people.heatmaps.sigma_of_peak`."""
    visibility: Float[np.ndarray, "N 33"]
    """The network's probability that the landmark is not hidden."""
    presence: Float[np.ndarray, "N 33"]
    """The network's probability that the landmark is inside the crop."""
    world: Float[np.ndarray, "N 33 3"]
    """The network's own 3D landmarks, weak: metres from mid-hip, x right, y down, z forward along the ray through the
    middle of the crop (the crop's own turn is undone)."""
    score: Float[np.ndarray, "N"]
    """How well a body was found, in [0, 1]: mean height of the heat maps of the COCO-17 landmarks inside the image."""
    agreement: Float[np.ndarray, "N"]
    """Similarity (COCO's OKS) of these landmarks to the detector's keypoints before both were joined; NaN without."""
    mask_logits: Float[np.ndarray, "N 256 256"] = field(repr=False)
    """Logits of "shows the person", on the crop."""
    crop_from_image: Float[np.ndarray, "N 3 3"] = field(repr=False)
    """From image pixels to crop pixels (both continuous; the crop is 256×256)."""
    features: Float[np.ndarray, "N 192 16 16"] = field(repr=False)
    """``r16``: 16×16 image tokens of the crop."""
    grid32: Float[np.ndarray, "N 56 32 32"] = field(repr=False)
    """``grid32``: the backbone's early features of the crop, from which a tuned encoder goes on."""

    def __len__(self) -> int:
        return len(self.xy)

    @property
    def coco17(self) -> Float[np.ndarray, "N 17 3"]:
        """COCO-17 as u, v in pixels and confidence."""
        index = list(COCO17_OF_33)
        return np.concatenate([self.xy[:, index], self.confidence[:, index, None]], axis=-1)

    def soft_mask(
        self, person: int, *, height: int, width: int, region_from_image: Float[np.ndarray, "3 3"] | None = None
    ) -> Float[np.ndarray, "height width"]:
        """Probability per pixel that it shows the person; 0 outside the person's crop.

        Args:
            person: which one.
            height: rows of the result.
            width: columns of the result.
            region_from_image: from image pixels to pixels of the result; the image itself by default.
        """
        region_from_image = np.eye(3) if region_from_image is None else region_from_image
        region_from_crop = region_from_image @ np.linalg.inv(self.crop_from_image[person])
        half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1.0]])  # OpenCV's pixel centres are integers
        matrix = np.linalg.inv(half) @ region_from_crop @ half
        probability = 1 / (1 + np.exp(-self.mask_logits[person].clip(-30, 30)))
        return cv2.warpAffine(probability.astype(np.float32), matrix[:2], (width, height), flags=cv2.INTER_LINEAR)

    def mask(self, person: int, *, height: int, width: int) -> Bool[np.ndarray, "height width"]:
        """Pixels of the image that show the person."""
        return self.soft_mask(person, height=height, width=width) > 0.5
