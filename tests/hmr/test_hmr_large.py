"""The paper's preset, reduced in depth: it builds, trains a step, saves and loads with random weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

pytest.importorskip("transformers")

from metrichmsr.errors import ModelFileError
from metrichmsr.hmr.checkpoint import load_network, save_network
from metrichmsr.hmr.config import LARGE
from metrichmsr.hmr.image_encoders import CropEvidence
from metrichmsr.hmr.network import build
from metrichmsr.hmr.vitpose import load_vitpose

SHALLOW = replace(LARGE, vitpose_size="base", vitpose_layers=2, width=64, heads=4, hidden=96, ray_layers=1, slots=4)


def test_large_trains_a_step_saves_and_loads(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = build(SHALLOW)
    crops = CropEvidence(rays=torch.rand(2, 3, 224, 224) + 0.5, image=torch.rand(2, 3, 256, 256))
    output = network(crops)
    assert output.heads.rotations.shape == (2, 24, 3, 3)
    assert output.heads.shape.shape == (2, 10)
    # ViTPose sees 256×192 in patches of 16.
    assert output.patch_routing[0].combine.shape == (2, 16 * 12, 4)
    (output.heads.rotations.square().sum() + output.heads.log_extent.sum() + output.balance_loss()).backward()
    assert all(p.grad is not None for p in network.image_encoder.backbone.parameters() if p.requires_grad)
    save_network(tmp_path / "large.safetensors", network, SHALLOW, dtype=torch.float32)
    back, config, _ = load_network(tmp_path / "large.safetensors")
    assert config == SHALLOW
    with torch.no_grad():
        assert torch.allclose(back(crops).heads.log_extent, network.eval()(crops).heads.log_extent, atol=1e-6)


def test_weights_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="no ViTPose weights"):
        load_vitpose(str(tmp_path))
