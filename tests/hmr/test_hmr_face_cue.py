"""What a face tells of a stature: babies are small, men taller than women, and little is believed of small faces."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from metrichmsr.hmr.face_cue import FaceCue, build, stature_likelihood
from metrichmsr.hmr.stature_grid import GROWN_UP_M, STATURES_M, grid_like, quantile
from metrichmsr.people.faces import Faces
from metrichmsr.recover import Recoverer, RecoverOptions

BINS = torch.tensor(STATURES_M)
ANYBODY = torch.where(BINS > GROWN_UP_M, torch.exp(-0.5 * ((BINS - 1.69) / 0.1).square()), 0.02)
STREET = Path(__file__).parents[2] / "examples/photos/street.jpg"


def face(age: float, male: float, *, size: float = 100.0, facing: float = 1.0, confidence: float = 0.95) -> Faces:
    return Faces(*(np.array([value]) for value in (age, male, size, facing, confidence)))


def median(faces: Faces, belief: FaceCue | None = None) -> float:
    posterior = ANYBODY * stature_likelihood(faces, belief)
    return float(quantile(posterior / posterior.sum(-1, keepdim=True), 0.5))


def test_children_grow() -> None:
    # Between what WHO gives for these ages and the statures of who is commoner in photographs.
    statures = [median(face(age, 0.5)) for age in (1, 5, 9, 30)]
    assert statures == sorted(statures)
    assert statures[0] < 1.1
    assert statures[-1] == pytest.approx(1.69, abs=0.03)


def test_men_are_taller_than_women() -> None:
    man, woman, either = median(face(40, 0.97)), median(face(40, 0.03)), median(face(40, 0.5))
    assert 0.09 < man - woman < 0.14
    assert woman < either < man
    # The sex of a child's face makes no difference.
    boy, girl = (stature_likelihood(face(2, male)) for male in (0.97, 0.03))
    assert torch.allclose(boy[:, BINS < 1.2], girl[:, BINS < 1.2], rtol=0.05)


def test_who_is_not_read_is_not_judged() -> None:
    nothing = torch.ones(1, len(STATURES_M))
    for faces in (
        face(np.nan, np.nan),
        face(3, 0.5, facing=0.1),
        face(3, 0.5, size=18.0),
        face(3, 0.5, confidence=0.2),
    ):
        assert torch.equal(stature_likelihood(faces), nothing)
    assert stature_likelihood(face(30, 0.5))[:0].shape == (0, len(STATURES_M))


def test_small_faces_tell_less() -> None:
    spread = [median(face(40, 0.97, size=size)) - median(face(40, 0.03, size=size)) for size in (22, 30, 45, 90)]
    assert spread == sorted(spread)
    assert spread[0] < 0.5 * spread[-1]


def test_nobody_is_impossible() -> None:
    likelihood = stature_likelihood(face(1, 0.5))
    assert likelihood.min() > 0.05
    assert grid_like(likelihood)[likelihood.argmax()] < 1.0
    # Trusted wholly, a baby's face leaves no grown-up.
    sure = stature_likelihood(face(1, 0.5), FaceCue(trust=1.0))
    assert sure[0, BINS > 1.6].max() < 0.02 * sure.max()


def test_the_build_follows_a_face_as_far_as_it_is_seen() -> None:
    between = torch.tensor([0.5])
    assert float(build(between, face(40, 0.97))) < 0.15
    assert float(build(between, face(40, 0.03))) > 0.85
    assert 0.15 < float(build(between, face(40, 0.97, size=26.0))) < 0.5
    assert torch.equal(build(between, face(np.nan, np.nan)), between)
    assert torch.equal(build(between, face(40, 0.97, facing=0.1)), between)


def test_recover_looks_at_faces_unless_told_not_to() -> None:
    """The man and the woman of the street: with faces they are farther apart in stature."""
    with_faces = Recoverer(RecoverOptions(depth="none"))(STREET)
    without = Recoverer(RecoverOptions(depth="none", faces=False))(STREET)
    assert "face_small" in with_faces.versions["checkpoint"]
    assert "face_small" not in without.versions["checkpoint"]
    assert [p.height_m for p in with_faces.people] != [p.height_m for p in without.people]
    # Person 1 on the block is a man, and looks at the camera.
    assert with_faces.people[1].shape["gender"] < without.people[1].shape["gender"] - 0.1
    # Another build of the same stature is as far away.
    for person, before in zip(with_faces.people, without.people, strict=True):
        factor = person.height_m / before.height_m
        assert person.distance_m / before.distance_m == pytest.approx(factor, rel=0.03)
    known = Recoverer(RecoverOptions(depth="none", height='{"0": 1.82}'))(STREET)
    assert known.people[0].height_m == pytest.approx(1.82, abs=0.01)
