"""MetricHMR, the paper's network (METHOD §1–§3): a crop and its ray map to a metric body.

    image encoder ─► image tokens ─┐
                                   ⊕─► Patch MoE ─► queries ─► Global MoE ─► heads: pose, shape, position
    ray map ─► ray encoder ─► ray tokens ┘

The parts are handed in; :func:`build` makes them from a config. ``forward`` is for training, ``infer`` for people.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from metrichmsr.bodies.protocol import BodyOutput
from metrichmsr.hmr.body_parameters import SIZES, BodyParameters, BodySizes
from metrichmsr.hmr.config import NetworkConfig
from metrichmsr.hmr.gravity import GravityToken
from metrichmsr.hmr.heads import HeadOutput, Heads, camera_from_crop, decode_position
from metrichmsr.hmr.image_encoders import BlazePoseTokens, CropEvidence, ImageEncoder, ViTPoseTokens
from metrichmsr.hmr.moe import Dense, HumanMoE, Routing
from metrichmsr.hmr.ray_encoder import RayEncoder
from metrichmsr.hmr.transformer import HumanLayer, ReadOut
from metrichmsr.hmr.tuned_stages import TunedStages


@dataclass(frozen=True)
class NetworkOutput:
    """What the network says of B crops."""

    heads: HeadOutput
    patch_routing: tuple[Routing, ...]
    """Of each Patch MoE layer, over image tokens."""
    global_routing: tuple[Routing, ...]
    """Of each Global MoE layer, over image-level tokens."""

    def balance_loss(self) -> Float[Tensor, ""]:
        """Mean L_aux of all layers, without its weight; 0 without routed experts."""
        losses = [routing.balance_loss() for routing in (*self.patch_routing, *self.global_routing)]
        return torch.stack(losses).mean() if losses else self.heads.log_extent.new_zeros(())


@dataclass(frozen=True)
class MetricBodies:
    """Bodies of B crops in the camera frame."""

    body: BodyOutput
    """Vertices, joints and keypoints, metres, camera frame."""
    pose: Float[Tensor, "B J 3 3"]
    """Parent-relative rotations; the root's takes body frame to camera frame."""
    shape: Float[Tensor, "B S"]
    translation_m: Float[Tensor, "B 3"]
    """Pelvis joint."""
    distance_sigma: Float[Tensor, "B"]
    """One sigma of log distance."""
    height_sigma_m: Float[Tensor, "B"]
    joint_sigma_m: Float[Tensor, "B 17"]
    """One sigma (per axis) of the COCO-17 joints relative to the pelvis."""
    stature_logits: Float[Tensor, "B S"] | None = None
    """Log odds of statures on :data:`~metrichmsr.hmr.stature_grid.STATURES_M`."""


