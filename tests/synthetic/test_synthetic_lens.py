"""Photographs: JPEG as others make it, exposure that finds the light, blur and softness where they are asked for."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from metrichmsr.synthetic.jpeg import jpeg
from metrichmsr.synthetic.lens import LensEffects, LensSettings, gaussian_blur


def scenes(count: int, size: int = 96) -> torch.Tensor:
    generator = torch.Generator().manual_seed(4)
    coarse = torch.rand(count, 3, 12, 12, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, size=(size, size), mode="bicubic").clamp(0, 1)
    fine = 0.1 * torch.rand(count, 3, size, size, generator=generator)
    return (0.9 * smooth + fine).permute(0, 2, 3, 1).contiguous()


@pytest.mark.parametrize("quality", [25, 60, 92])
def test_jpeg_is_what_opencv_makes(quality: int) -> None:
    pictures = scenes(3, 100)
    ours = (jpeg(pictures, torch.full((3,), float(quality))) * 255).round().numpy()
    for picture, own in zip(pictures.numpy(), ours, strict=True):
        stored = (picture * 255).round().astype(np.uint8)[..., ::-1]
        theirs = cv2.imdecode(cv2.imencode(".jpg", stored, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], 1)[..., ::-1]
        error = np.square(theirs.astype(float) - own).mean()
        assert 10 * np.log10(255**2 / error) > 38
        loss = np.square(theirs.astype(float) - picture * 255).mean()
        assert error < 0.5 * loss, "nearer to the other's JPEG than that is to the original"


def test_the_same_seed_is_the_same_photograph() -> None:
    light, lens = scenes(5), LensEffects()
    first, drawn = lens.apply(light, torch.Generator().manual_seed(3))
    second, _ = lens.apply(light, torch.Generator().manual_seed(3))
    other, _ = lens.apply(light, torch.Generator().manual_seed(4))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert first.dtype == torch.uint8
    assert first.shape == light.shape
    assert len(drawn) == 5
    assert {"exposure", "noise", "jpeg_quality"} <= set(drawn[0])


@pytest.mark.parametrize("factor", [1e-3, 1.0, 1e3])
def test_exposure_finds_any_light(factor: float) -> None:
    pictures, _ = LensEffects().apply(scenes(12) * factor, torch.Generator().manual_seed(0))
    means = pictures.float().mean((1, 2, 3))
    assert (means > 20).all()
    assert (means < 235).all()
    assert (pictures.float().flatten(1).std(1) > 5).all()


def test_ten_times_the_light_is_the_same_photograph() -> None:
    one, _ = LensEffects().apply(scenes(6), torch.Generator().manual_seed(1))
    ten, _ = LensEffects().apply(scenes(6) * 10, torch.Generator().manual_seed(1))
    assert (one.float() - ten.float()).abs().mean() < 0.5


def test_small_people_are_soft() -> None:
    plain = LensSettings(noise=(1e-6, 2e-6), jpeg=0, blur=0, motion=0, defocus=0, low_resolution=0, sharpen=0)
    light = scenes(4)

    def detail(source_px: float) -> float:
        source = torch.full((4,), source_px)
        pictures, _ = LensEffects(plain).apply(light, torch.Generator().manual_seed(2), source_px=source)
        return float(pictures.float().diff(dim=1).abs().mean())

    assert detail(20) < 0.6 * detail(96)
    assert detail(500) == detail(96)


def test_only_what_is_behind_gets_out_of_focus() -> None:
    plain = LensSettings(noise=(1e-6, 2e-6), jpeg=0, blur=0, motion=0, low_resolution=0, sharpen=0, defocus=1)
    light = scenes(4)
    depth = torch.full((4, 96, 96), torch.nan)
    depth[:, :, :48] = 2.0
    sharp, _ = LensEffects(plain).apply(light, torch.Generator().manual_seed(2))
    focused, drawn = LensEffects(plain).apply(light, torch.Generator().manual_seed(2), depth_m=depth)
    assert all(float(settings["defocus_px"]) > 0 for settings in drawn)
    change = (sharp.float() - focused.float()).abs()
    assert change[:, :, :46].mean() < 0.2
    assert change[:, :, 50:].mean() > 2


def test_blur_keeps_the_mean_and_leaves_others_alone() -> None:
    pictures = scenes(3)
    blurred = gaussian_blur(pictures, torch.tensor([0.0, 1.5, 4.0]))
    assert torch.equal(blurred[0], pictures[0])
    assert torch.allclose(blurred.mean((1, 2)), pictures.mean((1, 2)), atol=0.02)
    assert blurred[2].std() < blurred[1].std() < pictures[1].std() + 1e-3
