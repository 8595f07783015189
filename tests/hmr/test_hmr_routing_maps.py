"""Routing laid back over the crop: every token in its place, every expert's part accounted for."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from test_hmr_network import TINY, crops, evidence

from metrichmsr.bodies.anny import AnnyBody
from metrichmsr.hmr.attribution import effects_of_experts
from metrichmsr.hmr.body_parameters import SIZES, BodyParameters
from metrichmsr.hmr.moe import RoutedExperts, Routing
from metrichmsr.hmr.network import build
from metrichmsr.hmr.routing_maps import (
    TokenLayout,
    assignment,
    expert_names,
    moe_layers,
    silenced,
    token_layout,
    trace,
)


@pytest.fixture(scope="module")
def parameters() -> BodyParameters:
    return BodyParameters(AnnyBody.load().restricted_to(torch.arange(1)), SIZES["anny"])


def test_contributions_add_up_to_what_the_layer_adds() -> None:
    torch.manual_seed(0)
    layer = RoutedExperts(16, 24, experts=4, slots=3)
    x = torch.randn(2, 9, 16)
    mixed, _ = layer(x)
    parts = layer.contributions(x)
    assert parts.shape == (2, 4, 9, 16)
    assert torch.allclose(parts.sum(1), mixed, atol=1e-6)


def test_layout_puts_landmarks_first_and_cells_in_rows() -> None:
    layout = TokenLayout(33, 2, 3)
    assert layout.names[:1] == ("nose",)
    assert layout.names[33:] == ("cell 0 0", "cell 0 1", "cell 0 2", "cell 1 0", "cell 1 1", "cell 1 2")
    at_landmarks, cells = layout.split(torch.arange(39.0))
    assert at_landmarks.tolist() == list(range(33))
    assert cells is not None
    assert cells[1, 0] == 36
    with pytest.raises(ValueError, match="38 values for 39 tokens"):
        layout.split(torch.arange(38.0))


@pytest.mark.parametrize(("features", "rows"), [(True, 8), (False, 0)])
def test_layout_follows_what_the_network_reads(features: bool, rows: int) -> None:
    config = replace(TINY, features=features)
    network = build(config).eval()
    _, layers, tokens = trace(network, evidence(2, config))
    layout = token_layout(network, config, tokens)
    assert (layout.landmarks, layout.rows, layout.columns) == (33, rows, rows)
    assert layers[0].routing is not None
    assert layers[0].routing.combine.shape == (2, len(layout.names), 4)


def test_vitpose_cells_cover_the_middle_of_the_crop() -> None:
    config = replace(TINY, image_encoder="vitpose")
    layout = token_layout(build(TINY), config, 192)
    assert (layout.rows, layout.columns, layout.box) == (16, 12, (0.125, 0.0, 0.875, 1.0))


def test_trace_is_what_the_network_did_and_leaves_it_as_it_was() -> None:
    torch.manual_seed(0)
    network = build(TINY).eval()
    crop = evidence(2, TINY)
    before = network(crop)
    output, layers, _ = trace(network, crop)
    assert torch.equal(output.heads.rotations, before.heads.rotations)
    assert [layer.name for layer in layers] == ["patch 1", "patch 2", "global 1", "global 2"]
    assert layers[1].routing is not None
    assert torch.equal(layers[1].routing.combine, before.patch_routing[1].combine)
    assert list(layers[1].added) == ["routed 1", "routed 2", "routed 3", "routed 4", "shared", "ray"]
    assert layers[1].added["ray"].shape == (2, 18)  # summary, 16 patches, gravity
    assert torch.allclose(torch.stack(list(layers[1].shares().values())).sum(0), torch.ones(2, 97))
    assert not any(module._forward_hooks for module in network.modules())


def test_networks_without_experts_have_nothing_to_trace() -> None:
    config = replace(TINY, moe=False)
    network = build(config).eval()
    assert moe_layers(network) == {}
    assert trace(network, evidence(1, config))[1] == ()


def test_without_routed_experts_the_others_remain() -> None:
    config = replace(TINY, routed_experts=0)
    network = build(config).eval()
    _, layers, _ = trace(network, evidence(1, config))
    assert layers[0].routing is None
    assert list(layers[0].added) == ["shared", "ray"]


def test_assignment_is_the_expert_that_is_read_most() -> None:
    combine = torch.tensor([[[0.2, 0.7, 0.1], [0.5, 0.1, 0.4]]])
    assert assignment(Routing(combine, combine)).tolist() == [[1, 0]]


def test_silencing_an_expert_takes_away_its_contribution_and_no_more() -> None:
    torch.manual_seed(0)
    layer = next(iter(moe_layers(build(TINY)).values()))
    assert layer.routed is not None
    image, ray = torch.randn(1, 5, 24), torch.randn(1, 3, 24)
    whole, whole_ray, _ = layer(image, ray)
    part = layer.routed.contributions(image)[:, 2]
    with silenced(layer, "routed 3"):
        rest, rest_ray, _ = layer(image, ray)
    assert torch.allclose(whole - rest, part, atol=1e-6)
    assert torch.equal(whole_ray, rest_ray)
    with pytest.raises(ValueError, match="no expert 'fifth'"), silenced(layer, "fifth"):
        pass


def test_an_expert_that_adds_nothing_has_no_effect_and_others_do(parameters: BodyParameters) -> None:
    torch.manual_seed(0)
    network = build(TINY).eval()
    with torch.no_grad():
        for head in (network.heads.pose, network.heads.position):
            head.out.weight.normal_(std=0.2)  # as trained ones: fresh heads answer nearly the same to everything
    layer = moe_layers(network)["patch 2"]
    assert layer.shared is not None
    with torch.no_grad():
        layer.shared.down.weight.zero_()
        layer.shared.down.bias.zero_()
    effects = effects_of_experts(network, evidence(2, TINY), crops(2), parameters)
    assert len(effects) == 4 * len(expert_names(layer))
    by_name = {(effect.layer, effect.expert): effect for effect in effects}
    assert by_name["patch 2", "shared"].joints_mm.tolist() == [0, 0]
    assert by_name["patch 2", "shared"].distance.tolist() == [0, 0]
    assert (by_name["patch 2", "routed 1"].joints_mm > 0).all()
    assert (by_name["global 2", "shared"].distance != 0).all()
