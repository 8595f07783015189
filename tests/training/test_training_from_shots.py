"""Samples of rendered shots: what the landmark network sees of crops as detectors would cut them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from metrichmsr.cli_train import SampleArgs
from metrichmsr.errors import UsageError
from metrichmsr.people import Landmarker
from metrichmsr.synthetic.generator import SynFocal
from metrichmsr.training.from_shots import samples_from_shots, usable


def test_looks_at_one_shot_share_the_truth_and_not_the_crop() -> None:
    source = SynFocal.load(None)
    shots = [shot for shot in source.crops(3) if usable(shot)][:4]
    seen = samples_from_shots(shots, Landmarker(), source.body, np.random.default_rng(0), looks=2)
    assert seen is not None
    assert len(seen) == 2 * len(shots)
    one, other = seen[torch.arange(0, len(seen), 2)], seen[torch.arange(1, len(seen), 2)]
    torch.testing.assert_close(one.translation_m, other.translation_m)
    torch.testing.assert_close(one.shape, other.shape)
    # K of a crop is the picture's, enlarged by what the crop is enlarged by.
    zoom = (one.K_crop.det() / other.K_crop.det()).sqrt()
    assert (zoom.log().abs() > 0.005).all()
    assert (zoom.log().abs() < 1).all()


def test_looks_go_with_pictures(tmp_path) -> None:
    with pytest.raises(UsageError, match="--looks"):
        SampleArgs(out=tmp_path, kind="simulated", looks=2)
    with pytest.raises(UsageError, match="--looks"):
        SampleArgs(out=tmp_path, looks=0)
