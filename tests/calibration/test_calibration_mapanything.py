"""The paper's depth source as an estimator of the focal length."""

from __future__ import annotations

import numpy as np
import pytest

from metrichmsr.calibration.chain import calibrate
from metrichmsr.calibration.estimators import load_estimator
from metrichmsr.calibration.options import CalibrationOptions
from metrichmsr.images import from_array
from metrichmsr.scene.depth import mapanything
from metrichmsr.scene.depth.foreign import ForeignDepth
from metrichmsr.scene.depth.protocol import DepthEstimate


@pytest.fixture
def fake(monkeypatch):
    """MapAnything that answers depth 1 and a given K, and remembers what it was shown."""

    def install(K):
        load_estimator.cache_clear()
        shown = []

        def run(image, camera, anchors):
            shown.append((image, camera.source))
            return DepthEstimate(np.ones(image.shape[:2], np.float32), metric=True, K=K)

        def load(model=None, *, download=False, device="cpu"):
            return ForeignDepth("mapanything", run)

        monkeypatch.setattr(mapanything, "load_mapanything", load)
        return shown

    return install


def test_its_own_intrinsics_tell_the_focal_length(fake):
    shown = fake(np.array([[800.0, 0, 200], [0, 800, 150], [0, 0, 1]]))
    picture = np.random.default_rng(0).integers(0, 255, (300, 400, 3), dtype=np.uint8)
    camera = calibrate(from_array(picture), CalibrationOptions(calibrate="mapanything")).camera
    assert camera.source == "estimated:mapanything"
    assert camera.focal_px == pytest.approx(800)
    assert camera.focal_std_px == pytest.approx(80)
    np.testing.assert_array_equal(shown[0][0], picture)
    assert shown[0][1] == "assumed", "it is told no K, so that it makes one of its own"


def test_large_pictures_are_shown_small_and_the_focal_length_is_taken_back(fake):
    shown = fake(np.array([[800.0, 0, 512], [0, 800, 384], [0, 0, 1]]))
    estimate = load_estimator("mapanything")(np.zeros((1536, 2048, 3), np.uint8))
    assert shown[0][0].shape == (768, 1024, 3)
    assert estimate.K[0, 0] == pytest.approx(1600)


def test_no_intrinsics_cost_a_warning(fake):
    fake(None)
    options = CalibrationOptions(calibrate="mapanything")
    result = calibrate(from_array(np.zeros((30, 40, 3), np.uint8)), options)
    assert result.camera.source in ("estimated:panorama", "assumed")
    assert "mapanything failed on this picture (it found no intrinsics" in result.warnings[0]
