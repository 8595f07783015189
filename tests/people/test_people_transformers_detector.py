"""The adapter to transformers: with a tiny network of random weights where the library is installed."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from metrichmsr.errors import MissingPackageError, ModelFileError
from metrichmsr.people import TransformersDetector

INSTALLED = importlib.util.find_spec("transformers") is not None


def test_without_the_library_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(
        MissingPackageError, match=r"transformers is not installed \(pip install 'metrichmsr\[transformers\]'\)"
    ):
        TransformersDetector("some/detector")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not INSTALLED:
        pytest.skip("transformers is not installed")
    import torch
    from transformers import RTDetrConfig, RTDetrForObjectDetection, RTDetrImageProcessor, RTDetrResNetConfig

    torch.manual_seed(0)
    backbone = RTDetrResNetConfig(
        embedding_size=8, hidden_sizes=[8, 8, 8, 8], depths=[1, 1, 1, 1], layer_type="basic", out_features=["stage2"]
    )
    backbone.out_features = ["stage2", "stage3", "stage4"]
    config = RTDetrConfig(
        backbone_config=backbone,
        encoder_hidden_dim=16,
        encoder_in_channels=[8, 8, 8],
        encoder_ffn_dim=16,
        encoder_attention_heads=2,
        d_model=16,
        num_queries=12,
        decoder_in_channels=[16, 16, 16],
        decoder_ffn_dim=16,
        decoder_layers=1,
        decoder_attention_heads=2,
        num_denoising=0,
        id2label={0: "person", 1: "bicycle"},
        label2id={"person": 0, "bicycle": 1},
    )
    folder = tmp_path_factory.mktemp("tiny")
    RTDetrForObjectDetection(config).save_pretrained(folder)
    RTDetrImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)
    return folder


def test_persons_of_a_tiny_network(checkpoint: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (90, 120, 3)).astype(np.uint8)
    found = TransformersDetector(checkpoint, min_score=0.0)(image)
    assert found.keypoints is None
    assert 0 < len(found) <= 12
    assert (np.diff(found.scores) <= 0).all()
    assert found.boxes_xyxy.shape == (len(found), 4)
    assert found.boxes_xyxy[:, 2].max() <= 1.5 * 120  # image pixels, not the network's
    assert len(TransformersDetector(checkpoint, min_score=0.999)(image)) == 0


def test_missing_checkpoints_are_named(tmp_path: Path) -> None:
    if not INSTALLED:
        pytest.skip("transformers is not installed")
    with pytest.raises(ModelFileError, match="nothing-here") as error:
        TransformersDetector(tmp_path / "nothing-here")
    assert "\n" not in str(error.value)
