"""The keys of ``result.json``, schema ``metrichmsr/1``, as types.

Lengths are metres, angles radians, pixels continuous with the origin at the outer corner of the top-left pixel of the
upright image; positions are in the camera frame (x right, y down, z forward). A value nobody knows is null. Keys may be
added, but never renamed or given another meaning without a new schema number.
"""

from __future__ import annotations

from typing import TypedDict

SCHEMA = "metrichmsr/1"

Number = float | None
"""JSON knows no NaN: an unknown number is null."""


class ImageEntry(TypedDict):
    """Which picture this is."""

    path: str
    """The file as it was named; for a video frame, the video."""
    width: int
    height: int
    """Pixels of the upright image."""
    frame: int | None
    """Number of the frame in a video, from 0; null for a photo."""
    path_from_result: str | None
    """The same file from the folder of the result, with ``/``; null where there was no such file (a picture in
    memory)."""


class CameraEntry(TypedDict):
    """The camera and where its intrinsics come from."""

    K: list[list[float]]
    """3×3, pixels, in full precision."""
    source: str
    """``given``, ``sidecar``, ``exif``, ``estimated:<method>`` or ``assumed``."""
    focal_std_px: Number
    """One sigma of the focal length."""
    fov_x_deg: float
    """Horizontal field of view, degrees."""
    distortion: list[float] | None
    """k1, k2, p1, p2, k3 of the photo as it came; null where none was known. Boxes, keypoints and K speak of the
    picture without it."""


class MeasurementEntry(TypedDict):
    """A length or girth of a body, metres."""

    value: Number
    std: Number
    """One sigma."""


class PersonEntry(TypedDict):
    """One person."""

    id: int
    score: Number
    """Detection confidence in [0, 1]."""
    box_xyxy: list[Number]
    """Pixels."""
    height_m: Number
    """Stature of the rest-pose body, heel to crown."""
    height_std_m: Number
    distance_m: Number
    """From the camera centre to the pelvis joint, Euclidean."""
    distance_std_m: Number
    translation_m: list[Number]
    """Pelvis joint."""
    keypoints_2d_px: dict[str, list[Number]]
    """COCO name → u, v, confidence, as *detected*."""
    keypoints_3d_m: dict[str, list[Number]]
    """COCO name → x, y, z of the *body*; project them with K to compare."""
    joints_3d_m: dict[str, list[Number]]
    """Bone of the body model → x, y, z of its head."""
    body_model: str
    pose: dict[str, list[Number]]
    """Bone → parent-relative rotation vector, root first; the root takes the body frame to the camera frame."""
    shape: dict[str, Number]
    """Shape parameters of the body model."""
    reprojection_px: Number
    """Median distance between detected and projected keypoints, pixels."""
    mesh: str | None
    """File name of the mesh, beside this file; null where none was saved."""
    measurements_m: dict[str, MeasurementEntry] | None
    """Lengths and girths of the rest body by name (``docs/measurements.md``); null where nobody measured."""


class GroundPlaneEntry(TypedDict):
    """The ground."""

    normal: list[Number]
    """Unit normal in the camera frame, pointing up."""
    offset_m: Number
    """Height of the camera above it."""
    offset_std_m: Number
    """One sigma of that height."""


class ResidualsEntry(TypedDict):
    """How far depth and people are apart: medians of |depth − body| / body over the pixels that show both."""

    initial: Number
    """Before anything was done; null where the source claims no metres."""
    closed_form: Number
    """After one scale and one shift."""
    refined: Number
    """In the result."""
    scale: Number
    shift_m: Number
    """The closed form: depth = scale · initial + shift_m."""
    pixels: int
    """Pixels that show both."""
    by_person: dict[str, Number]
    """After the closed form, by id."""


class SceneEntry(TypedDict):
    """What the depth stage found."""

    depth: str | None
    """File name of the depth maps, beside this file; null where none was saved."""
    source: str
    """Which depth source."""
    refined: bool
    """Whether people corrected it."""
    ground_plane: GroundPlaneEntry | None
    refinement: str
    """``network``, ``closed form`` or ``none``."""
    residuals: ResidualsEntry | None
    """Null without people in the depth."""
    world_from_camera: list[list[float]] | None
    """4×4: camera frame to the world (y against gravity, ground at y = 0, origin below the camera); null where nothing
    tells which way is up."""
    up_source: str | None
    """What told: ``ground`` or ``people``."""
    foot_clearance_m: dict[str, Number]
    """Height of each person's lowest point above the ground, by id: floating above 0, sunk below."""


class ResultDocument(TypedDict):
    """``result.json``."""

    schema: str
    image: ImageEntry
    camera: CameraEntry
    people: list[PersonEntry]
    scene: SceneEntry | None
    """Null where no depth stage ran."""
    warnings: list[str]
    timings_ms: dict[str, Number]
    versions: dict[str, str]
    settings: dict[str, str]
    """Options of ``recover`` that were not left at their defaults, as text."""


ADDED_KEYS = frozenset(
    {
        *("frame", "path_from_result", "distortion", "joints_3d_m", "reprojection_px", "offset_std_m"),
        "settings",
        *("refinement", "residuals", "world_from_camera", "up_source", "foot_clearance_m"),
        "measurements_m",
    }
)
"""Keys younger than the schema: files written without them are valid."""
