"""The few records that travel through the package: what a photo became.

All of them are frozen and hold NumPy arrays: they are the edge where torch ends. Frames and units follow
``docs/conventions.md``: camera frame OpenCV (x right, y down, z forward), metres, radians, continuous pixels with the
origin at the outer corner of the top-left pixel.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

COCO17 = (
    "nose",
    "left_eye",
    "right_eye",
    "left_ear",
    "right_ear",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    "left_hip",
    "right_hip",
    "left_knee",
    "right_knee",
    "left_ankle",
    "right_ankle",
)
"""COCO's keypoint names in COCO's order: the exchange format of every keypoint array with 17 rows."""

BLAZEPOSE33 = (
    "nose",
    "left_eye_inner",
    "left_eye",
    "left_eye_outer",
    "right_eye_inner",
    "right_eye",
    "right_eye_outer",
    "left_ear",
    "right_ear",
    "mouth_left",
    "mouth_right",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    "left_pinky",
    "right_pinky",
    "left_index",
    "right_index",
    "left_thumb",
    "right_thumb",
    "left_hip",
    "right_hip",
    "left_knee",
    "right_knee",
    "left_ankle",
    "right_ankle",
    "left_heel",
    "right_heel",
    "left_foot_index",
    "right_foot_index",
)
"""MediaPipe BlazePose's landmarks in its order; left and right are the person's own."""


@dataclass(frozen=True)
class Camera:
    """A pinhole camera, with the origin of its intrinsics.

    Distortion, where it is known, is removed at the door (:func:`metrichmsr.geometry.distortion.undistort_image`); from
    there on every camera is a pinhole.
    """

    K: Float[np.ndarray, "3 3"]
    """Intrinsics in continuous pixels of the upright image, float64."""
    width: int
    """Image width in pixels."""
    height: int
    """Image height in pixels."""
    source: str
    """Where K comes from: ``given``, ``sidecar``, ``exif``, ``estimated:<method>`` or ``assumed``."""
    focal_std_px: float | None = None
    """One sigma of the focal length in pixels; None where nothing is known about it."""
    distortion: tuple[float, float, float, float, float] | None = None
    """Radial-tangential coefficients (k1, k2, p1, p2, k3) of the photo as it came, OpenCV's order."""

    def __post_init__(self) -> None:
        try:
            K = np.asarray(self.K, dtype=np.float64)
        except (TypeError, ValueError, RuntimeError) as error:  # RuntimeError: of a tensor that requires grad
            raise ValueError(f"K must be a 3×3 matrix of numbers ({error})") from None
        if K.shape != (3, 3) or not np.isfinite(K).all():
            shape = "" if K.shape == (3, 3) else f"of shape {'×'.join(map(str, K.shape)) or '()'}: "
            raise ValueError(f"K must be a finite 3×3 matrix, not {shape}{K.tolist()}")
        if K[0, 0] <= 0 or K[1, 1] <= 0:
            raise ValueError(f"focal lengths must be positive, not fx={K[0, 0]:g}, fy={K[1, 1]:g}")
        if np.abs(K[2] - [0, 0, 1]).max() > 1e-9 or abs(K[1, 0]) > 1e-9:
            raise ValueError(f"K is not of the form [[fx, s, cx], [0, fy, cy], [0, 0, 1]]: {K.tolist()}")
        if self.width < 1 or self.height < 1:
            raise ValueError(f"image size must be positive, not {self.width}×{self.height}")
        object.__setattr__(self, "K", K)

    @property
    def focal_px(self) -> float:
        """Mean of fx and fy, in pixels."""
        return float(0.5 * (self.K[0, 0] + self.K[1, 1]))

    @property
    def fov_x_deg(self) -> float:
        """Horizontal field of view in degrees (principal point honoured)."""
        fx, cx = self.K[0, 0], self.K[0, 2]
        return math.degrees(math.atan(cx / fx) + math.atan((self.width - cx) / fx))

    @property
    def fov_y_deg(self) -> float:
        """Vertical field of view in degrees (principal point honoured)."""
        fy, cy = self.K[1, 1], self.K[1, 2]
        return math.degrees(math.atan(cy / fy) + math.atan((self.height - cy) / fy))

    def replace(self, **changes: object) -> Camera:
        """A copy with some fields changed."""
        return dataclasses.replace(self, **changes)  # pyright: ignore[reportArgumentType]


