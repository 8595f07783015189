"""Cameras, crops, ray maps, rotations and alignment: pure functions on batched torch tensors."""

from metrichmsr.geometry.alignment import Similarity, affine_align, rigid_align, similarity_align
from metrichmsr.geometry.cameras import (
    fov_to_focal,
    intrinsics,
    invert_intrinsics,
    mirror_intrinsics,
    pixel_centers,
    project,
    scale_intrinsics,
    unproject,
)
from metrichmsr.geometry.crops import crop_from_image_matrix, crop_intrinsics, square_box
from metrichmsr.geometry.raymap import bounding_ray_map, ray_map
from metrichmsr.geometry.rotations import camera_from_view, matrix_to_rotation_6d, rotation_6d_to_matrix

__all__ = [
    "Similarity",
    "affine_align",
    "bounding_ray_map",
    "camera_from_view",
    "crop_from_image_matrix",
    "crop_intrinsics",
    "fov_to_focal",
    "intrinsics",
    "invert_intrinsics",
    "matrix_to_rotation_6d",
    "mirror_intrinsics",
    "pixel_centers",
    "project",
    "ray_map",
    "rigid_align",
    "rotation_6d_to_matrix",
    "scale_intrinsics",
    "similarity_align",
    "square_box",
    "unproject",
]
