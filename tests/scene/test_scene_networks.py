"""The scene's two networks: what they see, what they promise, and their files."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from metrichmsr.errors import ModelFileError
from metrichmsr.scene.anchors import render_anchors
from metrichmsr.scene.depth.embedded import WEIGHTS as DEPTH_WEIGHTS
from metrichmsr.scene.depth.embedded import EmbeddedDepth
from metrichmsr.scene.depth_network import STRIDE, load_depth_network
from metrichmsr.scene.network_files import write_network
from metrichmsr.scene.network_input import CANONICAL_FOCAL_PX, SceneInput, network_size, scene_input
from metrichmsr.scene.refine import WEIGHTS as REFINE_WEIGHTS
from metrichmsr.scene.refinement_network import FORMAT, RefineConfig, RefinementNetwork, load_refinement_network

SMALL = RefineConfig(channels=(8, 8, 8, 16), layers=1, heads=2, hidden=16)


def batch(rows: int = 64, columns: int = 96, focal: float = CANONICAL_FOCAL_PX, seed: int = 0) -> SceneInput:
    generator = torch.Generator().manual_seed(seed)
    K = torch.tensor([[[focal, 0, columns / 2], [0, focal, rows / 2], [0, 0, 1.0]]])
    mask = torch.zeros(1, rows, columns)
    mask[:, 20:50, 30:50] = 1
    return SceneInput(torch.rand(1, 3, rows, columns, generator=generator), K, 4 * mask, mask, 0.1 * mask)


@pytest.mark.parametrize(
    ("size", "expected"), [((1280, 960), (256, 192)), ((10, 300), (32, 256)), ((7, 5), (256, 192))]
)
def test_pictures_of_any_size_become_small_ones(size, expected):
    assert network_size(*size) == expected


def test_the_small_picture_keeps_rays_and_anchors(make_camera, make_person):
    camera = make_camera(width=321, height=200)
    person = make_person(camera=camera)
    anchors = render_anchors([person], camera)
    scene = scene_input(np.zeros((200, 321, 3), np.uint8), camera, anchors, device="cpu")
    rows, columns = scene.image.shape[-2:]
    x = scene.rays()[0, 0, 0]
    inverse = np.linalg.inv(camera.K)
    left, right = ((inverse @ [u, 0, 1])[0] for u in (0.5 * 321 / columns, (columns - 0.5) * 321 / columns))
    np.testing.assert_allclose(x[[0, -1]], [left, right], rtol=1e-4)
    seen = scene.anchor_mask[0] > 0
    assert abs(float(seen.float().mean()) - anchors.mask.mean()) < 0.01
    assert abs(float(scene.anchor_m[0][seen].median()) - np.median(anchors.depth_m[anchors.mask])) < 0.02
    assert rows % 32 == columns % 32 == 0
    nobody = scene_input(np.zeros((200, 321, 3), np.uint8), camera, None, device="cpu")
    assert not nobody.anchor_mask.any()


def test_depth_is_told_in_focal_lengths():
    """What the network tells is canonical: without a word of its own, depth is as far as the focal length is long."""
    network = load_depth_network(DEPTH_WEIGHTS)[0]
    for parameter in network.head.parameters():
        torch.nn.init.zeros_(parameter)
    with torch.no_grad():
        once, twice = (network(batch(focal=factor * CANONICAL_FOCAL_PX)) for factor in (1, 2))
    assert once.log_depth.shape[-2:] == (64 // STRIDE, 96 // STRIDE)
    torch.testing.assert_close(once.log_depth.exp(), torch.ones_like(once.log_depth))
    torch.testing.assert_close(twice.log_depth.exp(), torch.full_like(once.log_depth, 2.0))


def test_the_embedded_network_knows_what_it_does_not_know(make_camera):
    camera = make_camera(width=128, height=96)
    image = np.random.default_rng(1).integers(0, 255, (96, 128, 3), dtype=np.uint8)
    estimate = EmbeddedDepth.load()(image, camera)
    assert estimate.metric
    assert estimate.depth_m.shape == (96, 128)
    assert estimate.confidence is not None
    known = np.isfinite(estimate.depth_m)
    assert (estimate.depth_m[known] > 0).all()
    assert (estimate.confidence[~known] == 0).all()
    assert ((estimate.confidence >= 0) & (estimate.confidence <= 1)).all()


def test_a_mirrored_picture_has_mirrored_depth(make_camera, make_person):
    camera = make_camera(width=128, height=96)
    K = camera.K.copy()
    K[0, 2] = 50.0
    camera = dataclasses.replace(camera, K=K)
    turned = dataclasses.replace(camera, K=np.array([[K[0, 0], 0, 128 - 50.0], K[1], K[2]]))
    image = np.random.default_rng(1).integers(0, 255, (96, 128, 3), dtype=np.uint8)
    anchors = render_anchors([make_person(camera=camera)], camera)
    flipped = dataclasses.replace(
        anchors, **{name: getattr(anchors, name)[:, ::-1].copy() for name in ("depth_m", "mask", "person")}
    )
    source = EmbeddedDepth.load()
    seen = source(image, camera, anchors=anchors)
    in_mirror = source(image[:, ::-1].copy(), turned, anchors=flipped)
    np.testing.assert_allclose(in_mirror.depth_m[:, ::-1], seen.depth_m, rtol=2e-3)
    assert np.nanstd(seen.depth_m) > 0.01


def test_the_refinement_network_knows_no_units():
    """Initial depth in other units, closed form accordingly: the same metres."""
    torch.manual_seed(0)
    network = RefinementNetwork(SMALL).eval()
    torch.nn.init.normal_(network.head.weight, std=0.3)
    scene = batch()
    initial = 2 + 3 * torch.rand(1, 64, 96, generator=torch.Generator().manual_seed(2))
    known = torch.ones_like(initial, dtype=torch.bool)
    with torch.no_grad():
        metres = network(scene, initial, known, torch.tensor([[1.1, 0.2]]))
        millimetres = network(scene, 1000 * initial, known, torch.tensor([[0.0011, 0.2]]))
    torch.testing.assert_close(metres.depth_m, millimetres.depth_m, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(metres.depth_m, (metres.scale * initial + metres.shift_m).clamp_min(0.05))
    assert (metres.depth_m - (1.1 * initial + 0.2)).abs().max() > 0.01


def test_what_is_not_known_does_not_matter():
    torch.manual_seed(0)
    network = RefinementNetwork(SMALL).eval()
    torch.nn.init.normal_(network.head.weight, std=0.3)
    scene, initial = batch(), torch.full((1, 64, 96), 3.0)
    known = torch.ones_like(initial, dtype=torch.bool)
    known[:, :10] = False
    other = torch.where(known, initial, 77.0)
    with torch.no_grad():
        first, second = (network(scene, z, known, torch.tensor([[1.0, 0.0]])) for z in (initial, other))
    torch.testing.assert_close(first.scale, second.scale)


@pytest.mark.parametrize("weights", [DEPTH_WEIGHTS, REFINE_WEIGHTS], ids=["depth", "refine"])
def test_shipped_networks_are_small(weights):
    assert weights.stat().st_size < 12e6


def test_a_network_comes_back_from_its_file(tmp_path):
    torch.manual_seed(1)
    network = RefinementNetwork(SMALL).eval()
    path = tmp_path / "net.safetensors"
    write_network(path, network, FORMAT, network.config_json, dtype=torch.float32, notes={"step": "7"})
    again, notes = load_refinement_network(path)
    assert again.config == SMALL
    assert notes == {"step": "7"}
    assert all(
        torch.equal(a, b) for a, b in zip(network.state_dict().values(), again.state_dict().values(), strict=True)
    )


@pytest.mark.parametrize(
    ("spoil", "cause"),
    [
        (lambda path: path.unlink(), "no such checkpoint"),
        (lambda path: path.write_bytes(path.read_bytes()[:-40]), "damaged"),
        (lambda path: save_file(load_file(path), path, {"format": "metrichmsr-depth/1"}), "metrichmsr-depth/1"),
        (lambda path: save_file(load_file(path), path, {"format": FORMAT, "config": "{}"}), "config"),
        (lambda path: save_file({"a": torch.zeros(1)}, path, {"format": FORMAT, "config": GOOD}), "do not fit"),
    ],
    ids=["missing", "damaged", "another network", "no config", "other weights"],
)
def test_files_that_cannot_be_used_are_named(tmp_path, spoil, cause):
    network = RefinementNetwork(SMALL)
    path = tmp_path / "net.safetensors"
    write_network(path, network, FORMAT, network.config_json)
    spoil(path)
    with pytest.raises(ModelFileError, match=cause) as caught:
        load_refinement_network(path)
    assert str(path) in str(caught.value)


GOOD = RefinementNetwork(SMALL).config_json
