"""Who is asked before whom, what is doubted; and the adapters of foreign estimators, which are played by fakes."""

from __future__ import annotations

import math
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch

from metrichmsr.calibration import (
    CalibrationOptions,
    Estimate,
    assumed_camera,
    calibrate,
    load_estimator,
)
from metrichmsr.errors import MissingPackageError, ModelFileError, UsageError
from metrichmsr.images import ExifTags, Photo


def photo(path: Path | str = "photo.jpg", *, width: int = 640, height: int = 480, **tags) -> Photo:
    return Photo(rgb=np.zeros((height, width, 3), np.uint8), path=Path(path), exif=ExifTags(**tags))


class Fixed:
    """An estimator that always says the same."""

    name = "fixed"

    def __init__(self, focal: float = 900.0, error: Exception | None = None) -> None:
        self.focal, self.error, self.asked = focal, error, 0

    def __call__(self, image):
        self.asked += 1
        if self.error is not None:
            raise self.error
        h, w = image.shape[:2]
        return Estimate(np.array([[self.focal, 0, w / 2], [0, self.focal, h / 2], [0, 0, 1]]), 45.0)


# ── the order ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_chain(tmp_path):
    (tmp_path / "photo.json").write_text('{"K": [[700, 0, 320], [0, 700, 240], [0, 0, 1]]}')
    here, estimator = tmp_path / "photo.jpg", Fixed(650)
    exif = {"focal_length_35mm": 36.0}  # 666 px
    options = CalibrationOptions(focal_px=720)
    assert calibrate(photo(here, **exif), options, estimator=estimator).camera.source == "given"
    assert calibrate(photo(here, **exif), estimator=estimator).camera.source == "sidecar"
    assert calibrate(photo(here, **exif), estimator=estimator, sidecar=False).camera.source == "exif"
    assert estimator.asked == 0, "the expensive one is asked where nobody else knows"
    estimated = calibrate(photo(here), estimator=estimator, sidecar=False).camera
    assert (estimated.source, estimated.focal_px, estimated.focal_std_px) == ("estimated:fixed", 650, 45)
    assert calibrate(photo(here), sidecar=False).camera.source == "estimated:panorama"
    nobody = CalibrationOptions(calibrate="none")
    assert calibrate(photo(here), nobody, sidecar=False).camera.source == "assumed"
    asked = estimator.asked
    assert calibrate(photo(here), nobody, estimator=estimator, sidecar=False).camera.source == "estimated:fixed"
    assert estimator.asked == asked + 1


def test_assumed_by_the_papers_rule():
    for width, height in ((640, 480), (480, 640)):
        camera = assumed_camera(width, height)
        np.testing.assert_array_equal(camera.K, [[640, 0, width / 2], [0, 640, height / 2], [0, 0, 1]])
        assert camera.focal_std_px == pytest.approx(0.4 * 640)
        # The sigma covers a phone's main camera and a short tele.
        for f35 in (24, 28, 50, 75):
            true = f35 * math.hypot(width, height) / math.hypot(36, 24)
            assert abs(math.log(true / 640)) < 2 * 0.4


def test_an_estimator_that_fails_costs_a_warning():
    nobody = CalibrationOptions(calibrate="none")
    for error in (RuntimeError("no lines\nin this picture"), ValueError()):
        result = calibrate(photo(), nobody, estimator=Fixed(error=error), sidecar=False)
        assert result.camera.source == "assumed"
        assert "fixed failed on this picture" in result.warnings[0]
        assert "\n" not in result.warnings[0]
    result = calibrate(photo(), nobody, estimator=Fixed(math.nan), sidecar=False)
    assert result.camera.source == "assumed"
    assert "finite" in result.warnings[0]
    result = calibrate(photo(), estimator=Fixed(error=ValueError()), sidecar=False)
    assert result.camera.source == "estimated:panorama", "the one that comes along takes its place"
    assert len(result.warnings) == 1


# ── doubts ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("focal", "odd"), [(100, True), (150.0, False), (700, False), (4500.0, False), (4600, True)])
def test_an_implausible_field_of_view_is_a_warning(focal, odd):
    result = calibrate(photo(), CalibrationOptions(focal_px=focal))
    assert result.camera.focal_px == focal, "used all the same"
    assert bool(result.warnings) == odd
    if odd:
        assert "implausible field of view" in result.warnings[0]