class Measurement(NamedTuple):
    """A measurement of a body with its doubt, metres."""

    value_m: float
    std_m: float
    """One sigma."""


@dataclass(frozen=True, eq=False)
class Rig:
    """What hangs the mesh of a body model on its bones: the same for everybody of that model."""

    parents: tuple[int, ...]
    """Index of each bone's parent, −1 for the root, which comes first; parents come before children."""
    skin_bones: Int[np.ndarray, "V k"]
    """Bones that move each vertex, the weightiest first."""
    skin_weights: Float[np.ndarray, "V k"]
    """Their weights, float32; they add up to 1. Unused places have weight 0 and bone 0."""
    front: tuple[float, float, float]
    """Where the body looks at the identity pose, in its own frame: a unit vector."""
    up: tuple[float, float, float]
    """From its feet to its head there."""


@dataclass(frozen=True)
class Person:
    """One person: a posed body mesh in the camera frame, and the evidence it came from."""

    id: int
    """Index in the picture, by descending detection score."""
    score: float
    """Detection confidence in [0, 1]."""
    box_xyxy: Float[np.ndarray, "4"]
    """Box around the detected person, continuous pixels of the upright image."""
    body_model: str
    """Name of the body model (``anny``, ``smpl``, ``smplx``…)."""
    translation_m: Float[np.ndarray, "3"]
    """Position of the pelvis joint (the body model's root) in the camera frame, metres."""
    pose: Mapping[str, Float[np.ndarray, "3"]]
    """Parent-relative rotation vector of every bone, radians; the first, the root, takes body frame to camera frame."""
    shape: Mapping[str, float]
    """Shape parameters of the body model, by name."""
    height_m: float
    """Stature of the rest-pose body, heel to crown, metres."""
    height_std_m: float
    """One sigma of ``height_m``."""
    distance_std_m: float
    """One sigma of ``distance_m``: stature, focal length and fit taken together."""
    keypoints_2d_px: Float[np.ndarray, "17 3"]
    """COCO-17 as *detected* in the image: u, v in pixels and confidence in [0, 1]."""
    keypoints_3d_m: Float[np.ndarray, "17 3"]
    """COCO-17 of the *body*, camera frame, metres."""
    vertices_m: Float[np.ndarray, "V 3"]
    """Mesh vertices in the camera frame, metres."""
    faces: Int[np.ndarray, "F 3"]
    """Triangles of the mesh, counter-clockwise seen from outside."""
    joints_m: Float[np.ndarray, "J 3"]
    """The body model's own joints in the camera frame, metres, in the order of ``pose``."""
    mask: Bool[np.ndarray, "H W"] | None = field(default=None, repr=False)
    """Pixels where the person was segmented in the photo, where a mask was made."""
    reprojection_px: float = math.nan
    """Median distance between detected and projected keypoints, pixels: how well body and picture agree."""
    measurements: Mapping[str, Measurement] = field(default_factory=dict)
    """Lengths and girths of the rest body by name (``docs/measurements.md``), each with one sigma; empty where nobody
    measured. Those of a fresh recovery are taken when they are first read (some 30 ms a person)."""
    rig: Rig | None = field(default=None, repr=False)
    """Hangs ``vertices_m`` on the bones of ``pose``, for formats with a skeleton; None where only the mesh is known."""
    rest_pelvis_m: Float[np.ndarray, "3"] | None = field(default=None, repr=False)
    """Pelvis joint of the shaped, unposed body where the model's data puts it, body frame, metres. SMPL's own ``trans``
    is ``translation_m`` less this. None where it is not known."""

    @property
    def distance_m(self) -> float:
        """Distance from the camera centre to the pelvis joint, metres (Euclidean, not z-depth)."""
        return float(np.linalg.norm(self.translation_m))


