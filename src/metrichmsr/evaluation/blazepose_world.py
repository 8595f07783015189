"""BlazePose's own 3D landmarks, as a baseline for joint errors."""

from __future__ import annotations

from functools import cached_property

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from metrichmsr.structures import Camera, Person


class BlazePoseWorld:
    """COCO-17 of BlazePose heavy's "world" landmarks of a found person; loads the network at first use.

    The network sees an upright crop and answers in axes of a camera that looks at its middle. The detected keypoints
    are given to it for an aligned crop, and the answer is turned to the real camera by the ray through that middle.
    """

    @cached_property
    def _landmarker(self):
        from metrichmsr.people import Landmarker

        return Landmarker()

    def __call__(self, image: UInt8[np.ndarray, "H W 3"], person: Person, camera: Camera) -> Float[np.ndarray, "17 3"]:
        """Landmarks relative to mid-hip in metres, along the axes of the camera."""
        from metrichmsr.people import COCO17_OF_33

        landmarks = self._landmarker(image, person.box_xyxy[None], keypoints=person.keypoints_2d_px[None])
        size = landmarks.mask_logits.shape[-1]
        middle = np.linalg.inv(landmarks.crop_from_image[0]) @ (size / 2, size / 2, 1.0)
        return landmarks.world[0, list(COCO17_OF_33)] @ rotation_to_ray(np.linalg.inv(camera.K) @ middle).T


def rotation_to_ray(ray: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3 3"]:
    """The smallest rotation that turns the optical axis (0, 0, 1) to a ray in front of the camera."""
    ray = ray / np.linalg.norm(ray)
    axis = np.cross((0.0, 0.0, 1.0), ray)
    sine = float(np.linalg.norm(axis))
    if sine < 1e-12:
        return np.eye(3)
    return np.asarray(cv2.Rodrigues(axis / sine * np.arctan2(sine, ray[2]))[0], dtype=np.float64)
