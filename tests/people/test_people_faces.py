"""Faces: the network is the original's, crops turn with heads, and who is not seen is not read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from metrichmsr.images import read_image
from metrichmsr.people import Landmarker, MoveNetDetector, find_people
from metrichmsr.people.face_network import FaceNetwork
from metrichmsr.people.faces import SMALLEST_PX, FaceReader, face_regions
from metrichmsr.people.landmarks import Landmarks
from metrichmsr.people.weight_files import WEIGHTS_DIR, load_into
from metrichmsr.structures import BLAZEPOSE33

ASTRONAUT = Path(__file__).parents[2] / "examples/photos/astronaut.jpg"
NOSE = BLAZEPOSE33.index("nose")


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return read_image(ASTRONAUT).rgb


@pytest.fixture(scope="module")
def landmarks(image: np.ndarray) -> Landmarks:
    return find_people(image, detector=MoveNetDetector(), landmarker=Landmarker()).landmarks


@pytest.fixture(scope="module")
def reader() -> FaceReader:
    return FaceReader()


def test_the_network_answers_as_the_original() -> None:
    network = FaceNetwork().eval()
    load_into(network, WEIGHTS_DIR / "face_small.safetensors")
    y, x = torch.meshgrid(torch.arange(112.0), torch.arange(112.0), indexing="ij")
    waves = torch.stack([(127.5 + 127.5 * torch.sin((x * (c + 1) + 2 * y) / 17)).round() for c in range(3)])
    with torch.no_grad():
        age, male = network(waves[None])
    # What face-api.js 1.7.15 itself says of this picture, under TensorFlow.js.
    assert float(age) == pytest.approx(23.828, abs=0.05)
    assert float(male) == pytest.approx(0.78386, abs=0.005)


def test_a_woman_of_thirty_eight(image: np.ndarray, landmarks: Landmarks, reader: FaceReader) -> None:
    faces = reader(image, landmarks)
    assert len(faces) == len(landmarks) == 1
    assert 24 < faces.age_years[0] < 48
    assert faces.male[0] < 0.4
    assert faces.facing[0] > 0.8
    # Eileen Collins's head is about 115 pixels wide in this picture.
    assert 80 < faces.size_px[0] < 150


def test_crops_turn_with_heads(image: np.ndarray, landmarks: Landmarks, reader: FaceReader) -> None:
    upright = face_regions(landmarks)
    width = image.shape[1]
    # A quarter turn anticlockwise: (u, v) comes to (v, width − u).
    turned_xy = np.stack([landmarks.xy[..., 1], width - landmarks.xy[..., 0]], axis=-1)
    turned = replace(landmarks, xy=turned_xy)
    regions = face_regions(turned)
    assert regions[0, 2] == pytest.approx(upright[0, 2])
    assert np.cos(regions[0, 3] - upright[0, 3] + np.pi / 2) == pytest.approx(1.0)
    before = reader(image, landmarks)
    after = reader(np.ascontiguousarray(np.rot90(image)), turned)
    assert after.age_years[0] == pytest.approx(before.age_years[0], abs=3)
    assert after.male[0] == pytest.approx(before.male[0], abs=0.1)


def test_who_is_not_seen_is_not_read(image: np.ndarray, landmarks: Landmarks, reader: FaceReader) -> None:
    behind = landmarks.world.copy()
    behind[..., 2] *= -1
    small = 0.8 * SMALLEST_PX / face_regions(landmarks)[0, 2]
    for unseen in (
        replace(landmarks, world=behind),
        replace(landmarks, xy=landmarks.xy * small),
    ):
        faces = reader(image, unseen)
        assert np.isnan(faces.age_years).all()
        assert np.isnan(faces.male).all()
    nobody = landmarks_of_nobody(landmarks)
    assert len(reader(image, nobody)) == 0


def landmarks_of_nobody(landmarks: Landmarks) -> Landmarks:
    return Landmarks(**{name: value[:0] for name, value in vars(landmarks).items()})