@dataclass(frozen=True)
class AnchorResiduals:
    """How far depth and people are apart on the pixels that people vouch for, before and after either correction.

    Medians of |depth − anchor| / anchor over the anchor mask; NaN where there is nothing to compare.
    """

    initial: float
    """Of the source's depth as it came (of relative depth: meaningless, NaN)."""
    closed_form: float
    """After one robust scale and shift for the whole picture."""
    refined: float
    """Of the depth in the result."""
    scale: float
    """Of the closed form: depth = scale · initial + shift_m."""
    shift_m: float
    pixels: int
    """Anchor pixels with depth."""
    by_person: Mapping[int, float] = field(default_factory=dict)
    """Residual of the closed form by person id: one who stays far off is in a mirror or on a poster, or misplaced."""


@dataclass(frozen=True)
class Scene:
    """Metric surroundings of the people. Made by the depth stage; absent where none ran."""

    depth_m: Float[np.ndarray, "H W"]
    """Refined z-depth at the image's resolution, metres; NaN where unknown."""
    source: str
    """Which depth source it came from."""
    refined: bool
    """Whether people refined it."""
    initial_depth_m: Float[np.ndarray, "H W"] | None = None
    """Depth as its source gave it, metres (of a relative source: its own units)."""
    anchor_m: Float[np.ndarray, "H W"] | None = None
    """Rendered depth of the recovered people, metres; NaN elsewhere."""
    confidence: Float[np.ndarray, "H W"] | None = None
    """Per-pixel confidence in [0, 1]."""
    refinement: str = "none"
    """What made ``depth_m`` of the initial depth: ``network`` (paper §5), ``closed form`` or ``none``."""
    residuals: AnchorResiduals | None = None
    """How well depth and people agree; None without people."""
    ground_normal: Float[np.ndarray, "3"] | None = None
    """Unit normal of the ground plane in the camera frame, pointing up."""
    ground_offset_m: float | None = None
    """Distance of the camera above the ground plane, metres."""
    ground_std_m: float | None = None
    """One sigma of ``ground_offset_m``."""
    world_from_camera: Float[np.ndarray, "4 4"] | None = None
    """Gravity-aligned world: y up, ground at y = 0, origin below the camera, the camera looking along −z as far as its
    pitch allows (glTF's axes). None where neither ground nor people tell which way is up."""
    up_source: str | None = None
    """What told which way is up: ``ground``, ``people`` or ``camera`` (assumed level)."""
    foot_clearance_m: Mapping[int, float] = field(default_factory=dict)
    """Height of each person's lowest point above the ground by id: above 0 floating (or in the air), below 0 sunk."""


@dataclass(frozen=True)
class Recovery:
    """Everything recovered from one image, in one metric camera frame."""

    image_path: Path
    """The file it came from (for a video frame: the video)."""
    image: UInt8[np.ndarray, "H W 3"] = field(repr=False)
    """The upright RGB image that K, boxes and keypoints speak of."""
    camera: Camera
    """Intrinsics with their origin: a pinhole, whatever lens took the photo."""
    people: tuple[Person, ...]
    """Everybody found, best score first."""
    scene: Scene | None = None
    """Depth of the surroundings, where it was asked for and available."""
    warnings: tuple[str, ...] = ()
    """What the user should know: implausible field of view, nobody found, cut-off people…"""
    timings_ms: Mapping[str, float] = field(default_factory=dict)
    """Milliseconds by stage."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Versions of the package and of the checkpoints that made this."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Options that were not left at their defaults, by name, as text."""
    removed_distortion: tuple[float, float, float, float, float] | None = None
    """Radial-tangential coefficients (k1, k2, p1, p2, k3), OpenCV's order, of the photo as it came; ``image`` is
    without them, and whoever reads the photo again removes them again. None where none were known."""
