"""Depth the user brings: files of a depth camera, of another program, or of an earlier run.

The picture's own pixels are what counts: a depth map of the same shape and another size is resized to the nearest
pixel, never across edges; one of another shape is refused, because one cannot know what was cut off.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from metrichmsr.errors import InputError, UsageError
from metrichmsr.scene.depth.depth_files import SUFFIXES, StoredDepth, read_depth_file
from metrichmsr.scene.depth.disparity import depth_from_disparity
from metrichmsr.scene.depth.protocol import DepthEstimate, SceneAnchors
from metrichmsr.scene.depth.resampling import known_depth, resize_nearest
from metrichmsr.structures import Camera

_UNITS = ("auto", "metres", "millimetres", "relative", "inverse")


@dataclass(frozen=True)
class DepthUnit:
    """What the numbers in a depth file mean."""

    kind: str = "auto"
    """``auto``: whole numbers are millimetres, others metres. ``scaled``: times ``metres_per_unit``. ``relative``:
    depth up to a scale and a shift. ``inverse``: disparity-like, larger is nearer, up to a scale and a shift."""
    metres_per_unit: float = 1.0
    """For ``scaled``."""

    @classmethod
    def parse(cls, text: str) -> DepthUnit:
        """The value of ``--depth-unit``: ``auto``, ``metres``, ``millimetres``, ``relative``, ``inverse``, or a number.

        A number is the metres that one unit of the file stands for, ``0.0002`` for instance.

        Raises:
            UsageError: it is none of these.
        """
        if text in ("auto", "relative", "inverse"):
            return cls(text)
        if text in ("metres", "millimetres"):
            return cls("scaled", 1.0 if text == "metres" else 1e-3)
        try:
            scale = float(text)
        except ValueError:
            scale = math.nan
        if not (math.isfinite(scale) and scale > 0):
            raise UsageError(f"--depth-unit {text}: must be {', '.join(_UNITS)} or metres per unit, as in 0.001")
        return cls("scaled", scale)


@dataclass(frozen=True)
class FileDepth:
    """A file for all pictures, or a folder with a file of the same stem for each."""

    location: Path
    unit: DepthUnit = DepthUnit()
    name: str = "file"

    def __call__(
        self,
        image: UInt8[np.ndarray, "H W 3"],
        camera: Camera,
        *,
        path: Path | None = None,
        anchors: SceneAnchors | None = None,
    ) -> DepthEstimate:
        """Depth of an upright picture, see :class:`~metrichmsr.scene.depth.protocol.DepthSource`.

        Raises:
            InputError: the picture has no depth file, or it cannot be read, is of another shape, or holds no depth.
        """
        del camera
        height, width = image.shape[:2]
        file = self._file_of(path)
        stored = read_depth_file(file)
        _check_shape(file, stored.values.shape, (height, width))
        values = resize_nearest(stored.values, width, height)
        depth, metric, warnings = self._depth(file, stored, values, anchors)
        if not np.isfinite(depth).any():
            raise InputError(f"{file}: holds no depth: no value is finite and above 0")
        confidence = None
        if stored.confidence is not None:
            confidence = resize_nearest(stored.confidence, width, height)
        return DepthEstimate(depth, metric, confidence=confidence, warnings=warnings)

    def _depth(
        self, file: Path, stored: StoredDepth, values: Float[np.ndarray, "H W"], anchors: SceneAnchors | None
    ) -> tuple[Float[np.ndarray, "H W"], bool, tuple[str, ...]]:
        """Depth, whether it is in metres, and warnings."""
        if self.unit.kind == "inverse":
            depth, warnings = depth_from_disparity(values, anchors)
            return depth, False, warnings
        if self.unit.kind == "relative":
            return known_depth(values, metric=False), False, ()
        if stored.eight_bit:
            raise InputError(
                f"{file}: 8 bits a pixel cannot hold metres; give 16 bits, or --depth-unit relative or inverse"
            )
        scale = self.unit.metres_per_unit
        if self.unit.kind == "auto":
            scale = 1e-3 if stored.whole_numbers and not stored.states_metres else 1.0
        depth = known_depth(values * scale, metric=True)
        if not np.isfinite(depth).any() and np.isfinite(known_depth(values, metric=False)).any():
            raise InputError(f"{file}: everything is beyond 1000 m with {scale:g} m per unit; see --depth-unit")
        warnings = ()
        median = float(np.nanmedian(depth)) if np.isfinite(depth).any() else 1.0
        if self.unit.kind == "auto" and not 0.05 < median < 200:
            warnings = (f"{file}: the median depth is {median:.3g} m; is --depth-unit right?",)
        return depth, True, warnings

    def _file_of(self, path: Path | None) -> Path:
        if self.location.is_file():
            return self.location
        if not self.location.is_dir():
            raise InputError(f"{self.location}: no such depth file or folder")
        if path is None:
            raise InputError(f"{self.location}: a folder of depth files needs pictures that come from files")
        for suffix in SUFFIXES:
            candidate = self.location / f"{path.stem}{suffix}"
            # The photos themselves may lie in that folder.
            if candidate.is_file() and not (path.exists() and candidate.samefile(path)):
                return candidate
        raise InputError(f"{path}: no depth for it in {self.location} ({path.stem} with {', '.join(SUFFIXES)})")


def _check_shape(file: Path, stored: tuple[int, ...], wanted: tuple[int, int]) -> None:
    """Refuse another aspect ratio; a pixel of the smaller map is what rounding can explain."""
    (rows, columns), (height, width) = stored, wanted
    small, large = ((rows, columns), (height, width)) if rows <= height else ((height, width), (rows, columns))
    if abs(small[1] - large[1] * small[0] / large[0]) <= 1 or abs(small[0] - large[0] * small[1] / large[1]) <= 1:
        return
    turned = (columns, rows) == wanted or abs(rows / columns - width / height) < 0.01
    hint = "; it seems to be turned, and pictures are taken upright" if turned else ""
    raise InputError(
        f"{file}: depth of {columns}×{rows} pixels does not fit the picture of {width}×{height}, another shape{hint}"
    )