class MetricHMR(nn.Module):
    """The network.

    Args:
        image_encoder: crops to image tokens.
        ray_encoder: ray maps to ray tokens; None withholds the ray map (ablation).
        gravity: which way is up as one more ray token; None withholds it.
        patch_layers: HumanMoE over patch tokens.
        read_out: image-level queries gather from patch tokens.
        global_layers: HumanMoE over image-level tokens.
        heads: image-level tokens to parameters.
        queries: number of image-level tokens.
        width: of tokens.
        crop_size: pixels of a crop's side, in which K_crop is stated.
    """

    def __init__(
        self,
        *,
        image_encoder: ImageEncoder,
        ray_encoder: RayEncoder | None,
        gravity: GravityToken | None = None,
        patch_layers: list[HumanLayer],
        read_out: ReadOut,
        global_layers: list[HumanLayer],
        heads: Heads,
        queries: int,
        width: int,
        crop_size: int = 256,
    ) -> None:
        super().__init__()
        self.image_encoder = image_encoder
        self.ray_encoder = ray_encoder
        self.gravity = gravity
        self.patch_layers = nn.ModuleList(patch_layers)
        self.queries = nn.Parameter(torch.randn(queries, width) * 0.02)
        # Stands for the rays where they are withheld.
        self.no_ray = nn.Parameter(torch.zeros(1, width))
        self.read_out = read_out
        self.global_layers = nn.ModuleList(global_layers)
        self.heads = heads
        self.crop_size = crop_size

    @property
    def tuned_stages(self) -> TunedStages | None:
        """The part of the image encoder that is the network's own; None where it is all frozen."""
        return self.image_encoder.tuned if isinstance(self.image_encoder, BlazePoseTokens) else None

    def forward(self, crops: CropEvidence) -> NetworkOutput:
        """Parameters of the bodies, and who of the experts worked on what."""
        image = self.image_encoder(crops)  # B N D
        batch = image.shape[0]  # len() would freeze the batch in exported graphs
        withheld = self.no_ray.expand(batch, 1, -1)
        ray = withheld if self.ray_encoder is None else self.ray_encoder(crops.rays)  # B M D
        if self.gravity is not None:
            up = ray.new_zeros(batch, 4) if crops.up is None else crops.up
            ray = torch.cat([ray, self.gravity(up)], dim=1)
        patch_routing, global_routing = [], []
        for layer in self.patch_layers:
            image, ray, routing = layer(image, ray)
            patch_routing.append(routing)
        queries = self.queries.expand(batch, -1, -1)  # B Q D
        queries = self.read_out(queries, torch.cat([image, ray], dim=1))
        camera = ray.mean(1, keepdim=True)  # B 1 D
        for layer in self.global_layers:
            queries, camera, routing = layer(queries, camera)
            global_routing.append(routing)
        answers = self.heads(torch.cat([queries, camera], dim=1).flatten(1))
        return NetworkOutput(
            answers,
            tuple(routing for routing in patch_routing if routing is not None),
            tuple(routing for routing in global_routing if routing is not None),
        )

    def place(self, output: HeadOutput, K_crop: Float[Tensor, "B 3 3"], parameters: BodyParameters) -> MetricBodies:
        """Bodies in the camera frame from the heads' answers.

        Args:
            output: the answers.
            K_crop: (crop from image)·K of each crop, which may be turned in the image plane.
            parameters: the body model.
        """
        translation = decode_position(output, K_crop, self.crop_size)
        view = camera_from_crop(K_crop.float(), self.crop_size)
        rotations = torch.cat([(view @ output.rotations[:, 0])[:, None], output.rotations[:, 1:]], dim=1)
        pose = parameters.expand(rotations)
        return MetricBodies(
            body=parameters.body(pose, output.shape, translation),
            pose=pose,
            shape=output.shape,
            translation_m=translation,
            distance_sigma=output.log_sigma_distance.exp(),
            height_sigma_m=output.log_sigma_height.exp(),
            joint_sigma_m=output.log_sigma_joints.exp(),
            stature_logits=output.stature_logits,
        )

    @torch.no_grad()
    def infer(self, crops: CropEvidence, K_crop: Float[Tensor, "B 3 3"], parameters: BodyParameters) -> MetricBodies:
        """Metric bodies of crops, in evaluation mode."""
        training = self.training
        self.eval()
        try:
            return self.place(self.forward(crops).heads, K_crop, parameters)
        finally:
            self.train(training)


def build(config: NetworkConfig, *, mean_shape: Float[Tensor, "S"] | None = None) -> MetricHMR:
    """The network of a config, with random weights (or the ViTPose weights it names).

    Args:
        config: sizes and switches.
        mean_shape: the shape that predictions start from; the middle of the limits, or zero, by default.
    """
    sizes = SIZES[config.body]
    width, hidden = config.width, config.hidden

    def layer() -> HumanLayer:
        if config.moe:
            feed = HumanMoE(width, hidden, routed=config.routed_experts, slots=config.slots)
        else:
            # As many parameters as the experts that image tokens pass.
            feed = Dense(width, hidden * (config.routed_experts + 1))
        return HumanLayer(width, config.heads, feed)

    return MetricHMR(
        image_encoder=_image_encoder(config),
        ray_encoder=RayEncoder(
            width=width,
            heads=config.heads,
            hidden=hidden,
            depth=config.ray_layers,
            map_size=config.ray_size,
            patch=config.ray_patch,
        )
        if config.ray_map
        else None,
        gravity=GravityToken(width) if config.gravity else None,
        patch_layers=[layer() for _ in range(config.patch_layers)],
        read_out=ReadOut(width, config.heads),
        global_layers=[layer() for _ in range(config.global_layers)],
        heads=Heads(
            width * (config.queries + 1),
            2 * hidden,
            sizes,
            mean_shape=_middle(sizes) if mean_shape is None else mean_shape,
            plain_xyz=config.position == "xyz",
            stature_bins=config.stature_bins,
        ),
        queries=config.queries,
        width=width,
    )


def _middle(sizes: BodySizes) -> Float[Tensor, "S"]:
    if sizes.limits is None:
        return torch.zeros(sizes.shapes)
    return torch.tensor([0.5 * (low + high) for low, high in sizes.limits])


def _image_encoder(config: NetworkConfig) -> ImageEncoder:
    if config.image_encoder == "blazepose":
        return BlazePoseTokens(
            width=config.width,
            features=config.features,
            feature_dropout=config.feature_dropout,
            tuned=config.tuned,
        )
    from metrichmsr.hmr.vitpose import load_vitpose, random_vitpose

    if config.vitpose:
        return ViTPoseTokens(load_vitpose(config.vitpose), width=config.width)
    return ViTPoseTokens(random_vitpose(config.vitpose_size, config.vitpose_layers), width=config.width)
