"""Bodies whose shape has changed are set where they were seen."""

from __future__ import annotations

import pytest
import torch

from metrichmsr.bodies.anny import AnnyBody
from metrichmsr.hmr.placing import Projections, place
from metrichmsr.structures import BLAZEPOSE33

PELVIS = torch.tensor([[0.3, 0.2, 2.0], [-1.0, 0.5, 6.0]])
FACE = torch.tensor([name.split("_")[-1] in ("nose", "eye", "ear") for name in BLAZEPOSE33])


def figures(*, legs: float = 1.0, head: float = 1.0) -> torch.Tensor:
    """Points of a head and of two legs about their pelvis, and how large each part is."""
    generator = torch.Generator().manual_seed(3)
    above = torch.rand(20, 3, generator=generator) * 0.3 + torch.tensor([-0.15, -0.8, -0.15])
    below = torch.rand(20, 3, generator=generator) * 0.4 + torch.tensor([-0.2, 0.4, -0.2])
    return torch.cat([head * above, legs * below]).expand(2, 40, 3)


def test_who_has_not_changed_stays() -> None:
    points = figures()
    seen = Projections.of(points + PELVIS[:, None], torch.rand(2, 40, generator=torch.Generator().manual_seed(0)))
    torch.testing.assert_close(place(points, seen, 1.1 * PELVIS), PELVIS, atol=1e-4, rtol=1e-4)


def test_a_body_that_is_larger_all_over_goes_as_much_further_away() -> None:
    seen = Projections.of(figures() + PELVIS[:, None], torch.ones(2, 40))
    torch.testing.assert_close(place(1.1 * figures(), seen, PELVIS), 1.1 * PELVIS, atol=1e-4, rtol=1e-4)


def test_what_is_seen_decides() -> None:
    longer = figures(legs=1.2)
    confidence = torch.ones(2, 40)
    confidence[:, 20:] = 0.0
    face_only = place(longer, Projections.of(figures() + PELVIS[:, None], confidence), 1.1 * PELVIS)
    torch.testing.assert_close(face_only, PELVIS, atol=0.02, rtol=0.01)
    legs_only = place(longer, Projections.of(figures() + PELVIS[:, None], confidence.flip(1)), 1.1 * PELVIS)
    assert bool((legs_only[:, 2] > 1.1 * PELVIS[:, 2]).all())


def test_what_is_behind_the_camera_or_cannot_be_does_not_move_anybody() -> None:
    points = figures()
    behind = Projections.of(points - PELVIS[:, None], torch.ones(2, 40))
    assert float(behind.weight.max()) == 0
    torch.testing.assert_close(place(points, behind, PELVIS), PELVIS)
    seen = Projections.of(points + PELVIS[:, None], torch.ones(2, 40))
    torch.testing.assert_close(place(3 * points, seen, PELVIS), PELVIS)


def test_a_taller_face_before_the_camera_is_hardly_further_away() -> None:
    body = AnnyBody.load()
    shape = body.default_shape()[None].repeat(2, 1)
    shape[:, list(body.shape_names).index("height")] = torch.tensor([0.35, 0.65])
    # Upright before the camera: Anny's z is up, and it faces -y.
    upright = torch.eye(3).expand(1, len(body.bone_names), 3, 3).clone()
    upright[0, 0] = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
    both = body(upright.expand(2, -1, -1, -1), shape)
    taller = float(both.height_m[1] / both.height_m[0])
    assert taller > 1.08

    def further(confidence: torch.Tensor) -> float:
        before = torch.tensor([[0.0, 0.6, 1.2]])
        seen = Projections.of(both.landmarks33_m[:1] + before[:, None], confidence[None])
        return float(place(both.landmarks33_m[1:], seen, taller * before)[0, 2]) / 1.2

    whole, face = further(torch.ones(33)), further(FACE.float())
    assert whole == pytest.approx(taller, rel=0.03)
    assert 1.0 < face < 1 + 0.8 * (taller - 1)
