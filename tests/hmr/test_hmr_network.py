"""The network's laws: experts are a set, crops are turned back exactly, position goes through K'."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from metrichmsr.bodies.anny import AnnyBody
from metrichmsr.errors import UsageError
from metrichmsr.geometry import project, ray_map
from metrichmsr.hmr.body_parameters import SIZES, BodyParameters
from metrichmsr.hmr.config import SMALL, NetworkConfig, ablations
from metrichmsr.hmr.heads import HeadOutput, camera_from_crop, crop_focal, decode_position
from metrichmsr.hmr.image_encoders import CropEvidence
from metrichmsr.hmr.moe import HumanMoE, RoutedExperts, Routing
from metrichmsr.hmr.network import build
from metrichmsr.hmr.ray_encoder import summarise

TINY = replace(SMALL, width=24, heads=2, hidden=32, queries=3, slots=2)


def evidence(n: int, config: NetworkConfig, seed: int = 0) -> CropEvidence:
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=generator)

    return CropEvidence(
        rays=ray_map(crops(n), height=config.ray_size, width=config.ray_size),
        features=random(n, 192, 16, 16),
        landmarks=random(n, 33, 9),
        mask=random(n, 1, 16, 16),
    )


def crops(n: int) -> torch.Tensor:
    """K_crop of crops with different turns, scales and places."""
    K = torch.tensor([[900.0, 0, 640], [0, 900, 480], [0, 0, 1]])
    result = []
    for i in range(n):
        angle, scale = 0.9 * i - 1, 0.4 + 0.2 * i
        c, s = scale * math.cos(angle), scale * math.sin(angle)
        result.append(torch.tensor([[c, s, 100.0 - 90 * i], [-s, c, 300.0 - 50 * i], [0, 0, 1]]) @ K)
    return torch.stack(result)


@pytest.fixture(scope="module")
def parameters() -> BodyParameters:
    return BodyParameters(AnnyBody.load(), SIZES["anny"])


def test_permuting_routed_experts_changes_nothing() -> None:
    torch.manual_seed(0)
    layer = RoutedExperts(16, 24, experts=4, slots=3)
    x = torch.randn(2, 9, 16)
    mixed, routing = layer(x)
    order = torch.tensor([2, 0, 3, 1])
    with torch.no_grad():
        layer.slots.copy_(layer.slots[order].clone())
    layer.experts = torch.nn.ModuleList([layer.experts[i] for i in order.tolist()])
    again, permuted = layer(x)
    assert torch.allclose(mixed, again, atol=1e-6)
    assert torch.allclose(routing.combine[..., order], permuted.combine, atol=1e-6)


def test_routing_is_soft_and_complete() -> None:
    layer = RoutedExperts(16, 24, experts=4, slots=3)
    _, routing = layer(torch.randn(2, 9, 16))
    assert torch.allclose(routing.combine.sum(-1), torch.ones(2, 9), atol=1e-5)
    assert torch.allclose(routing.dispatch.sum(1), torch.full((2, 4), 3.0), atol=1e-5)
    assert (routing.combine > 0).all()


def test_balance_loss_is_one_for_even_use_and_e_for_a_tyrant() -> None:
    even, tyrant = torch.full((2, 5, 4), 0.25), torch.zeros(2, 5, 4)
    tyrant[..., 1] = 1
    assert Routing(even, even).balance_loss() == pytest.approx(1.0)
    assert Routing(tyrant, tyrant).balance_loss() == pytest.approx(4.0)


def test_ray_tokens_pass_the_ray_expert_alone_and_images_never_do() -> None:
    torch.manual_seed(0)
    layer = HumanMoE(16, 24, routed=2, slots=2)
    image, ray = torch.randn(1, 5, 16), torch.randn(1, 3, 16)
    first = layer(image, ray)
    with torch.no_grad():
        layer.ray.down.weight.mul_(3)
    second = layer(image, ray)
    assert torch.equal(first[0], second[0])
    assert not torch.allclose(first[1], second[1])
    assert torch.allclose(second[1], layer.ray(ray))


@pytest.mark.parametrize("name", sorted(ablations(TINY)))
def test_every_ablation_runs_and_learns(name: str, parameters: BodyParameters) -> None:
    config = ablations(TINY)[name]
    network = build(config)
    output = network(evidence(2, config))
    bodies = network.place(output.heads, crops(2), parameters)
    assert bodies.body.vertices_m.shape == (2, 13718, 3)
    assert len(output.patch_routing) == (config.patch_layers if config.moe and config.routed_experts else 0)
    (bodies.body.coco17_m.square().mean() + output.balance_loss() + bodies.distance_sigma.sum()).backward()
    learning = {key for key, weight in network.named_parameters() if weight.grad is not None and weight.grad.any()}
    assert any(key.startswith("image_encoder") for key in learning)
    assert any(key.startswith("ray_encoder") for key in learning) == config.ray_map


def test_without_the_ray_map_rays_are_not_seen() -> None:
    config = replace(TINY, ray_map=False)
    network = build(config).eval()
    crop = evidence(1, config)
    moved = replace(crop, rays=crop.rays + 1)
    assert torch.equal(network(crop).heads.rotations, network(moved).heads.rotations)
    seeing = build(TINY).eval()
    assert not torch.equal(seeing(crop).heads.log_extent, seeing(moved).heads.log_extent)


def test_view_looks_through_the_crop_s_middle_upright() -> None:
    K_crop = crops(4)
    view = camera_from_crop(K_crop, 256)
    assert torch.allclose(view @ view.transpose(1, 2), torch.eye(3).expand(4, 3, 3), atol=1e-5)
    assert torch.allclose(torch.linalg.det(view), torch.ones(4), atol=1e-5)
    # Points ahead, right and below in the view are at the crop's middle, to its right, below.
    points = torch.tensor([[0.0, 0, 5], [0.1, 0, 5], [0, 0.1, 5]])
    pixels = project((view @ points.T).transpose(1, 2), K_crop)
    assert torch.allclose(pixels[:, 0], torch.full((4, 2), 128.0), atol=1e-2)
    right, down = pixels[:, 1] - pixels[:, 0], pixels[:, 2] - pixels[:, 0]
    assert (right[:, 0] > 0).all()
    assert (right[:, 1].abs() < 0.02 * right[:, 0]).all()
    assert (down[:, 1] > 0).all()


def head_output(n: int, **values: torch.Tensor) -> HeadOutput:
    fields = {
        "rotations": torch.eye(3).expand(n, 36, 3, 3),
        "shape": torch.full((n, 6), 0.5),
        "place": torch.zeros(n, 2),
        "log_extent": torch.zeros(n),
        "xyz_m": None,
        "log_sigma_distance": torch.zeros(n),
        "log_sigma_height": torch.zeros(n),
        "log_sigma_joints": torch.zeros(n, 17),
    }
    return HeadOutput(**{**fields, **values})  # pyright: ignore[reportArgumentType]


def test_position_is_decoded_through_the_crop_s_intrinsics() -> None:
    K_crop = crops(3)
    place = torch.tensor([[0.1, -0.3], [0.0, 0.6], [-0.9, 0.2]])
    extent = torch.tensor([1.7, 2.4, 0.9])
    position = decode_position(head_output(3, place=place, log_extent=extent.log()), K_crop, 256)
    pixels = project(position[:, None], K_crop)[:, 0]
    assert torch.allclose(pixels, place * 128 + 128, atol=1e-2)
    # A plane at that depth spans the extent across the crop.
    assert torch.allclose(position[:, 2] * 256 / crop_focal(K_crop), extent, rtol=1e-5)


def test_twice_the_focal_length_is_twice_as_far() -> None:
    K_crop = crops(2)
    longer = torch.diag(torch.tensor([2.0, 2.0, 1.0]))
    near = decode_position(head_output(2), K_crop, 256)
    centred = K_crop.clone()
    middle = torch.tensor([[1.0, 0, -128], [0, 1, -128], [0, 0, 1]])
    zoomed = torch.linalg.inv(middle) @ longer @ middle @ centred
    far = decode_position(head_output(2), zoomed, 256)
    assert torch.allclose(far[:, 2], 2 * near[:, 2], rtol=1e-5)


def test_summary_of_rays_tells_place_turn_and_scale() -> None:
    K_crop = torch.tensor([[[500.0, 0, -200], [0, 500, 80], [0, 0, 1]]])
    coarse = torch.diag(torch.tensor([16 / 256, 16 / 256, 1.0]))
    summary = summarise(ray_map(coarse @ K_crop, height=16, width=16))[0]
    assert torch.allclose(summary[:2], torch.tensor([328 / 500, 48 / 500]), atol=1e-5)
    assert torch.allclose(summary[2:4], torch.tensor([1.0, 0.0]), atol=1e-5)
    assert summary[4].exp() == pytest.approx(256 / 500, rel=1e-4)


def test_infer_leaves_training_mode_as_it_was(parameters: BodyParameters) -> None:
    network = build(TINY).train()
    crop = evidence(2, TINY)
    first, second = (network.infer(crop, crops(2), parameters) for _ in range(2))
    assert network.training
    assert torch.equal(first.translation_m, second.translation_m), "no dropout in inference"
    assert not first.body.vertices_m.requires_grad
    assert torch.allclose(first.body.joints_m[:, 0], first.translation_m, atol=1e-5)


def test_a_body_model_that_does_not_fit_is_named() -> None:
    with pytest.raises(UsageError, match="anny"):
        BodyParameters(AnnyBody.load(), SIZES["smpl"])


def test_missing_evidence_is_named() -> None:
    with pytest.raises(ValueError, match="landmarks"):
        build(TINY)(CropEvidence(rays=torch.zeros(1, 3, 16, 16)))
