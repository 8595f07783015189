"""Pre-norm transformer layers over image tokens and ray tokens."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from metrichmsr.hmr.moe import Dense, Expert, HumanMoE, Routing


class Attention(nn.Module):
    """Multi-head attention of queries to keys and values."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Float[Tensor, "B N D"], context: Float[Tensor, "B M D"]) -> Float[Tensor, "B N D"]:
        """Attend from ``x`` to ``context``."""
        query = self.query(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        key, value = self.key_value(context).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = nn.functional.scaled_dot_product_attention(query, key, value)
        return self.out(mixed.transpose(1, 2).flatten(2))


class Layer(nn.Module):
    """Plain self-attention layer."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.norm_feed = nn.LayerNorm(width)
        self.feed = Expert(width, hidden)

    def forward(self, x: Float[Tensor, "B N D"]) -> Float[Tensor, "B N D"]:
        """The same shape as ``x``."""
        normed = self.norm(x)
        x = x + self.attention(normed, normed)
        return x + self.feed(self.norm_feed(x))


class HumanLayer(nn.Module):
    """All tokens attend to all; image tokens and ray tokens then pass their own experts.

    Args:
        width: D.
        heads: attention heads.
        feed: :class:`HumanMoE` or :class:`Dense`.
    """

    def __init__(self, width: int, heads: int, feed: HumanMoE | Dense) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.norm_feed = nn.LayerNorm(width)
        self.feed = feed

    def forward(
        self, image: Float[Tensor, "B N D"], ray: Float[Tensor, "B M D"]
    ) -> tuple[Float[Tensor, "B N D"], Float[Tensor, "B M D"], Routing | None]:
        """Tokens after the layer, and the routing."""
        count = image.shape[1]
        tokens = torch.cat([image, ray], dim=1)
        normed = self.norm(tokens)
        tokens = tokens + self.attention(normed, normed)
        normed = self.norm_feed(tokens)
        more_image, more_ray, routing = self.feed(normed[:, :count], normed[:, count:])
        return tokens[:, :count] + more_image, tokens[:, count:] + more_ray, routing


class ReadOut(nn.Module):
    """Queries gather from tokens: what turns patch tokens into image-level ones."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.norm_context = nn.LayerNorm(width)
        self.attention = Attention(width, heads)

    def forward(self, x: Float[Tensor, "B N D"], context: Float[Tensor, "B M D"]) -> Float[Tensor, "B N D"]:
        """Queries plus what they gathered."""
        return x + self.attention(self.norm(x), self.norm_context(context))
