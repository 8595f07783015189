"""A drawn person: enough of a picture for both networks, with joints and mask known by construction."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from metrichmsr.people import Landmarker, MoveNetDetector

SKIN, SHIRT, JEANS, HAIR, SHOE = (224, 172, 135), (40, 80, 160), (45, 50, 80), (60, 40, 25), (30, 25, 25)
SIDE_JOINTS = {
    "shoulder": (31, -92),
    "elbow": (50, -45),
    "wrist": (56, 0),
    "hip": (17, -14),
    "knee": (20, 60),
    "ankle": (22, 125),
}
"""Places of the drawn left joints, pixels from mid-waist at scale 1; the right ones are mirrored."""
COCO_ROWS = {"shoulder": 5, "elbow": 7, "wrist": 9, "hip": 11, "knee": 13, "ankle": 15}

DrawPerson = Callable[..., np.ndarray]


@pytest.fixture(scope="session")
def draw_person() -> DrawPerson:
    """``draw(image, x, y, scale)`` draws a person of 290·scale pixels, returns its COCO-17 (NaN where none)."""

    def draw(image: np.ndarray, x: float, y: float, scale: float = 1.0) -> np.ndarray:
        def at(u: float, v: float) -> tuple[int, int]:
            return round(x + scale * u), round(y + scale * v)

        def limb(a: tuple[float, float], b: tuple[float, float], color: tuple[int, int, int], width: float) -> None:
            cv2.line(image, at(*a), at(*b), color, max(1, round(scale * width)), cv2.LINE_AA)

        def oval(
            center: tuple[float, float], u: float, v: float, color: tuple[int, int, int], top: bool = False
        ) -> None:
            axes = (max(1, round(scale * u)), max(1, round(scale * v)))
            cv2.ellipse(image, at(*center), axes, 0, 180 if top else 0, 360, color, -1, cv2.LINE_AA)

        for side in (1, -1):
            limb((16 * side, -18), (20 * side, 60), JEANS, 26)
            limb((20 * side, 60), (22 * side, 125), JEANS, 21)
            limb((22 * side, 132), (30 * side, 136), SHOE, 15)
        trunk = np.array([at(-34, -98), at(34, -98), at(28, -10), at(-28, -10)])
        cv2.fillPoly(image, [trunk], SHIRT, cv2.LINE_AA)
        for side in (1, -1):
            limb((36 * side, -92), (50 * side, -45), SHIRT, 18)
            limb((50 * side, -45), (56 * side, 0), SKIN, 13)
            oval((57 * side, 8), 9, 9, SKIN)
        limb((0, -98), (0, -112), SKIN, 18)
        oval((0, -130), 19, 25, SKIN)
        oval((0, -142), 20, 16, HAIR, top=True)
        for side in (1, -1):
            oval((8 * side, -133), 2.5, 2.5, (40, 30, 30))
        limb((0, -131), (0, -124), (190, 135, 105), 3)
        oval((0, -117), 7, 2, (160, 70, 70))

        joints = np.full((17, 2), np.nan)
        joints[0] = x, y - scale * 125
        for name, (u, v) in SIDE_JOINTS.items():
            joints[COCO_ROWS[name]] = x + scale * u, y + scale * v
            joints[COCO_ROWS[name] + 1] = x - scale * u, y + scale * v
        return joints

    return draw


def empty_scene(height: int, width: int) -> np.ndarray:
    """Grey wall, brown floor."""
    image = np.empty((height, width, 3), np.uint8)
    image[:] = np.linspace(150, 200, height).astype(np.uint8)[:, None, None]
    image[int(0.8 * height) :] = (120, 110, 90)
    return image


@pytest.fixture(scope="session")
def scene() -> Callable[[int, int], np.ndarray]:
    """An empty room of some height and width."""
    return empty_scene


@pytest.fixture(scope="session")
def landmarker() -> Landmarker:
    """The shipped landmark network."""
    return Landmarker()


@pytest.fixture(scope="session")
def detector() -> MoveNetDetector:
    """The shipped detector."""
    return MoveNetDetector()
