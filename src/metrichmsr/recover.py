"""The way of an image: read ► calibrate ► find people ► regress bodies ► refine ► assemble ► depth ► scene."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from metrichmsr.errors import InputError, UsageError
from metrichmsr.structures import COCO17, Camera, Person, Recovery

if TYPE_CHECKING:
    from jaxtyping import Float, UInt8

    from metrichmsr.bodies.protocol import BodyModel
    from metrichmsr.calibration import Calibration
    from metrichmsr.calibration.estimators import UpEstimate
    from metrichmsr.hmr.estimates import BodyEstimates
    from metrichmsr.hmr.fitting.evidence import Evidence
    from metrichmsr.images import Photo
    from metrichmsr.people import People
    from metrichmsr.scene.recover_scene import SceneRecoverer


@dataclass(frozen=True)
class RecoverOptions:
    """How to recover people from a photo. Lengths in metres, angles in degrees, image measures in pixels."""

    method: Literal["network", "fit"] = "network"
    """How bodies are found: network = regressed by MetricHMR; fit = fitted to landmarks, mask and priors."""
    checkpoint: Path | None = None
    """Network to use instead of the shipped one (a .safetensors file that metrichmsr train wrote)."""
    refine: bool = True
    """Polish the network's answer against landmarks and mask."""
    mirror: bool = False
    """Look at everybody in a mirror as well and take the mean of both answers: a little better, not as fast."""
    body_model: Literal["anny", "smpl", "smplh", "smplx"] = "anny"
    """Body model of the result; the SMPL family is brought to the fitted Anny body's keypoints."""
    body_model_dir: Path | None = None
    """Folder with your SMPL, SMPL-H or SMPL-X files."""

    focal_px: float | None = None
    """Focal length in pixels of the picture, if you know it."""
    focal_35mm: float | None = None
    """Focal length as 35 mm equivalent, if you know it: by the diagonal, as data sheets and EXIF state it."""
    fov: float | None = None
    """Horizontal field of view in degrees, if you know it."""
    intrinsics: Path | None = None
    """Intrinsics file: JSON {"K": …} or COLMAP cameras.txt."""
    calibrate: Literal["panorama", "none", "anycalib", "geocalib", "moge", "mapanything"] = "panorama"
    """Who estimates the focal length where photo and options do not tell it: panorama = the network that comes along;
    none = nobody, the longer side is assumed; anycalib, geocalib, moge, mapanything = that model, if installed."""

    height: str | None = None
    """Known stature: metres (1.82), or a JSON file or text {"0": 1.82, …} by person id. Fixes the scale."""
    people: Literal["anybody", "adults", "children"] = "anybody"
    """Who is in the picture, if you know: adults (1.45 m and taller) or children alone."""
    length: tuple[float, float, float, float, float] | None = None
    """A known length in the picture: X0 Y0 X1 Y1 METRES, upright at the distance of the person nearest to it."""

    boxes: Path | None = None
    """File with person boxes (x0, y0, x1, y1) to use instead of the detector."""
    max_people: int = 50
    """At most so many people in one picture."""
    min_score: float | None = None
    """Detections below this confidence are left out (default: the detector's own)."""
    mask: bool = True
    """Use the person mask besides the landmarks."""

    depth: str = "auto"
    """Where the scene's depth comes from: auto (the best that is installed and on disk), embedded, mapanything, moge,
    depth_anything_3, a depth model of the transformers library, file:PATH, or none (people only). See docs/depth.md."""
    depth_unit: str = "auto"
    """What the numbers of --depth file:PATH mean: metres, millimetres, relative, inverse, or a factor to metres."""
    refine_depth: Literal["network", "closed-form", "none"] = "network"
    """How people correct the depth: affine field of the refinement network, one scale and shift, or not at all."""
    download: bool = False
    """Let the depth source fetch weights that are missing."""

    def __post_init__(self) -> None:
        if self.max_people < 1:
            raise UsageError(f"--max-people must be at least 1, not {self.max_people}")
        if self.method == "fit" and self.checkpoint is not None:
            raise UsageError("--checkpoint goes with --method network")
        if self.method == "fit" and self.mirror:
            raise UsageError("--mirror goes with --method network")
        if self.method == "fit" and self.people != "anybody":
            raise UsageError("--people goes with --method network")
        if self.length is not None and not (all(map(math.isfinite, self.length)) and self.length[4] > 0):
            raise UsageError("--length wants X0 Y0 X1 Y1 METRES, all finite and METRES positive")

    def changed(self) -> dict[str, str]:
        """Options that are not at their defaults, as text."""
        values = {option.name: (getattr(self, option.name), option.default) for option in fields(self)}
        return {
            name: " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
            for name, (value, default) in values.items()
            if value != default
        }