def test_given_against_exif():
    result = calibrate(photo(focal_length_35mm=36.0), CalibrationOptions(focal_px=1300))
    assert result.camera.source == "given"
    assert "given focal length 1300 px, but the photo's EXIF data tell 666 px" in result.warnings[0]
    assert calibrate(photo(focal_length_35mm=36.0), CalibrationOptions(focal_px=700)).warnings == ()


def test_a_principal_point_of_another_size(tmp_path):
    file = tmp_path / "k.json"
    file.write_text('{"K": [[1500, 0, 960], [0, 1500, 540], [0, 0, 1]]}')
    result = calibrate(photo(), CalibrationOptions(intrinsics=file))
    assert result.camera.K[0, 2] == 960
    assert any("is K that of another size" in warning for warning in result.warnings)


def test_pixels_that_are_not_square(tmp_path):
    file = tmp_path / "k.json"
    file.write_text('{"K": [[600, 0, 320], [0, 800, 240], [0, 0, 1]]}')
    assert "unusual pixels" in calibrate(photo(), CalibrationOptions(intrinsics=file)).warnings[0]


def test_what_exif_lies_is_told_when_it_would_have_been_used():
    assert "panorama" in calibrate(photo(width=2000, height=480, focal_length_35mm=28.0)).warnings[0]
    options = CalibrationOptions(focal_px=1500)
    assert calibrate(photo(width=2000, height=480, focal_length_35mm=28.0), options).warnings == ()


# ── adapters ─────────────────────────────────────────────────────────────────────────────────────────────────────────

# A fake answers with the focal length of a picture of 60° across, at the size it was given; so the answer at the
# original size must be that of 60° again, whatever the adapter did to the picture.


def focal_of(width: int) -> float:
    return width / 2 / math.tan(math.radians(30))


def check_image(image: torch.Tensor) -> None:
    assert image.ndim == 3
    assert image.shape[0] == 3
    assert image.dtype == torch.float32
    assert 0.99 < float(image.max()) <= 1.0
    assert max(image.shape) <= 1024


class FakeAnyCalib(torch.nn.Module):
    def __init__(self, model_id: str | None = None, **_options) -> None:
        super().__init__()
        self.model_id = model_id
        self.weight = torch.nn.Parameter(torch.zeros(2))

    @torch.inference_mode()
    def predict(self, im: torch.Tensor, cam_id: str | list[str]) -> dict:
        assert cam_id == "pinhole"
        assert not self.training
        check_image(im)
        h, w = im.shape[-2:]
        return {"intrinsics": torch.tensor([focal_of(w), focal_of(w), w / 2 + 3, h / 2]), "pred_size": (h, w)}


class FakeGeoCalib(torch.nn.Module):
    def __init__(self, weights: str = "pinhole") -> None:
        super().__init__()
        self.weights = weights

    @torch.no_grad()
    def calibrate(self, img: torch.Tensor, camera_model: str = "pinhole", priors=None, shared_intrinsics: bool = False):
        check_image(img)
        w = img.shape[-1]
        camera = types.SimpleNamespace(f=torch.tensor([[focal_of(w), focal_of(w)]]))
        return {"camera": camera, "focal_uncertainty": torch.tensor([0.2 * focal_of(w)])}


class FakeMoGe(torch.nn.Module):
    cached: tuple[str, ...] = ("Ruicheng/moge-2-vits-normal",)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, model_kwargs=None, **hf_kwargs):
        if Path(pretrained_model_name_or_path).exists():
            return cls()
        if hf_kwargs.get("local_files_only") and pretrained_model_name_or_path not in cls.cached:
            raise FileNotFoundError(pretrained_model_name_or_path)
        return cls()

    @torch.inference_mode()
    def infer(self, image: torch.Tensor, num_tokens=None, resolution_level=9, use_fp16: bool = True, **_options):
        check_image(image)
        assert not use_fp16, "half precision on a CPU"
        h, w = image.shape[-2:]
        K = torch.tensor([[focal_of(w) / w, 0, 0.5], [0, focal_of(w) / h, 0.5], [0, 0, 1]])
        return {"intrinsics": K, "depth": torch.ones(h, w)}


