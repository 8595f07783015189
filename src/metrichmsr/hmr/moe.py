"""HumanMoE: transformer layers whose feed-forward part is a mixture of named experts (paper §3.2).

``MoE(x) = Σ_i g_i(x)·e_i(x)`` with three kinds of experts: **routed** image experts behind a soft router, one
**shared** image expert that every image token passes, one **ray** expert for the ray tokens. The routing is Soft MoE's
(Puigcerver et al., "From Sparse to Soft Mixtures of Experts", ICLR 2024): every expert works on slots, each a weighted
mean of all tokens, and every token reads a weighted mean of all slots. Nothing is dropped, everything is
differentiable, and a permutation of the routed experts changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn


@dataclass(frozen=True)
class Routing:
    """Who works on what in one layer."""

    dispatch: Float[Tensor, "B N E"]
    """How much each expert's slots take in of each token; sums to the number of slots per expert over N."""
    combine: Float[Tensor, "B N E"]
    """How much each token reads of each expert, g_i(x); sums to 1 over E."""

    def balance_loss(self) -> Float[Tensor, ""]:
        """L_aux / λ = E·Σ_i p_i² with p_i the mean routing probability of expert i (paper §3.2).

        It is 1 where all experts are used alike, E where one does everything.
        """
        p = self.combine.mean((0, 1))
        return len(p) * p.square().sum()


class Expert(nn.Module):
    """A feed-forward network of two layers."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.up = nn.Linear(width, hidden)
        self.down = nn.Linear(hidden, width)

    def forward(self, x: Float[Tensor, "*B D"]) -> Float[Tensor, "*B D"]:
        """The same shape as ``x``."""
        return self.down(nn.functional.gelu(self.up(x)))


class RoutedExperts(nn.Module):
    """E experts behind a soft router.

    Args:
        width: D, width of tokens.
        hidden: width inside each expert.
        experts: E.
        slots: slots of each expert.
    """

    def __init__(self, width: int, hidden: int, *, experts: int, slots: int) -> None:
        super().__init__()
        self.experts = nn.ModuleList(Expert(width, hidden) for _ in range(experts))
        # Normalised tokens and slots keep the softmax from saturating in wide networks (Soft MoE, §2.3).
        self.slots = nn.Parameter(torch.randn(experts, slots, width) * width**-0.5)
        self.scale = nn.Parameter(torch.ones(()) * width**0.5)

    def forward(self, x: Float[Tensor, "B N D"]) -> tuple[Float[Tensor, "B N D"], Routing]:
        """Mixtures of the experts' answers, and the routing."""
        dispatch, combine, answers = self._work(x)
        mixed = torch.einsum("bnes,besd->bnd", combine, answers)
        return mixed, Routing(dispatch.sum(-1), combine.sum(-1))

    def contributions(self, x: Float[Tensor, "B N D"]) -> Float[Tensor, "B E N D"]:
        """g_i(x)·e_i(x) of each expert; summed over the experts, what :meth:`forward` adds to the tokens."""
        _, combine, answers = self._work(x)
        return torch.einsum("bnes,besd->bend", combine, answers)

    def _work(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        # b batch, n token, e expert, s slot, d width
        normal = nn.functional.normalize
        logits = torch.einsum("bnd,esd->bnes", normal(x, dim=-1), normal(self.slots, dim=-1)) * self.scale
        dispatch = logits.softmax(dim=1)
        combine = logits.flatten(2).softmax(dim=-1).view_as(logits)
        slots = torch.einsum("bnes,bnd->besd", dispatch, x)
        answers = torch.stack([expert(slots[:, i]) for i, expert in enumerate(self.experts)], dim=1)
        return dispatch, combine, answers


class HumanMoE(nn.Module):
    """The feed-forward part of a HumanMoE layer over image tokens followed by ray tokens.

    Args:
        width: D, width of tokens.
        hidden: width inside each expert.
        routed: number of routed image experts; 0 leaves the shared one alone.
        slots: slots of each routed expert.
        shared: whether there is a shared image expert (one of both kinds there must be).
    """

    def __init__(self, width: int, hidden: int, *, routed: int, slots: int, shared: bool = True) -> None:
        super().__init__()
        if not routed and not shared:
            raise ValueError("a HumanMoE layer needs routed experts or a shared one")
        self.routed = RoutedExperts(width, hidden, experts=routed, slots=slots) if routed else None
        self.shared = Expert(width, hidden) if shared else None
        self.ray = Expert(width, hidden)

    def forward(
        self, image: Float[Tensor, "B N D"], ray: Float[Tensor, "B M D"]
    ) -> tuple[Float[Tensor, "B N D"], Float[Tensor, "B M D"], Routing | None]:
        """What is added to image tokens and to ray tokens, and the routing of the image tokens."""
        update, routing = (None, None) if self.routed is None else self.routed(image)
        if self.shared is not None:
            update = self.shared(image) if update is None else update + self.shared(image)
        assert update is not None
        return update, self.ray(ray), routing


class Dense(nn.Module):
    """The ablation without a mixture: one feed-forward network for all tokens, as wide as the experts together."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.network = Expert(width, hidden)

    def forward(
        self, image: Float[Tensor, "B N D"], ray: Float[Tensor, "B M D"]
    ) -> tuple[Float[Tensor, "B N D"], Float[Tensor, "B M D"], Routing | None]:
        """As :meth:`HumanMoE.forward`, without a routing."""
        return self.network(image), self.network(ray), None