@dataclass
class Stopwatch:
    """Milliseconds by stage."""

    timings_ms: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time spent in the block to a stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.timings_ms[name] = self.timings_ms.get(name, 0.0) + 1000 * (time.perf_counter() - start)


@dataclass(frozen=True)
class Sight:
    """What bodies are estimated from."""

    people: People
    image: UInt8[np.ndarray, "H W 3"]
    """Upright RGB, distortion removed."""
    camera: Camera
    up: UpEstimate | None
    """Which way is up, where the method asks."""


# Models of a recoverer, and the options that decide which they are.
_SHARED = {
    "_anny": (),
    "_detector": (),
    "_landmarker": (),
    "fitter": (),
    "regressor": ("method", "checkpoint"),
    "_other_body": ("body_model", "body_model_dir"),
    "_measurer": ("body_model", "body_model_dir"),
    "_scene": ("depth", "depth_unit", "refine_depth", "download"),
}


class Recoverer:
    """Recovers people from photos; loads its models once, at first use.

    Args:
        options: how; the defaults suit a photo of unknown origin.
        device: torch device of the networks, the CPU if left out.
        find: finds the people of an upright RGB picture (given with its path) in place of :meth:`find`, for instance to
            share what was found among recoverers.
    """

    def __init__(
        self,
        options: RecoverOptions | None = None,
        *,
        device: str | None = None,
        find: Callable[[UInt8[np.ndarray, "H W 3"], Path], People] | None = None,
    ) -> None:
        self.options = options or RecoverOptions()
        self._find = find or self.find
        self.device = device or "cpu"
        self._heights = parse_heights(self.options.height)

    def __call__(self, source: str | Path | np.ndarray | Photo, *, camera: Camera | None = None) -> Recovery:
        """Recover the people of one picture.

        Args:
            source: a file, an RGB array (uint8 H×W×3), or a photo already read.
            camera: intrinsics, if you have them as an object; they go before everything else.

        Raises:
            InputError: the picture, its intrinsics or its boxes cannot be used.
        """
        # What is missing or damaged should be told before a minute of work.
        _ = self._other_body, self._boxes, self._scene
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
        warnings = list(calibration.warnings)
        recovered: tuple[Person, ...] = ()
        if len(people.landmarks):
            sight = Sight(people, image, shown, self._up(calibration, image, watch))
            estimates = self._estimate(sight, warnings, watch)
            with watch.stage("assemble"):
                recovered = self._measured_later(self._assemble(people, estimates, image, shown, warnings))
        else:
            warnings.append("nobody was found in this picture")
        scene = None
        if self._scene is not None:
            scene = self._scene(image, shown, recovered, path=photo.path, stage=watch.stage, warnings=warnings)
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

    def load(self) -> None:
        """Load all models that the options need now, rather than at the first picture.

        Raises:
            MetricHMSRError: one is missing or damaged.
        """
        _ = self._scene, self._measurer, self._detector, self._landmarker, self.fitter
        if self.options.method == "network":
            _ = self.regressor

    def with_options(self, options: RecoverOptions) -> Recoverer:
        """A recoverer of other options that shares what this one has loaded (:meth:`load`) and is the same there."""
        other = Recoverer(options, device=self.device, find=None if self._find == self.find else self._find)
        for name, decided_by in _SHARED.items():
            if name in self.__dict__ and all(getattr(options, by) == getattr(self.options, by) for by in decided_by):
                other.__dict__[name] = self.__dict__[name]
        return other

    @cached_property
    def fitter(self) -> Any:
        """The fitter with its body and priors."""
        from metrichmsr.hmr.fitting.fit import Fitter

        return Fitter.load(self._anny)

    @cached_property
    def _scene(self) -> SceneRecoverer | None:
        """The depth stage; None where the options leave it out."""
        options = self.options
        if options.depth == "none":
            return None
        from metrichmsr.scene.depth.registry import load_depth_source
        from metrichmsr.scene.recover_scene import SceneRecoverer
        from metrichmsr.scene.refine import DepthRefiner

        source = load_depth_source(
            options.depth, download=options.download, device=self.device, unit=options.depth_unit
        )
        refiner = None
        if options.refine_depth == "network":
            refiner = DepthRefiner.load(device=self.device)
        elif options.refine_depth == "closed-form":
            refiner = DepthRefiner(None)
        return SceneRecoverer(source, refiner)

    @cached_property
    def regressor(self) -> Any:
        """The network with its body."""
        from metrichmsr.hmr.regress import WEIGHTS, Regressor

        return Regressor.load(self._anny, self.options.checkpoint or WEIGHTS)

    @cached_property
    def _anny(self) -> Any:
        from metrichmsr.bodies.anny import AnnyBody

        return AnnyBody.load()

    @cached_property
    def _other_body(self) -> BodyModel | None:
        """The user's body model, where the result is to be in another one than the fit's."""
        from metrichmsr.bodies import load_body_model

        if self.options.body_model == "anny":
            return None
        return load_body_model(self.options.body_model, body_model_dir=self.options.body_model_dir)

    @cached_property
    def _measurer(self) -> Any:
        """What measures the bodies of the result."""
        from metrichmsr.bodies.measurement_doubt import Measurer

        return Measurer(self._other_body or self._anny)

    @cached_property
    def _versions(self) -> Mapping[str, str]:
        from metrichmsr import __version__
        from metrichmsr.weights import file_hash, short_hash

        parts = ["blazepose_heavy", "movenet_multipose", "anny", "pose_prior", "seen_landmarks", "view_small"]
        if self._scene is not None:
            parts += ["depth_small"] if self._scene.source.name == "embedded" else []
            parts += ["refine_small"] if self.options.refine_depth == "network" else []
        named = []
        if self.options.method == "network":
            given = self.options.checkpoint
            named = [f"{given.stem}:{file_hash(given)[:8]}" if given else f"hmr_small:{short_hash('hmr_small')}"]
        return {
            "metrichmsr": __version__,
            "checkpoint": " ".join([*named, *(f"{part}:{short_hash(part)}" for part in parts)]),
        }

    @cached_property
    def _boxes(self) -> Mapping[str, np.ndarray]:
        from metrichmsr.people.boxes import read_boxes

        return read_boxes(self.options.boxes) if self.options.boxes is not None else {}

    @cached_property
    def _detector(self) -> Any:
        from metrichmsr.people import MoveNetDetector

        return MoveNetDetector()

    @cached_property
    def _landmarker(self) -> Any:
        from metrichmsr.people import Landmarker

        return Landmarker()

    def _read(self, source: str | Path | np.ndarray | Photo) -> Photo:
        from metrichmsr.images import Photo, from_array, read_image

        if isinstance(source, Photo):
            return source
        if isinstance(source, np.ndarray):
            return from_array(source)
        return read_image(source)

    def _calibrate(self, photo: Photo, camera: Camera | None) -> Calibration:
        from metrichmsr.calibration import Calibration, calibrate

        if camera is not None:
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

    def _up(self, calibration: Calibration, image: UInt8[np.ndarray, "H W 3"], watch: Stopwatch) -> UpEstimate | None:
        """Which way is up, for a network that asks."""
        if self.options.method != "network" or not self.regressor.config.gravity:
            return None
        if calibration.up is not None:
            return calibration.up
        from metrichmsr.calibration import estimate_view

        with watch.stage("up"):
            return estimate_view(image).up

    def _estimate(self, sight: Sight, warnings: list[str], watch: Stopwatch) -> BodyEstimates:
        """Bodies by the chosen method."""
        people, camera = sight.people, sight.camera
        heights = self._known_heights(len(people.landmarks), warnings)
        depths = self._known_depths(people, camera, warnings)
        if self.options.method == "fit":
            with watch.stage("fit"):
                return self.fitter(self._evidence(people, camera, heights, depths)).estimates
        with watch.stage("network"):
            mirrored = None
            if self.options.mirror:
                from metrichmsr.people.mirrored import mirrored_landmarks

                in_mirror = mirrored_landmarks(sight.image, people.landmarks, self._landmarker)
                mirrored = in_mirror, sight.image.shape[1]
            estimates = self.regressor(
                people.landmarks,
                camera.K,
                up=sight.up,
                mirrored=mirrored,
                known_height_m=heights,
                known_depth_m=depths,
                who=self.options.people,
            )
        if not self.options.refine:
            return estimates
        with watch.stage("refine"):
            return self.fitter.refine(self._evidence(people, camera, heights, depths), estimates)

    def _evidence(
        self,
        people: People,
        camera: Camera,
        known_heights: Float[np.ndarray, "N"],
        known_depths: Float[np.ndarray, "N"],
    ) -> Evidence:
        from metrichmsr.hmr.fitting.evidence import gather_evidence

        return gather_evidence(
            people.landmarks,
            camera,
            known_height_m=known_heights,
            known_depth_m=known_depths,
            use_mask=self.options.mask,
        )

    def _known_heights(self, n: int, warnings: list[str]) -> Float[np.ndarray, "N"]:
        known = np.full(n, np.nan)
        if isinstance(self._heights, float):
            known[:] = self._heights
            if n > 1:
                warnings.append(
                    f"--height {self._heights:g} was taken for all {n} people; give a JSON by id to tell them apart"
                )
        elif isinstance(self._heights, dict):
            for person, height in self._heights.items():
                if person < n:
                    known[person] = height
                else:
                    warnings.append(f"--height names person {person}, but only {n} were found")
        return known

    def _known_depths(self, people: People, camera: Camera, warnings: list[str]) -> Float[np.ndarray, "N"]:
        """z-depth of the person nearest to a known length: focal · metres / pixels."""
        known = np.full(len(people.landmarks), np.nan)
        if self.options.length is None or not len(known):
            return known
        u0, v0, u1, v1, metres = self.options.length
        ends = np.array([[u0, v0, 1.0], [u1, v1, 1.0]]) @ np.linalg.inv(camera.K).T
        span = float(np.linalg.norm(ends[1, :2] - ends[0, :2]))
        if span == 0:
            raise UsageError("--length: its two ends are the same pixel")
        boxes = people.detections.boxes_xyxy
        middle = np.array([(u0 + u1) / 2, (v0 + v1) / 2])
        gap = np.maximum(np.maximum(boxes[:, :2] - middle, middle - boxes[:, 2:]), 0)
        nearest = int(np.linalg.norm(gap, axis=1).argmin())
        known[nearest] = metres / span
        warnings.append(f"the known length fixes the distance of person {nearest}")
        return known

    def _measured_later(self, people: tuple[Person, ...]) -> tuple[Person, ...]:
        """The same people, who are measured when their measurements are read or written."""
        from metrichmsr.bodies.measured_later import MeasuredLater

        def later(person: Person) -> MeasuredLater:
            return MeasuredLater(lambda: self._measurer.people([person])[0].measurements)

        return tuple(replace(person, measurements=later(person)) for person in people)

    def _assemble(
        self, people: People, fit: BodyEstimates, image: np.ndarray, camera: Camera, warnings: list[str]
    ) -> tuple[Person, ...]:
        import roma

        from metrichmsr.bodies.rig import rig_of

        body, landmarks = self._other_body or self._anny, people.landmarks
        posed, pose, shape = fit.body, fit.pose, fit.shape
        if self._other_body is not None:
            from metrichmsr.bodies.transfer import transfer

            moved = transfer(fit.body, self._other_body)
            posed, pose, shape = moved.body, moved.pose, moved.shape
            off = 1000 * float(moved.error_m.mean())
            warnings.append(f"{body.name} was fitted to the keypoints of the Anny body: {off:.0f} mm apart on average")
        rotvecs = roma.rotmat_to_rotvec(pose).numpy().astype(np.float64)
        vertices, joints = posed.vertices_m.numpy(), posed.joints_m.numpy().astype(np.float64)
        coco = posed.coco17_m.numpy().astype(np.float64)
        faces, rig = body.faces.numpy(), rig_of(body)
        rest_pelvis = body.rest(shape).joints_m[:, 0].numpy().astype(np.float64)
        # Distance is measured in focal lengths: what the focal length is off, the distance is off as well.
        focal_part = 0.0 if camera.focal_std_px is None else camera.focal_std_px / camera.focal_px
        detected = landmarks.coco17
        persons = []
        for i in range(len(landmarks)):
            translation = joints[i, 0]
            distance = float(np.linalg.norm(translation))
            seen = detected[i, :, 2] > 0.5
            projected = coco[i] @ camera.K.T
            error = np.linalg.norm(projected[:, :2] / projected[:, 2:] - detected[i, :, :2], axis=1)
            persons.append(
                Person(
                    id=i,
                    score=float(people.detections.scores[i]),
                    box_xyxy=np.asarray(people.detections.boxes_xyxy[i], dtype=np.float64),
                    body_model=body.name,
                    translation_m=translation,
                    pose={name: rotvecs[i, j] for j, name in enumerate(body.bone_names)},
                    shape={name: float(shape[i, k]) for k, name in enumerate(body.shape_names)},
                    height_m=float(posed.height_m[i]),
                    height_std_m=float(fit.height_std_m[i]),
                    distance_std_m=distance * math.hypot(float(fit.log_depth_std[i]), focal_part),
                    keypoints_2d_px=np.asarray(detected[i], dtype=np.float64),
                    keypoints_3d_m=coco[i],
                    vertices_m=vertices[i],
                    faces=faces,
                    joints_m=joints[i],
                    mask=landmarks.mask(i, height=image.shape[0], width=image.shape[1]),
                    reprojection_px=float(np.median(error[seen])) if seen.any() else math.nan,
                    rig=rig,
                    rest_pelvis_m=rest_pelvis[i],
                )
            )
        return tuple(persons)


