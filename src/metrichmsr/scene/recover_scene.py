"""The way of the scene: initial depth ► anchors ► refinement ► ground ► world (paper §5)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, UInt8

from metrichmsr.scene.depth.protocol import DepthEstimate, DepthSource, SceneAnchors
from metrichmsr.structures import Camera, Person, Scene

if TYPE_CHECKING:
    from metrichmsr.calibration.estimators import UpEstimate
    from metrichmsr.scene.refine import DepthRefiner

_EMBEDDED_STD = 0.36
"""Relative sigma of the camera's height by the embedded network: of 93 SynFocal scenes half are 25 % off or more
(``benchmarks/bench_ground.py``, RESULTS.md)."""
_SOURCE_STD, _LEAST_STD = 0.15, 0.05
"""The same of a large source whose metres nobody has checked; and the least there is."""

Stage = Callable[[str], AbstractContextManager[None]]
"""Times a block under a name."""


class SceneRecoverer:
    """Depth, ground and world of a picture whose people are recovered.

    Args:
        source: of the initial depth.
        refiner: brings it and the people into one scale; None leaves depth as it came.
    """

    def __init__(self, source: DepthSource, refiner: DepthRefiner | None) -> None:
        self.source = source
        self._refiner = refiner

    def __call__(
        self,
        image: UInt8[np.ndarray, "H W 3"],
        camera: Camera,
        people: Sequence[Person],
        *,
        path: Path,
        stage: Stage,
        warnings: list[str],
        up: UpEstimate | None = None,
    ) -> Scene:
        """The scene of one picture.

        Args:
            image: upright RGB, distortion removed.
            camera: its camera.
            people: the recovered ones, in the camera frame.
            path: file of the picture.
            stage: times what is done.
            warnings: gets what the user should know.
            up: which way is up, as the picture tells.

        Raises:
            InputError: the source has no usable depth for this picture.
        """
        from metrichmsr.scene.anchors import render_anchors
        from metrichmsr.scene.ground import find_ground, foot_clearance
        from metrichmsr.scene.surface import segmented
        from metrichmsr.scene.world import world_from_camera

        with stage("anchors"):
            anchors = render_anchors(people, camera) if people else _no_anchors(camera)
        with stage("depth"):
            initial = self.source(image, camera, path=path, anchors=anchors if people else None)
        warnings += initial.warnings
        depth, how, residuals = initial.depth_m, "none", None
        if self._refiner is not None:
            with stage("refine depth"):
                refined = self._refiner(image, camera, initial, people, anchors)
            depth, how, residuals = refined.depth_m, refined.how, refined.residuals
            warnings += refined.warnings
        if not initial.metric and how == "none":
            warnings.append(f"depth of {self.source.name} is relative: without people it has no metres, and is unknown")
            depth = np.full_like(depth, np.nan)
        with stage("ground"):
            mask = (anchors.person >= 0) | segmented(people, anchors.mask.shape)
            ground = find_ground(
                depth,
                camera,
                people,
                confidence=initial.confidence,
                person_mask=mask,
                up=up,
                scale_std=_scale_std(self.source.name, how, people),
            )
            clearance = {} if ground is None else foot_clearance(people, ground)
        return Scene(
            depth_m=depth.astype(np.float32),
            source=self.source.name,
            refined=how != "none",
            initial_depth_m=initial.depth_m,
            anchor_m=np.where(anchors.mask, anchors.depth_m, np.nan).astype(np.float32),
            confidence=_confidence(initial, depth),
            refinement=how,
            residuals=residuals,
            ground_normal=None if ground is None else ground.normal,
            ground_offset_m=None if ground is None else ground.offset_m,
            ground_std_m=None if ground is None else ground.offset_std_m,
            world_from_camera=None if ground is None else world_from_camera(ground),
            up_source=None if ground is None else ground.source,
            foot_clearance_m=clearance,
        )


def _scale_std(source: str, how: str, people: Sequence[Person]) -> float:
    """Relative sigma of the scale of the depth under people's feet."""
    if source == "embedded":
        return _EMBEDDED_STD
    if how == "none":
        return _SOURCE_STD
    precision = sum((p.distance_std_m / max(p.distance_m, 1e-6)) ** -2 for p in people if p.distance_std_m > 0)
    return max(_LEAST_STD, precision**-0.5 if precision > 0 else _SOURCE_STD)


def _confidence(initial: DepthEstimate, depth: Float[np.ndarray, "H W"]) -> Float[np.ndarray, "H W"]:
    """The source's, or 1 where it states none and has depth; 0 where there is no depth."""
    known = np.isfinite(depth)
    stated = known.astype(np.float32) if initial.confidence is None else initial.confidence
    return np.where(known, stated, 0).astype(np.float32)


def _no_anchors(camera: Camera) -> SceneAnchors:
    shape = (camera.height, camera.width)
    return SceneAnchors(
        depth_m=np.full(shape, np.nan, np.float32),
        mask=np.zeros(shape, dtype=bool),
        person=np.full(shape, -1, np.int16),
        relative_std=np.zeros(0, np.float32),
    )
