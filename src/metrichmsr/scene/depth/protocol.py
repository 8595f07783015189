"""What every source of depth takes and gives.

Convention: z-depth in metres (never ray length or disparity), NaN where unknown, at the resolution of the picture. A
source without metres gives depth up to a scale and a shift, and says so in ``metric``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from metrichmsr.structures import Camera


@dataclass(frozen=True)
class DepthEstimate:
    """Depth of one picture as its source gave it (``z_in`` of the paper)."""

    depth_m: Float[np.ndarray, "H W"]
    """z-depth, float32, metres where ``metric``; NaN where unknown (sky, beyond reach, no reading)."""
    metric: bool
    """Whether the source claims metres. Depth without them is relative: right up to a scale and a shift."""
    confidence: Float[np.ndarray, "H W"] | None = field(default=None, repr=False)
    """In [0, 1], float32, where the source states one."""
    K: Float[np.ndarray, "3 3"] | None = None
    """The source's own estimate of the intrinsics, continuous pixels of the picture, where it makes one."""
    warnings: tuple[str, ...] = ()
    """What the user should know about it, a line each."""


@dataclass(frozen=True)
class SceneAnchors:
    """What the recovered people say about depth: ``z_hmr`` and ``M_a`` of the paper (§5), at the picture's resolution.

    Made by :func:`metrichmsr.scene.anchors.render_anchors`.
    """

    depth_m: Float[np.ndarray, "H W"]
    """z-depth of the nearest recovered body surface, float32 metres; NaN where there is none. Unreduced: all pixels of
    the rendered bodies."""
    mask: Bool[np.ndarray, "H W"]
    """M_a: pixels that are trusted to show the body: inside the person's segmentation, away from edges, not hidden by
    something in front."""
    person: Int[np.ndarray, "H W"]
    """Row of the person rendered in each pixel, int16; -1 where none is."""
    relative_std: Float[np.ndarray, "P"]
    """One sigma of each person's depth, relative to it."""

    @property
    def relative_std_map(self) -> Float[np.ndarray, "H W"]:
        """``relative_std`` of the person in each pixel, float32; NaN where there is none."""
        padded = np.append(self.relative_std, np.nan).astype(np.float32)
        return padded[self.person]


class DepthSource(Protocol):
    """Anything that finds depth in a picture."""

    @property
    def name(self) -> str:
        """Goes into the result's ``scene.source``, for instance ``embedded`` or ``mapanything``."""
        ...

    def __call__(
        self,
        image: UInt8[np.ndarray, "H W 3"],
        camera: Camera,
        *,
        path: Path | None = None,
        anchors: SceneAnchors | None = None,
    ) -> DepthEstimate:
        """Depth of an upright picture.

        Args:
            image: RGB.
            camera: its pinhole camera; sources that take intrinsics are given these.
            path: the file it came from, by which a source of files finds its own.
            anchors: the recovered people, for sources that look at them.

        Raises:
            InputError: the source has no usable depth for this picture; the message names file and cause.
        """
        ...
