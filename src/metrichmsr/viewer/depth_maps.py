"""The depth maps of a result, thinned to what can be shown.

Of a photo of 48 megapixels every seventh row and column is enough for any picture of the scene; nothing is averaged, so
depth stays that of a pixel.
"""

from __future__ import annotations

import math
import zipfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Bool, Float

from metrichmsr.errors import InputError
from metrichmsr.export.find_results import RESULT
from metrichmsr.export.schema import SceneEntry
from metrichmsr.scene.outlines import ramps
from metrichmsr.structures import Camera, Scene
from metrichmsr.viewer.result_folder import ResultFolder

# A depth that is nearer than the body's by more than this share, and twice what depth and bodies disagree by anyway, is
# of something in front of the person.
_IN_FRONT, _DISAGREEMENTS = 0.15, 2.0
# People's outlines are blurred in the depth by about this share of the picture's long side.
_OUTLINE = 0.004


@dataclass(frozen=True, eq=False)
class DepthMaps:
    """Every stride-th pixel of a result's depth maps; h×w of them."""

    path: Path
    entry: SceneEntry
    full: Camera
    """The picture's camera."""
    stride: int

    @cached_property
    def camera(self) -> Camera:
        """Camera of the thinned picture: its pixel j looks where pixel first + stride·j of the full one does."""
        K, first = self.full.K.copy(), self.first
        K[:2] /= self.stride
        K[:2, 2] = (self.full.K[:2, 2] - (first + 0.5)) / self.stride + 0.5
        width, height = (len(range(first, size, self.stride)) for size in (self.full.width, self.full.height))
        return self.full.replace(K=K, width=width, height=height)

    @property
    def first(self) -> int:
        """Row and column that the thinned picture begins with."""
        return self.stride // 2

    @cached_property
    def depth_m(self) -> Float[np.ndarray, "h w"]:
        """z-depth of the result, metres; NaN where unknown."""
        return self._read("depth_m")

    @cached_property
    def initial_depth_m(self) -> Float[np.ndarray, "h w"] | None:
        """z-depth before people corrected it, metres; None where its source gave none in metres."""
        if not self.has_initial:
            return None
        initial = self._read("initial_depth_m")
        return initial if np.isfinite(initial).any() else None

    @property
    def has_initial(self) -> bool:
        """Whether the source's own depth is in metres, so that it can be set beside the refined one."""
        residuals = self.entry.get("residuals")
        return residuals is not None and residuals["initial"] is not None

    @cached_property
    def anchor_m(self) -> Float[np.ndarray, "h w"]:
        """z-depth of the rendered bodies, metres; NaN beside them."""
        return self._read("anchor_m")

    @cached_property
    def confidence(self) -> Float[np.ndarray, "h w"]:
        """In [0, 1]."""
        return self._read("confidence")

    @cached_property
    def left_out(self) -> Bool[np.ndarray, "h w"]:
        """Pixels of the people and of the ramps around them; their bodies stand there instead.

        The result keeps no masks. Where a body was rendered and nothing is in front of it the picture shows the person.
        """
        residuals = self.entry.get("residuals")
        disagreement = 0.0 if residuals is None else residuals["refined"] or 0.0
        nearest = np.exp(-_IN_FRONT - _DISAGREEMENTS * disagreement) * self.anchor_m
        with np.errstate(invalid="ignore"):
            people = np.isfinite(self.anchor_m) & ~(self.depth_m < nearest)
        if not people.any():
            return people
        reach = max(1, round(_OUTLINE * max(people.shape)))
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
        people = cv2.dilate(people.astype(np.uint8), kernel) > 0
        plane = self.entry["ground_plane"]
        scene = Scene(
            depth_m=self.depth_m,
            source=self.entry["source"],
            refined=self.entry["refined"],
            anchor_m=self.anchor_m,
            ground_normal=None if plane is None else np.array(plane["normal"], dtype=np.float64),
            ground_offset_m=None if plane is None else plane["offset_m"],
        )
        return people | ramps(scene, people, self.camera)

    def _read(self, name: str) -> Float[np.ndarray, "h w"]:
        take = slice(self.first, None, self.stride)
        try:
            # Opened here: NumPy leaves a damaged archive open.
            with self.path.open("rb") as file, np.load(file, allow_pickle=False) as maps:
                values = maps[name]
        except KeyError as error:
            raise InputError(f"{self.path}: holds no {name}") from error
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise InputError(f"{self.path}: damaged: {error}") from error
        if values.shape != (self.full.height, self.full.width):
            raise InputError(
                f"{self.path}: {name} is {values.shape}, the picture {(self.full.height, self.full.width)} (height, "
                "width)"
            )
        return np.ascontiguousarray(values[take, take], dtype=np.float32)


def open_depth_maps(result: ResultFolder, max_pixels: int) -> DepthMaps | None:
    """The maps of a result, thinned to about ``max_pixels``; None where no depth stage ran or none were saved.

    Raises:
        InputError: ``result.json`` names a file that is missing.
    """
    entry = result.document["scene"]
    if entry is None or entry["depth"] is None:
        return None
    path = result.folder / entry["depth"]
    if not path.is_file():
        raise InputError(f"{path}: missing, though {RESULT} names it; to see the people alone: --no-scene")
    camera = result.camera
    stride = max(1, math.floor(math.sqrt(camera.width * camera.height / max_pixels)))
    return DepthMaps(path, entry, camera, stride)
