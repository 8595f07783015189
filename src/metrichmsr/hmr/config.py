"""Everything that decides a network, as one typed record that its checkpoint carries."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal


@dataclass(frozen=True)
class NetworkConfig:
    """Sizes and switches of :class:`~metrichmsr.hmr.network.MetricHMR`. The defaults are the ``small`` preset."""

    image_encoder: Literal["blazepose", "vitpose"] = "blazepose"
    """Where image tokens come from: frozen BlazePose features and landmarks, or a ViTPose backbone."""
    body: Literal["anny", "smpl", "smplx"] = "anny"
    """Body model whose parameters the heads predict."""
    width: int = 192
    """Width of tokens."""
    heads: int = 6
    """Attention heads."""
    hidden: int = 384
    """Width inside experts."""
    patch_layers: int = 2
    """HumanMoE layers over patch tokens (Patch MoE); 0 leaves the Global MoE alone."""
    global_layers: int = 2
    """HumanMoE layers over image-level tokens (Global MoE); 0 leaves the Patch MoE alone."""
    queries: int = 6
    """Image-level tokens."""
    moe: bool = True
    """False: dense feed-forward parts instead of experts (ablation)."""
    routed_experts: int = 4
    """Routed image experts (the paper's ablation: 0, 2, 4, 8, 32; 4 is best)."""
    slots: int = 8
    """Slots of each routed expert."""
    ray_map: bool = True
    """False: the network does not see the ray map (ablation). Position still needs K."""
    ray_size: int = 16
    """Rows and columns at which the ray map is read."""
    ray_patch: int = 4
    """Rows and columns of a patch of the ray map."""
    ray_layers: int = 1
    """Layers of the ray encoder."""
    position: Literal["crop", "xyz"] = "crop"
    """The root's place in the crop and its depth through K', or plain metres (ablation)."""
    gravity: bool = True
    """Where up is, as far as it is known, is one more ray token."""
    stature_bins: bool = True
    """Stature is told as a distribution over :data:`~metrichmsr.hmr.stature_grid.STATURES_M` as well."""
    features: bool = True
    """BlazePose's feature map and mask beside its landmarks."""
    tuned: bool = False
    """Later stages of the image encoder are the network's own and learn with it."""
    feature_dropout: float = 0.1
    """Share of crops whose feature map is withheld in training."""
    vitpose: str = ""
    """Name or folder of the ViTPose weights; empty: random weights."""
    vitpose_size: Literal["base", "large", "huge"] = "huge"
    """Size of the backbone where its weights are random."""
    vitpose_layers: int | None = None
    """Depth of a random backbone, for tests; the size's own where None."""


SMALL = NetworkConfig()
"""The shipped network."""

LARGE = NetworkConfig(
    image_encoder="vitpose",
    body="smpl",
    width=1024,
    heads=16,
    hidden=4096,
    patch_layers=2,
    global_layers=2,
    queries=8,
    slots=32,
    ray_size=224,
    ray_patch=16,
    ray_layers=24,
)
"""The paper's: ViTPose-H, a ray encoder of ViT-Large-Patch16-224's shape, SMPL. Its user brings the weights."""

PRESETS = {"small": SMALL, "large": LARGE}


def ablations(base: NetworkConfig = SMALL) -> dict[str, NetworkConfig]:
    """The paper's ablations of the network (its last tables), by name."""
    bare = replace(base, ray_map=False, moe=False)
    variants = {
        "image only": bare,
        # Neither rays nor K': nothing tells a near person under a wide lens from a far one under a long lens.
        "image only, plain xyz": replace(bare, position="xyz"),
        "+ ray map": replace(base, moe=False),
        "+ ray map + HumanMoE": base,
        "Patch MoE only": replace(base, global_layers=0),
        "Global MoE only": replace(base, patch_layers=0),
        "position as plain xyz": replace(base, position="xyz"),
    }
    variants |= {f"{n} routed experts": replace(base, routed_experts=n) for n in (0, 2, 8, 32)}
    return variants
