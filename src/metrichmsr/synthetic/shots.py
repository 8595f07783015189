"""A synthetic picture and everything that is true of it.

Convention: all metric truth is in the camera frame (OpenCV: x right, y down, z forward, metres); pixels are continuous
pixels of this picture, and K is this picture's. A shot that is a crop of a larger picture says so in
``crop_from_full``: its K is the crop's K' = S·T·K.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int8, UInt8

NOBODY = 255
"""Value of ``person_id`` where no person is seen."""

OUTSIDE, OCCLUDED, VISIBLE = 0, 1, 2
"""Values of ``visibility``: outside the picture or behind the camera; hidden by something or by the body; seen."""


@dataclass(frozen=True)
class ShotPeople:
    """The P people of one shot, in the camera frame, the one who is the subject first.

    People none of whose pixels are seen are included, with an empty box.
    """

    pose: Float32[np.ndarray, "P J 3"]
    """Parent-relative rotation vectors of Anny's bones, radians; the root's takes body frame to camera frame."""
    shape: Float32[np.ndarray, "P 6"]
    """Anny's shape parameters (gender, age, muscle, weight, height, proportions)."""
    translation_m: Float32[np.ndarray, "P 3"]
    """Pelvis joint."""
    height_m: Float32[np.ndarray, "P"]
    """Stature of the rest body, heel to crown."""
    joints_m: Float32[np.ndarray, "P J 3"]
    """Bone heads."""
    coco17_m: Float32[np.ndarray, "P 17 3"]
    landmarks33_m: Float32[np.ndarray, "P 33 3"]
    """BlazePose's landmarks."""
    coco17_px: Float32[np.ndarray, "P 17 2"]
    """Projected; NaN behind the camera."""
    landmarks33_px: Float32[np.ndarray, "P 33 2"]
    visibility: UInt8[np.ndarray, "P 17"]
    """Of the COCO-17 joints: OUTSIDE, OCCLUDED or VISIBLE."""
    visibility33: UInt8[np.ndarray, "P 33"]
    """Of BlazePose's landmarks."""
    box_xyxy: Float32[np.ndarray, "P 4"]
    """Around the visible pixels; zeros where none is."""
    amodal_box_xyxy: Float32[np.ndarray, "P 4"]
    """Around all vertices in front of the camera, hidden or not; may leave the picture."""
    visible_share: Float32[np.ndarray, "P"]
    """Pixels seen, divided by those that would be if nothing else were there and the picture had no edge."""
    support: tuple[str, ...]
    """``ground``, ``seat``, ``lying`` or ``air``."""
    pose_source: tuple[str, ...]
    """Clip and frame, or ``prior``."""
    wears: tuple[tuple[str, ...], ...]
    """Names of each person's skin, hair, garments and carried things."""

    def __len__(self) -> int:
        return len(self.height_m)


@dataclass(frozen=True)
class Shot:
    """One picture with its truth."""

    key: str
    """Name within its set: digits, letters and underscores."""
    image: UInt8[np.ndarray, "H W 3"]
    """sRGB; black where a crop leaves the full picture."""
    depth_m: Float32[np.ndarray, "H W"]
    """z-depth of the nearest surface, clothes included; NaN where nothing modelled is seen (background, sky)."""
    normals: Int8[np.ndarray, "H W 3"]
    """Unit normals of these surfaces in the camera frame, times 127; zero where nothing modelled is seen."""
    person_id: UInt8[np.ndarray, "H W"]
    """Row of ``people`` that is seen, NOBODY elsewhere: their mask, clothes included."""
    ground: Bool[np.ndarray, "H W"]
    """Where the floor that people stand on is seen."""
    K: Float32[np.ndarray, "3 3"]
    """Intrinsics of this picture."""
    camera_from_world: Float32[np.ndarray, "4 4"]
    """World: y up (against gravity), ground at y = 0."""
    full_K: Float32[np.ndarray, "3 3"]  # noqa: N815 - K is a matrix
    """Intrinsics of the picture this is a crop of; K where it is none."""
    full_size: tuple[int, int]
    """Width and height of that picture."""
    crop_from_full: Float32[np.ndarray, "3 3"]
    """From its continuous pixels to this picture's; the identity where this is no crop."""
    people: ShotPeople
    environment: str
    """Name of the background, panorama or room."""
    settings: dict[str, float | str]
    """What else was drawn: noise, blur, JPEG quality, exposure, sun height…"""

    @property
    def gravity(self) -> Float32[np.ndarray, "3"]:
        """Unit vector downwards in the camera frame."""
        return -self.camera_from_world[:3, 1]

    @property
    def ground_plane(self) -> tuple[Float32[np.ndarray, "3"], float]:
        """Unit normal n (upwards, camera frame) and offset d of the ground: n·X + d = 0; d is the camera's height."""
        up = self.camera_from_world[:3, 1]
        return up, float(-up @ self.camera_from_world[:3, 3])

    @property
    def fov_x_deg(self) -> float:
        """Horizontal field of view of the full picture, degrees."""
        fx, cx, width = self.full_K[0, 0], self.full_K[0, 2], self.full_size[0]
        return float(np.degrees(np.arctan(cx / fx) + np.arctan((width - cx) / fx)))