@pytest.fixture
def fakes(monkeypatch, tmp_path):
    """The three packages, installed, their weights in their caches."""
    load_estimator.cache_clear()
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    for folder, name in (("anycalib", "anycalib_pinhole.pt"), ("geocalib", "pinhole.tar")):
        (tmp_path / folder).mkdir()
        torch.save(FakeAnyCalib().state_dict(), tmp_path / folder / name)
    modules = {
        "anycalib": types.SimpleNamespace(AnyCalib=FakeAnyCalib),
        "geocalib": types.SimpleNamespace(GeoCalib=FakeGeoCalib),
        "moge": types.ModuleType("moge"),
        "moge.model": types.ModuleType("moge.model"),
        "moge.model.v2": types.SimpleNamespace(MoGeModel=FakeMoGe),
    }
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    yield tmp_path
    load_estimator.cache_clear()


@pytest.mark.parametrize(("name", "sigma"), [("anycalib", 0.1), ("geocalib", 0.2), ("moge", 0.1)])
@pytest.mark.parametrize("size", [(640, 480), (1800, 2400), (2000, 1000)])
def test_adapters(fakes, name, sigma, size):
    width, height = size
    white = Photo(rgb=np.full((height, width, 3), 255, np.uint8), path=Path("p.jpg"), is_file=False)
    camera = calibrate(white, CalibrationOptions(calibrate=name)).camera
    assert camera.source == f"estimated:{name}"
    assert camera.fov_x_deg == pytest.approx(60, abs=0.05)
    assert camera.focal_std_px == pytest.approx(sigma * camera.focal_px, rel=0.01)
    np.testing.assert_allclose(camera.K[:2, 2], [width / 2, height / 2])


def test_an_estimator_is_loaded_once(fakes):
    assert load_estimator("moge") is load_estimator("moge")


@pytest.mark.parametrize("name", ["anycalib", "geocalib", "moge"])
def test_not_installed(name, monkeypatch):
    load_estimator.cache_clear()
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingPackageError, match=f"--calibrate {name}: {name} is not installed, see https://"):
        calibrate(photo(), CalibrationOptions(calibrate=name))


def test_installed_without_what_it_needs(monkeypatch):
    load_estimator.cache_clear()

    def failing(module):
        raise ModuleNotFoundError("No module named 'kornia'", name="kornia")

    monkeypatch.setattr("importlib.import_module", failing)
    with pytest.raises(MissingPackageError, match="geocalib needs kornia, which is not installed"):
        load_estimator("geocalib")


def test_another_package_of_that_name(monkeypatch):
    load_estimator.cache_clear()
    monkeypatch.setitem(sys.modules, "anycalib", types.SimpleNamespace())
    with pytest.raises(UsageError, match="has no AnyCalib"):
        load_estimator("anycalib")


def test_no_such_estimator():
    with pytest.raises(UsageError, match="no such estimator"):
        load_estimator("crystal-ball")


def test_weights_are_not_fetched_unless_that_is_allowed(fakes, monkeypatch):
    for path in fakes.glob("*/*"):
        path.unlink()
    monkeypatch.setattr(FakeMoGe, "cached", ())
    for name in ("anycalib", "geocalib", "moge"):
        with pytest.raises(ModelFileError, match=f"--calibrate {name}: its weights are not on this machine"):
            load_estimator(name)
        assert load_estimator(name, allow_download=True).name == name


def test_weights_of_ones_own(fakes, tmp_path):
    with pytest.raises(ModelFileError, match="no such file"):
        load_estimator("moge", weights=tmp_path / "missing.pt")
    damaged = tmp_path / "damaged.pt"
    damaged.write_bytes(b"no checkpoint")
    with pytest.raises(ModelFileError, match="--calibrate anycalib: its weights cannot be loaded"):
        load_estimator("anycalib", weights=damaged)
    torch.save(FakeAnyCalib().state_dict(), damaged)
    assert load_estimator("anycalib", weights=damaged).name == "anycalib"


def test_every_public_name_is_there():
    from metrichmsr import calibration, images

    for package in (calibration, images):
        assert set(package.__all__) <= set(dir(package))
        assert all(getattr(package, name) is not None for name in package.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        calibration.nonsense  # noqa: B018
