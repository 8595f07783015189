"""The closed-form inverse of intrinsics against the general one."""

from __future__ import annotations

import math

import torch

from metrichmsr.geometry import intrinsics, invert_intrinsics


def test_inverse_of_turned_and_scaled_cameras() -> None:
    cameras = []
    for i in range(6):
        cos, sin = 0.3 * math.cos(i), 0.3 * math.sin(i)
        crop = torch.tensor([[cos, -sin, 40.0 * i], [sin, cos, -70.0 * i], [0, 0, 1]], dtype=torch.float64)
        skewed = intrinsics(900.0, 950.0, 640, 360)
        skewed[0, 1] = 3.0
        cameras.append(crop @ skewed)
    K = torch.stack(cameras)
    assert torch.allclose(invert_intrinsics(K), torch.linalg.inv(K), rtol=1e-12, atol=1e-15)
    assert torch.allclose(invert_intrinsics(K) @ K, torch.eye(3, dtype=torch.float64), atol=1e-12)
