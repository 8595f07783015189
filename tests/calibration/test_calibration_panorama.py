"""Field of view, pitch and roll from the picture: what must hold of any answer, and its place in the chain."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from metrichmsr.calibration import (
    CalibrationOptions,
    PanoramaEstimator,
    UpEstimate,
    calibrate,
    estimate_view,
    load_estimator,
)
from metrichmsr.calibration import panorama as panorama_module
from metrichmsr.calibration.view_network import BINS, FEATURES, ViewNetwork, coordinates, input_size, orientations
from metrichmsr.errors import ModelFileError
from metrichmsr.images import ExifTags, Photo, from_array, read_image
from metrichmsr.weights import list_weights

PHOTOS = Path(__file__).resolve().parents[2] / "examples" / "photos"


@pytest.fixture(scope="module", params=["street.jpg", "astronaut.jpg"])
def example(request) -> np.ndarray:
    return read_image(PHOTOS / request.param).rgb


@pytest.fixture
def street() -> np.ndarray:
    return read_image(PHOTOS / "street.jpg").rgb


# ── laws of the estimate ─────────────────────────────────────────────────────────────────────────────────────────────


def test_a_mirrored_picture_has_the_same_lens_and_the_opposite_roll(example):
    seen, mirrored = estimate_view(example), estimate_view(np.ascontiguousarray(example[:, ::-1]))
    assert abs(math.log(seen.focal_px / mirrored.focal_px)) < 0.15
    # Nearly: it is no mirror-symmetric network. A portrait tells little of the pitch, and its sigma says so.
    assert abs(seen.up.pitch_deg - mirrored.up.pitch_deg) < min(seen.up.pitch_std_deg, mirrored.up.pitch_std_deg)
    assert abs(seen.up.roll_deg + mirrored.up.roll_deg) < 4


def test_the_middle_of_a_picture_has_the_same_focal_length_and_a_smaller_field_of_view(example):
    height, width = example.shape[:2]
    whole = estimate_view(example)
    middle = estimate_view(example[height // 4 : -(height // 4), width // 4 : -(width // 4)])
    # In shares of the diagonal the focal length is twice as long; the estimate must go that way.
    relative = math.log(middle.focal_px / math.hypot(width / 2, height / 2))
    assert relative > math.log(whole.focal_px / math.hypot(width, height)) + 0.05


def test_the_size_of_a_picture_tells_nothing(street):
    import cv2

    half = cv2.resize(street, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    whole, small = estimate_view(street), estimate_view(half)
    assert small.focal_px / half.shape[1] == pytest.approx(whole.focal_px / street.shape[1], rel=0.05)
    assert small.up.pitch_deg == pytest.approx(whole.up.pitch_deg, abs=1.5)


def test_a_turned_picture_is_seen_turned(street):
    import cv2

    height, width = street.shape[:2]
    side = int(0.6 * min(height, width))
    x, y = (width - side) // 2, (height - side) // 2
    rolls = []
    for angle in (-12, 0, 12):  # OpenCV turns counter-clockwise: up then leans to the left
        matrix = cv2.getRotationMatrix2D((width / 2, height / 2), angle, 1.0)
        turned = cv2.warpAffine(street, matrix, (width, height), borderMode=cv2.BORDER_REFLECT)
        rolls.append(estimate_view(turned[y : y + side, x : x + side]).up.roll_deg)
    assert rolls[0] - rolls[1] > 5
    assert rolls[1] - rolls[2] > 5


@pytest.mark.parametrize("size", [(1, 1), (640, 480), (60, 900), (3000, 20)])
def test_any_picture_gets_an_answer(size):
    width, height = size
    for image in (np.zeros((height, width, 3), np.uint8), np.full((height, width, 3), 255, np.uint8)):
        view = estimate_view(image)
        assert 0.2 < view.focal_px / math.hypot(width, height) < 4
        assert view.focal_std_px >= 0.05 * view.focal_px
        assert view.up.pitch_std_deg > 0
        assert view.up.roll_std_deg > 0
        assert np.linalg.norm(view.up.direction) == pytest.approx(1)


def test_a_picture_that_shows_nothing_is_less_sure(street):
    blank, seen = estimate_view(np.zeros_like(street)), estimate_view(street)
    assert blank.focal_std_px / blank.focal_px > seen.focal_std_px / seen.focal_px
    assert blank.up.pitch_std_deg > seen.up.pitch_std_deg


def test_the_focal_length_lies_between_the_networks_and_the_longer_side():
    torch.manual_seed(0)
    network = ViewNetwork().eval()
    features, places = torch.randn(5, 12, FEATURES), coordinates(4, 3, 300, 400)
    with torch.inference_mode():
        (bare, bare_sigmas), (joined, sigmas) = network(features, places), network.estimate(features, places)
    longer = math.log(400 / 500)
    # By hand: two Gaussians, 2 sigma of the network and 0.4.
    for answer, sigma, both, believed in zip(bare[:, 0], bare_sigmas[:, 0], joined[:, 0], sigmas[:, 0], strict=True):
        share = 0.4**2 / (0.4**2 + (2 * float(sigma)) ** 2)
        assert float(both) == pytest.approx(share * float(answer) + (1 - share) * longer, abs=1e-5)
        assert float(believed) == pytest.approx(math.sqrt(share) * 2 * float(sigma), rel=1e-4)
    torch.testing.assert_close(joined[:, 1:], bare[:, 1:])
    torch.testing.assert_close(sigmas[:, 1:], bare_sigmas[:, 1:])


# ── up ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("pitch", "roll", "up"),
    [
        (0, 0, (0, -1, 0)),
        (30, 0, (0, -math.cos(math.pi / 6), 0.5)),  # looking up, up lies ahead as well
        (0, 30, (0.5, -math.cos(math.pi / 6), 0)),
        (90, 0, (0, 0, 1)),
    ],
)
def test_up_in_the_camera_frame(pitch, roll, up):
    estimate = UpEstimate(pitch, roll, 3.0, 4.0)
    np.testing.assert_allclose(estimate.direction, up, atol=1e-12)
    assert estimate.std_deg == pytest.approx(math.hypot(3, 4 * math.cos(math.radians(pitch))))


# ── the place in the chain ───────────────────────────────────────────────────────────────────────────────────────────


def test_it_is_asked_where_nobody_else_knows(street):
    result = calibrate(from_array(street))
    camera = result.camera
    assert camera.source == "estimated:panorama"
    assert result.warnings == ()
    height, width = street.shape[:2]
    np.testing.assert_array_equal(camera.K[:2, 2], [width / 2, height / 2])
    assert camera.K[0, 0] == camera.K[1, 1]
    view = estimate_view(street)
    assert (camera.focal_px, camera.focal_std_px) == (view.focal_px, view.focal_std_px)
    assert result.up == view.up
    assert load_estimator("panorama")(street).up == view.up


def test_what_is_known_goes_before_it(street, tmp_path, monkeypatch):
    def asked(_image):
        raise AssertionError("the estimator was asked")

    monkeypatch.setattr(PanoramaEstimator, "view", lambda _self, image: asked(image))
    photo = Photo(rgb=street, path=tmp_path / "p.jpg", exif=ExifTags(focal_length_35mm=28.0))
    result = calibrate(photo)
    assert (result.camera.source, result.up) == ("exif", None)
    assert calibrate(from_array(street), CalibrationOptions(fov=60)).camera.source == "given"


def test_none_assumes(street):
    result = calibrate(from_array(street), CalibrationOptions(calibrate="none"))
    assert (result.camera.source, result.up) == ("assumed", None)
    assert result.camera.focal_px == max(street.shape[:2])


def test_damaged_weights(street, tmp_path, monkeypatch):
    damaged = tmp_path / "view_small.safetensors"
    damaged.write_bytes(panorama_module.WEIGHTS.read_bytes()[:5000])
    monkeypatch.setattr(panorama_module, "WEIGHTS", damaged)
    panorama_module.panorama_estimator.cache_clear()
    load_estimator.cache_clear()
    try:
        for cause in ("not a safetensors file", "not found"):
            with pytest.raises(ModelFileError, match=f"view_small.*{cause}"):
                calibrate(from_array(street))
            damaged.unlink(missing_ok=True)
    finally:
        panorama_module.panorama_estimator.cache_clear()
    with pytest.raises(ModelFileError, match="not the weights of ViewNetwork"):
        PanoramaEstimator.load(panorama_module.BACKBONE)


def test_the_card_knows_the_weights():
    (file,) = [file for file in list_weights() if file.name == "view_small.safetensors"]
    assert file.status == "ok"
    assert file.licence


# ── how a picture is read ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("size", [(1280, 960), (960, 1280), (1000, 1000), (1920, 1080), (1242, 375), (6000, 4000)])
def test_pictures_keep_their_shape(size):
    width, height = input_size(*size)
    assert width % 32 == height % 32 == 0
    assert abs(math.log(width / height) - math.log(size[0] / size[1])) < 0.12
    assert 0.75 < width * height / (192 * 256) < 1.25


def test_places_of_cells_span_the_picture():
    places = coordinates(8, 6, 400, 300).view(6, 8, 3)
    assert places[0, 0, 0] == pytest.approx(-(0.5 - 0.5 / 8) * 400 / 250)
    assert places[-1, 0, 1] == pytest.approx((0.5 - 0.5 / 6) * 300 / 250)
    torch.testing.assert_close(places[..., :2], -places.flip(0, 1)[..., :2])
    assert places[0, 0, 2] == pytest.approx(math.log(4 / 3))


@pytest.mark.parametrize("degrees", [0, 30, 60, 90, 120, 150])
def test_stripes_have_their_direction(degrees):
    u, v = np.meshgrid(np.arange(256), np.arange(192))
    angle = math.radians(degrees)
    wave = 127 + 100 * np.sin((u * math.cos(angle) + v * math.sin(angle)) / 2)
    stripes = np.repeat(wave[..., None], 3, axis=2).astype(np.uint8)
    histogram = orientations(stripes, 256, 192)
    assert histogram.shape == (12, BINS + 1)
    strongest = histogram[:, :BINS].argmax(1) * (180 / BINS)
    assert np.abs((strongest - degrees + 90) % 180 - 90).max() <= 180 / BINS


def test_stripes_of_a_stretched_copy_have_the_direction_of_the_picture():
    u, v = np.meshgrid(np.arange(256), np.arange(192))
    wave = 127 + 100 * np.sin((u + v) / 2)  # 45° here, in a picture twice as wide atan(1 / ½) = 63°
    stripes = np.repeat(wave[..., None], 3, axis=2).astype(np.uint8)
    strongest = orientations(stripes, 512, 192)[:, :BINS].argmax(1) * (180 / BINS)
    assert np.abs(strongest - math.degrees(math.atan(2))).max() <= 180 / BINS


def test_the_network_answers_pictures_of_a_batch_as_it_does_one_by_one():
    torch.manual_seed(0)
    network = ViewNetwork().eval()
    features, places = torch.randn(3, 12, FEATURES), coordinates(4, 3, 400, 300)
    with torch.inference_mode():
        together = network(features, places)
        alone = [network(features[i : i + 1], places) for i in range(3)]
    for k in (0, 1):
        torch.testing.assert_close(together[k], torch.cat([one[k] for one in alone]), atol=1e-5, rtol=1e-5)