def recover(source: str | Path | np.ndarray, *, camera: Camera | None = None, **options: Any) -> Recovery:
    """Recover the people of one picture as metric meshes in its camera's frame.

    Loads the models anew at every call: keep a :class:`Recoverer` for more than one picture.

    Args:
        source: a file, or an RGB array (uint8 H×W×3).
        camera: intrinsics, if you have them as an object.
        **options: fields of :class:`RecoverOptions`, for instance ``focal_px=1200`` or ``height="1.82"``.
    """
    return Recoverer(RecoverOptions(**options))(source, camera=camera)


def parse_heights(text: str | None) -> float | dict[int, float] | None:
    """Read ``--height``: one number in metres, or JSON (text or file) of metres by person id.

    Raises:
        UsageError: it is none of these, or a height is not that of a human (0.3 to 2.7 m).
    """
    if text is None:
        return None
    try:
        height_m = float(text)
    except ValueError:
        pass
    else:
        return _plausible_height(height_m)
    path = Path(text)
    try:
        content = json.loads(path.read_text() if not text.lstrip().startswith("{") and path.is_file() else text)
        heights = {int(person): _plausible_height(float(value)) for person, value in content.items()}
    except (ValueError, TypeError, AttributeError, OSError) as error:
        raise UsageError(f'--height {text}: neither metres nor a JSON like {{"0": 1.82}} by person id') from error
    if any(person < 0 for person in heights):
        raise UsageError(f"--height {text}: person ids start at 0")
    return heights


def _plausible_height(height_m: float) -> float:
    if not 0.3 <= height_m <= 2.7:
        raise UsageError(f"--height: {height_m:g} is no human stature in metres (0.3 to 2.7)")
    return height_m


__all__ = ["COCO17", "RecoverOptions", "Recoverer", "parse_heights", "recover"]
