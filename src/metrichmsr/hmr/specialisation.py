"""How far experts have specialised: the mutual information of routed expert and body part.

Soft MoE gives every expert a part of every token, so "expert 2 does legs" is a question of degree. With p(e | t) the
routing weight g_e of token t, averaged over people, and all tokens alike,

    I(expert; part) = Σ_part p(part) Σ_e p(e | part) · log₂ (p(e | part) / p(e))   bits.

It is 0 where every part reads the same mixture of experts, and log₂ of the number of experts where each part has
experts of its own. I(expert; token) is the same with every token a part: never less, as parts are made of tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from metrichmsr.structures import BLAZEPOSE33

_HANDS = ("pinky", "index", "thumb")
_FEET = ("heel", "foot_index")


def body_part(landmark: str) -> str:
    """The part of the body that a landmark of ``BLAZEPOSE33`` belongs to: head, trunk, or a side's arm or leg."""
    side, _, joint = landmark.partition("_")
    if joint in ("shoulder", "hip"):
        return "trunk"
    if joint in ("elbow", "wrist", *_HANDS):
        return f"{side} arm"
    if joint in ("knee", "ankle", *_FEET):
        return f"{side} leg"
    return "head"


LANDMARK_PARTS: tuple[str, ...] = tuple(body_part(name) for name in BLAZEPOSE33)
"""The part of each landmark token."""


def weights_by_part(combine: Float[Tensor, "B N E"], parts: Sequence[str]) -> dict[str, Float[Tensor, "E"]]:
    """p(e | part): mean routing weights of each part's tokens over B people, parts in the order in which they come.

    Raises:
        ValueError: not one part for every token.
    """
    if combine.shape[1] != len(parts):
        raise ValueError(f"{len(parts)} parts for {combine.shape[1]} tokens")
    of_token = combine.double().mean(0)
    return {
        part: of_token[[i for i, name in enumerate(parts) if name == part]].mean(0) for part in dict.fromkeys(parts)
    }


def mutual_information(combine: Float[Tensor, "B N E"], parts: Sequence[str]) -> float:
    """I(expert; part) in bits; a part weighs as many as its tokens are."""
    means: Mapping[str, Tensor] = weights_by_part(combine, parts)
    share = torch.tensor([parts.count(part) / len(parts) for part in means], dtype=torch.float64)
    given = torch.stack(list(means.values()))  # parts E
    overall = share @ given
    ratio = torch.where(given > 0, (given / overall.clamp_min(1e-300)).clamp_min(1e-300).log2(), 0.0)
    return float((share[:, None] * given * ratio).sum().clamp_min(0.0))
