"""The way of an image: read ► calibrate ► find people ► regress bodies ► refine ► assemble ► depth ► scene."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from metrichmsr.assemble import assemble
from metrichmsr.calibration.options import check_options
from metrichmsr.errors import InputError, UsageError, what_it_has
from metrichmsr.known_sizes import beyond_reach, check_heights, known_depths, known_heights, parse_heights
from metrichmsr.recover_models import RecoverModels
from metrichmsr.recover_options import RecoverOptions, options_by_name
from metrichmsr.stopwatch import Stopwatch
from metrichmsr.structures import COCO17, Camera, Person, Recovery

if TYPE_CHECKING:
    from jaxtyping import Float, UInt8

    from metrichmsr.calibration import Calibration
    from metrichmsr.calibration.estimators import UpEstimate
    from metrichmsr.hmr.estimates import BodyEstimates
    from metrichmsr.hmr.fitting.evidence import Evidence
    from metrichmsr.images import Photo
    from metrichmsr.people import People
    from metrichmsr.people.landmarks import Landmarks


@dataclass(frozen=True)
class Sight:
    """What bodies are estimated from."""

    people: People
    image: UInt8[np.ndarray, "H W 3"]
    """Upright RGB, distortion removed."""
    camera: Camera
    up: UpEstimate | None
    """Which way is up, where the method asks."""

    @cached_property
    def landmarks(self) -> Landmarks:
        """Of these people, as methods that learned from renderings expect them."""
        from metrichmsr.hmr.photographed import as_rendered

        return as_rendered(self.people.landmarks)


class Recoverer(RecoverModels):
    """Recovers people from photos; loads its models once, at first use.

    Args:
        options: how; the defaults suit a photo of unknown origin.
        device: torch device of the networks, the CPU if left out.
        find: finds the people of an upright RGB picture (given with its path) in place of :meth:`find`, for instance to
            share what was found among recoverers.

    Raises:
        UsageError: the options contradict each other or make no sense.
        InputError: a file that they name cannot be used.
    """

    def __init__(
        self,
        options: RecoverOptions | None = None,
        *,
        device: str | None = None,
        find: Callable[[UInt8[np.ndarray, "H W 3"], Path], People] | None = None,
    ) -> None:
        if not isinstance(options, (RecoverOptions, type(None))):
            raise UsageError(
                "options are a RecoverOptions (from metrichmsr.recover import RecoverOptions), not of type "
                f"{type(options).__name__}"
            )
        super().__init__(options or RecoverOptions(), device or "cpu")
        self._find = find or self.find
        # What makes no sense, or cannot be read, is told before the first picture.
        check_options(self.options)
        self._heights = parse_heights(self.options.height)
        check_heights(self._heights, self.options.people)
        _ = self._boxes

    def __call__(self, source: str | Path | np.ndarray | Photo, *, camera: Camera | None = None) -> Recovery:
        """Recover the people of one picture.

        Args:
            source: a file, an RGB array (H×W×3; uint8, or floats from 0 to 1), or a photo already read.
            camera: intrinsics, if you have them as an object; they go before everything else.

        Raises:
            InputError: the picture, its intrinsics or its boxes cannot be used.
            UsageError: ``camera`` is no camera.
        """
        # What is missing or damaged should be told before a minute of work.
        _ = self._other_body, self._scene
        if self._other_body is not None:
            _ = self._measurer
        watch = Stopwatch()
        start = time.perf_counter()
        with watch.stage("read"):
            photo = self._read(source)
        with watch.stage("calibrate"):
            calibration = self._calibrate(photo, camera)
        image, shown, distortion = photo.rgb, calibration.camera, calibration.camera.distortion
        if distortion is not None:
            from metrichmsr.geometry.distortion import undistort_image

            with watch.stage("undistort"):
                image, shown = undistort_image(image, shown)
        with watch.stage("find people"):
            people = self._find(image, photo.path)
        warnings = [*photo.remarks, *calibration.warnings]
        recovered: tuple[Person, ...] = ()
        up = self._up(calibration, image, watch, anybody=len(people.landmarks) > 0)
        if len(people.landmarks):
            sight = Sight(people, image, shown, up if self._network_asks_for_up else None)
            estimates = self._estimate(sight, warnings, watch)
            with watch.stage("assemble"):
                recovered = self._measured_later(
                    assemble(people, estimates, shown, self._anny, self._other_body, warnings)
                )
        else:
            warnings.append(self._nobody(photo.path))
        scene = None
        if self._scene is not None:
            scene = self._scene(image, shown, recovered, path=photo.path, stage=watch.stage, warnings=warnings, up=up)
        watch.timings_ms["total"] = 1000 * (time.perf_counter() - start)
        return Recovery(
            image_path=photo.path,
            image=image,
            camera=shown,
            people=recovered,
            scene=scene,
            warnings=tuple(warnings),
            timings_ms=watch.timings_ms,
            versions=self._versions,
            settings=self.options.changed(),
            removed_distortion=distortion,
        )

    def _nobody(self, path: Path) -> str:
        if self.options.boxes is None:
            return "nobody was found in this picture"
        from metrichmsr.people.boxes import ANY_IMAGE

        has = what_it_has([key for key in self._boxes if key != ANY_IMAGE])
        return f"{self.options.boxes} has no boxes for {path.name} ({has}), so nobody is in the result"

    def load(self) -> None:
        """Load all models that the options need now, rather than at the first picture.

        Raises:
            MetricHMSRError: one is missing or damaged.
        """
        _ = self._scene, self._measurer, self._detector, self._landmarker, self.fitter
        if self.options.method == "network":
            _ = self.regressor, self._face_reader

    def with_options(self, options: RecoverOptions) -> Recoverer:
        """A recoverer of other options that shares what this one has loaded (:meth:`load`) and is the same there."""
        other = Recoverer(options, device=self.device, find=None if self._find == self.find else self._find)
        self._share(other)
        return other

    def _read(self, source: str | Path | np.ndarray | Photo) -> Photo:
        from metrichmsr.images import Photo, from_array, read_image

        if isinstance(source, Photo):
            return source
        if isinstance(source, np.ndarray):
            return from_array(source)
        if isinstance(source, (str, os.PathLike)):
            return read_image(source)
        advice = "give several one by one" if isinstance(source, (list, tuple)) else "numpy.asarray of it may be one"
        kind = type(source).__name__
        raise InputError(f"a picture is a file's path, an RGB array (H×W×3) or a Photo, not of type {kind}; {advice}")

    def _calibrate(self, photo: Photo, camera: Camera | None) -> Calibration:
        from metrichmsr.calibration import Calibration, calibrate

        if camera is not None:
            if not isinstance(camera, Camera):
                raise UsageError(
                    "camera is a metrichmsr.Camera(K=…, width=…, height=…, source='given'), not of type "
                    f"{type(camera).__name__}"
                )
            height, width = photo.rgb.shape[:2]
            if (camera.width, camera.height) != (width, height):
                raise InputError(
                    f"{photo.path}: camera is for {camera.width}×{camera.height}, picture is {width}×{height}"
                )
            return Calibration(camera, ())
        return calibrate(photo, self.options)

    def find(self, image: UInt8[np.ndarray, "H W 3"], path: Path) -> People:
        """Who is where in an upright picture; ``path`` says which boxes are its own, where the options name a file."""
        from metrichmsr.people import find_people

        options = self.options
        boxes = None
        if options.boxes is not None:
            from metrichmsr.people.boxes import boxes_for_image

            height, width = image.shape[:2]
            boxes = boxes_for_image(self._boxes, path, width=width, height=height, source=options.boxes)
            boxes = boxes[: options.max_people]
        threshold = {} if options.min_score is None else {"min_score": options.min_score}
        return find_people(
            image,
            detector=None if boxes is not None else self._detector,
            landmarker=self._landmarker,
            boxes=boxes,
            max_people=options.max_people,
            **threshold,
        )

    @property
    def _network_asks_for_up(self) -> bool:
        return self.options.method == "network" and self.regressor.config.gravity

    def _up(
        self, calibration: Calibration, image: UInt8[np.ndarray, "H W 3"], watch: Stopwatch, *, anybody: bool
    ) -> UpEstimate | None:
        """Which way is up, for a network or a scene that asks."""
        if self._scene is None and not (anybody and self._network_asks_for_up):
            return None
        if calibration.up is not None:
            return calibration.up
        from metrichmsr.calibration import estimate_view

        with watch.stage("up"):
            return estimate_view(image).up

    def _estimate(self, sight: Sight, warnings: list[str], watch: Stopwatch) -> BodyEstimates:
        """Bodies by the chosen method."""
        people, camera = sight.people, sight.camera
        heights = known_heights(self._heights, len(people.landmarks), warnings)
        depths = known_depths(self.options.length, people.detections.boxes_xyxy, camera, heights, warnings)
        warnings += _hardly_seen(people.landmarks.score)
        fits = self.options.method == "fit"
        with watch.stage("fit" if fits else "network"):
            if fits:
                estimates = self.fitter(self._evidence(sight, heights, depths)).estimates
            else:
                estimates = self._regress(sight, heights, depths)
        warnings += beyond_reach(estimates.body.height_m.numpy(), heights, depths)
        if fits or not self.options.refine:
            return estimates
        with watch.stage("refine"):
            return self.fitter.refine(self._evidence(sight, heights, depths), estimates)

    def _regress(
        self,
        sight: Sight,
        heights: Float[np.ndarray, "N"],
        depths: Float[np.ndarray, "N"],
    ) -> BodyEstimates:
        """Bodies by the network, the mirrored picture and faces looked at if the options say so."""
        people = sight.people
        mirrored = None
        if self.options.mirror:
            from metrichmsr.hmr.photographed import as_rendered
            from metrichmsr.people.mirrored import mirrored_landmarks

            in_mirror = mirrored_landmarks(sight.image, people.landmarks, self._landmarker)
            mirrored = as_rendered(in_mirror), sight.image.shape[1]
        faces = self._face_reader(sight.image, people.landmarks) if self.options.faces else None
        return self.regressor(
            sight.landmarks,
            sight.camera.K,
            up=sight.up,
            mirrored=mirrored,
            known_height_m=heights,
            known_depth_m=depths,
            who=self.options.people,
            faces=faces,
        )

    def _evidence(
        self,
        sight: Sight,
        heights: Float[np.ndarray, "N"],
        depths: Float[np.ndarray, "N"],
    ) -> Evidence:
        from metrichmsr.hmr.fitting.evidence import gather_evidence

        return gather_evidence(
            sight.landmarks,
            sight.camera,
            known_height_m=heights,
            known_depth_m=depths,
            use_mask=self.options.mask,
        )

    def _measured_later(self, people: tuple[Person, ...]) -> tuple[Person, ...]:
        """The same people, who are measured when their measurements are read or written."""
        from metrichmsr.bodies.measured_later import MeasuredLater

        def later(person: Person) -> MeasuredLater:
            return MeasuredLater(lambda: self._measurer.people([person])[0].measurements)

        return tuple(replace(person, measurements=later(person)) for person in people)


_HARDLY_SEEN = 0.35
"""Score of the landmarks below which a body is more guessed than seen."""


def _hardly_seen(scores: Float[np.ndarray, "N"]) -> list[str]:
    who = np.flatnonzero(scores < _HARDLY_SEEN)
    if not len(who):
        return []
    named = ("person " if len(who) == 1 else "persons ") + ", ".join(map(str, who))
    return [f"{named}: hardly seen; body, stature and place are guesses"]


def recover(source: str | Path | np.ndarray, *, camera: Camera | None = None, **options: Any) -> Recovery:
    """Recover the people of one picture as metric meshes in its camera's frame.

    Loads the models anew at every call: keep a :class:`Recoverer` for more than one picture.

    Args:
        source: a file, or an RGB array (H×W×3; uint8, or floats from 0 to 1).
        camera: intrinsics, if you have them as an object.
        **options: fields of :class:`RecoverOptions`, for instance ``focal_px=1200`` or ``height="1.82"``.

    Raises:
        InputError: the picture, its intrinsics or its boxes cannot be used.
        UsageError: there is no such option, or it makes no sense.
    """
    return Recoverer(options_by_name(options))(source, camera=camera)


__all__ = ["COCO17", "RecoverOptions", "Recoverer", "parse_heights", "recover"]
