"""The later stages of the image encoder once more, tuned with the network: what BlazePose has no need to know.

BlazePose was trained to find joints. Whether a person is a child, a woman or a man, and how heavy, its features hardly
tell. So the network has its own copy of the stages from 32² to 16² (:data:`metrichmsr.people.blazepose.STAGES`), which
starts as BlazePose's and learns with it, as the paper's image encoder does. The stages before are BlazePose's, frozen:
they run anyway for the landmarks, and what they give can be kept in shards of samples.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from metrichmsr.people.blazepose import STAGES, BlazePoseHeavy, stage

_NAMES = ("grid16a", "grid16b")
_CHANNELS = STAGES[_NAMES[-1]].channels


class TunedStages(nn.Module):
    """From BlazePose's ``grid32`` features to patches that are added to those of its last features.

    Args:
        width: D, of tokens.
        merge: features of merge × merge cells become one token.
    """

    centre: Tensor
    spread: Tensor

    def __init__(self, *, width: int, merge: int = 2) -> None:
        super().__init__()
        before = STAGES["grid32"].channels
        self.stages = nn.Sequential()
        for name in _NAMES:
            self.stages.add_module(name, stage(STAGES[name], before))
            before = STAGES[name].channels
        self.register_buffer("centre", torch.zeros(_CHANNELS))
        self.register_buffer("spread", torch.ones(_CHANNELS))
        self.embed = nn.Conv2d(_CHANNELS, width, merge, stride=merge)
        # Nothing at first: a network that did without goes on from where it was.
        nn.init.zeros_(self.embed.weight)
        nn.init.zeros_(self.embed.bias)  # pyright: ignore[reportArgumentType]

    @property
    def fresh(self) -> bool:
        """Whether these are random weights that have not become BlazePose's."""
        return not bool(self.centre.any())

    @torch.no_grad()
    def start_from(self, blazepose: BlazePoseHeavy, grid32: Float[Tensor, "N 56 32 32"]) -> None:
        """Become BlazePose's stages.

        Args:
            blazepose: the landmark network.
            grid32: features of some crops: BlazePose's channels have means and spreads that differ by orders of
                magnitude, and those of these crops are taken off.
        """
        for name in _NAMES:
            self.stages.get_submodule(name).load_state_dict(blazepose.backbone.get_submodule(name).state_dict())
        maps = self.stages(grid32)
        self.centre.copy_(maps.mean((0, 2, 3)))
        self.spread.copy_(maps.std((0, 2, 3)).clamp_min(1e-3))

    def forward(self, grid32: Float[Tensor, "B 56 32 32"]) -> Float[Tensor, "B D 8 8"]:
        """Patches in rows and columns."""
        # A third faster on CPUs, forwards and backwards.
        maps = self.stages(grid32.contiguous(memory_format=torch.channels_last))
        return self.embed((maps - self.centre[:, None, None]) / self.spread[:, None, None])
