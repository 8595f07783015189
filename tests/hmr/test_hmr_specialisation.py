"""Mutual information of expert and body part, against its definition on tables that can be worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from metrichmsr.hmr.specialisation import LANDMARK_PARTS, body_part, mutual_information, weights_by_part
from metrichmsr.structures import BLAZEPOSE33


def test_every_landmark_belongs_to_a_part() -> None:
    assert len(LANDMARK_PARTS) == 33
    assert body_part("nose") == body_part("left_ear") == body_part("mouth_right") == "head"
    assert body_part("left_pinky") == "left arm"
    assert body_part("right_foot_index") == "right leg"
    assert set(LANDMARK_PARTS) == {"head", "trunk", "left arm", "right arm", "left leg", "right leg"}
    assert LANDMARK_PARTS.count("trunk") == 4
    assert len(BLAZEPOSE33) == len(LANDMARK_PARTS)


def test_experts_of_their_own_are_worth_log2_of_their_number() -> None:
    combine = torch.eye(4).repeat_interleave(3, 0)[None].expand(5, -1, -1)  # 12 tokens, 4 experts
    parts = [name for name in "abcd" for _ in range(3)]
    assert mutual_information(combine, parts) == pytest.approx(2.0)
    assert weights_by_part(combine, parts)["c"].tolist() == [0, 0, 1, 0]


def test_the_same_mixture_everywhere_tells_nothing() -> None:
    combine = torch.tensor([0.7, 0.2, 0.1]).expand(2, 6, 3)
    assert mutual_information(combine, list("aabbcc")) == pytest.approx(0.0, abs=1e-12)


def test_a_table_by_hand_and_parts_never_tell_more_than_tokens() -> None:
    combine = torch.tensor([[[0.9, 0.1], [0.5, 0.5], [0.2, 0.8]]])
    # p(e) with two tokens of part a and one of b.
    a, b = (0.7, 0.3), (0.2, 0.8)
    overall = [(2 * x + y) / 3 for x, y in zip(a, b, strict=True)]
    wanted = sum(
        p * sum(g * math.log2(g / o) for g, o in zip(given, overall, strict=True))
        for p, given in ((2 / 3, a), (1 / 3, b))
    )
    assert mutual_information(combine, ["a", "a", "b"]) == pytest.approx(wanted, rel=1e-6)
    assert mutual_information(combine, ["x", "y", "z"]) >= wanted
    with pytest.raises(ValueError, match="2 parts for 3 tokens"):
        mutual_information(combine, ["a", "b"])
