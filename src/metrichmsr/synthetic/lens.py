"""From light to a photograph: what lens, sensor and phone do, on the device of the input.

Every effect has a strength for each shot; effects that cost time are applied only to the shots that drew them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from metrichmsr.synthetic.jpeg import jpeg

_LUMINANCE = (0.2126, 0.7152, 0.0722)
_SHOTS_AT_ONCE = 2
_BLUR_REACH = 4.0
"""Gaussian blurs are cut at so many sigmas."""


@dataclass(frozen=True)
class LensSettings:
    """How likely and how strong effects are."""

    key: tuple[float, float] = (0.10, 0.26)
    """Mean (geometric) linear brightness that the exposure aims at."""
    exposure_std: float = 0.30
    """Of errors of exposure, natural log."""
    white_balance_std: float = 0.06
    contrast_std: float = 0.12
    saturation_std: float = 0.15
    filmic: float = 0.4
    """Share with a soft shoulder for highlights."""
    vignette: float = 0.3
    defocus: float = 0.25
    """Share whose background is out of focus."""
    blur: float = 0.3
    """Share that is soft all over."""
    motion: float = 0.12
    low_resolution: float = 0.15
    """Share scaled down and up again, beside crops of people who are small in their picture."""
    sharpen: float = 0.3
    noise: tuple[float, float] = (0.001, 0.035)
    """Read noise at mid grey, log-uniform."""
    jpeg: float = 0.75
    quality: tuple[float, float] = (30.0, 95.0)
    grayscale: float = 0.04
    faded: float = 0.01
    """Share that looks like an old print."""


class LensEffects:
    """Makes photographs of light.

    Args:
        settings: what is drawn.
    """

    def __init__(self, settings: LensSettings | None = None) -> None:
        self.settings = settings or LensSettings()

    @torch.no_grad()
    def apply(
        self,
        linear_rgb: Float[Tensor, "S H W 3"],
        generator: torch.Generator,
        *,
        depth_m: Float[Tensor, "S H W"] | None = None,
        kind: Literal["crop", "scene"] = "crop",
        source_px: Float[Tensor, "S"] | None = None,
    ) -> tuple[UInt8[Tensor, "S H W 3"], list[dict[str, float | str]]]:
        """Photographs, and what was drawn for each.

        Args:
            linear_rgb: light, any scale.
            generator: of the CPU; decides everything, noise included.
            depth_m: z-depth, NaN for the background: what is far behind the nearest things may get out of focus.
            kind: a crop or a whole picture.
            source_px: how many pixels of the full picture a picture's width held; softer where that is fewer.
        """
        shots = len(linear_rgb)
        u = torch.rand(24, shots, generator=generator)
        normal = torch.randn(12, shots, generator=generator).clamp_(-2.5, 2.5)
        noise_seed = int(torch.randint(2**31 - shots - 1, (1,), generator=generator))
        # Few at a time: on a CPU what is done to them one after the other stays in the cache.
        size = shots if linear_rgb.is_cuda else _SHOTS_AT_ONCE
        pictures, settings = [], list[dict[str, float | str]]()
        for start in range(0, shots, max(1, size)):
            part = slice(start, start + size)
            picture, drawn = self._photograph(
                linear_rgb[part],
                u[:, part],
                normal[:, part],
                noise_seed + start,
                None if depth_m is None else depth_m[part],
                kind,
                None if source_px is None else source_px[part],
            )
            pictures.append(picture)
            settings += drawn
        return torch.cat(pictures), settings

    def _photograph(
        self,
        linear_rgb: Float[Tensor, "S H W 3"],
        u: Float[Tensor, "24 S"],
        normal: Float[Tensor, "12 S"],
        noise_seed: int,
        depth_m: Float[Tensor, "S H W"] | None,
        kind: str,
        source_px: Float[Tensor, "S"] | None,
    ) -> tuple[UInt8[Tensor, "S H W 3"], list[dict[str, float | str]]]:
        """What :meth:`apply` does, with everything drawn."""
        settings, shots, device = self.settings, len(linear_rgb), linear_rgb.device
        width = linear_rgb.shape[2]
        scale = width / 256 if kind == "scene" else 1.0

        def drawn(values: Tensor) -> Tensor:
            return values.to(device, torch.float32)[:, None, None, None]

        def chosen(row: int, share: float) -> Tensor:
            return (u[row] < share).nonzero().squeeze(1)

        record: dict[str, Tensor] = {}
        light = linear_rgb.clamp_min(0)
        log_key = math.log(settings.key[0]) + u[0] * math.log(settings.key[1] / settings.key[0])
        record["exposure"] = normal[0] * settings.exposure_std
        gain = (log_key + record["exposure"]).exp().to(device) / _mean_brightness(light)
        balance = (normal[1:4] * settings.white_balance_std).exp().T.to(device)
        light = light * gain[:, None, None, None] * balance[:, None, None]
        if depth_m is not None:
            light = _defocus(light, depth_m, chosen(1, settings.defocus), u[2], scale, record)
        light = _motion(light, chosen(3, settings.motion), u[4], u[5], scale, record)
        soft = torch.zeros(shots)
        rows = chosen(6, settings.blur)
        soft[rows] = 0.4 + 0.9 * u[7][rows]
        record["blur_px"] = soft * scale
        light = gaussian_blur(light, (soft * scale).to(device))
        if kind == "crop" and source_px is not None:
            small = (source_px.cpu().float() / width).clamp(0.08, 1)
        else:
            small = torch.ones(shots)
        rows = chosen(8, settings.low_resolution)
        small[rows] = torch.minimum(small[rows], 0.25 + 0.6 * u[9][rows])
        record["resolution"] = small
        light = _lower_resolution(light, small)
        light = _vignette(light, chosen(10, settings.vignette), 0.1 + 0.5 * u[11])
        # Noise belongs to the light: brighter is noisier, dark pictures are amplified more.
        level = math.log(settings.noise[0]) + u[12].square() * math.log(settings.noise[1] / settings.noise[0])
        record["noise"] = level.exp()
        light = _add_noise(light, drawn(level.exp()), noise_seed, coarse=small)
        filmic = drawn((u[13] < settings.filmic).float())
        shoulder = light * (1 + light / 9.0) / (1 + light)
        light = torch.lerp(light, 1.35 * shoulder, filmic)
        picture = light.clamp(0, 1).pow(1 / 2.2)
        contrast = drawn((normal[4] * settings.contrast_std).exp())
        picture = ((picture - 0.45) * contrast + 0.45).clamp(0, 1)
        gray = (picture * picture.new_tensor([0.299, 0.587, 0.114])).sum(-1, keepdim=True)
        saturation = 1 + normal[5] * settings.saturation_std
        saturation[u[14] < settings.grayscale] = 0.0
        record["saturation"] = saturation
        picture = torch.lerp(gray.expand_as(picture), picture, drawn(saturation)).clamp(0, 1)
        rows = chosen(15, settings.faded).to(device)
        if len(rows):
            old = picture.new_tensor([1.0, 0.88, 0.7])
            picture[rows] = 0.12 + 0.8 * torch.lerp(picture[rows], gray[rows] * old, 0.7)
        picture = _sharpen(picture, chosen(16, settings.sharpen), 0.3 + 1.0 * u[17], scale)
        quality = settings.quality[0] + (settings.quality[1] - settings.quality[0]) * u[19].sqrt()
        rows = chosen(18, settings.jpeg).to(device)
        record["jpeg_quality"] = torch.where(u[18] < settings.jpeg, quality, 100.0)
        if len(rows):
            picture[rows] = jpeg(picture[rows], quality.to(device)[rows])
        columns = {name: values.tolist() for name, values in record.items()}
        settings_of: list[dict[str, float | str]] = [
            {name: round(float(values[i]), 4) for name, values in columns.items()} for i in range(shots)
        ]
        return (picture * 255).round().to(torch.uint8), settings_of


def _mean_brightness(light: Float[Tensor, "S H W 3"]) -> Float[Tensor, "S"]:
    """Geometric mean of the luminance over a coarse grid, so that lamps and black corners count little."""
    coarse = light[:, ::4, ::4]
    luminance = (coarse * coarse.new_tensor(_LUMINANCE)).sum(-1).flatten(1)
    # What is black because nothing was there must not pull the exposure up without end.
    floor = luminance.amax(1, keepdim=True).clamp_min(1e-4) * 0.02
    return luminance.clamp_min(floor).log().mean(1).exp().clamp_min(1e-4)


def gaussian_blur(pictures: Float[Tensor, "S H W C"], sigma_px: Float[Tensor, "S"]) -> Float[Tensor, "S H W C"]:
    """Blur each picture by a Gaussian of its own; those of less than a tenth of a pixel stay as they are."""
    rows = (sigma_px > 0.1).nonzero().squeeze(1)
    if not len(rows):
        return pictures
    sigma = sigma_px[rows]
    reach = max(1, math.ceil(_BLUR_REACH * float(sigma.max()) * 0.75))
    place = torch.arange(-reach, reach + 1, device=pictures.device, dtype=pictures.dtype)
    kernel = (-0.5 * (place / sigma[:, None]).square()).exp()
    kernel = kernel / kernel.sum(1, keepdim=True)
    result = pictures.clone()
    result[rows] = _convolve(_convolve(pictures[rows], kernel[:, :, None]), kernel[:, None])
    return result


def _convolve(pictures: Float[Tensor, "S H W C"], kernels: Float[Tensor, "S k l"]) -> Float[Tensor, "S H W C"]:
    """Each picture with a kernel of its own, edges repeated."""
    shots, height, width, channels = pictures.shape
    rows, columns = kernels.shape[1:]
    planes = pictures.permute(0, 3, 1, 2).reshape(1, shots * channels, height, width)
    pad = (columns // 2, columns // 2, rows // 2, rows // 2)
    planes = torch.nn.functional.pad(planes, pad, mode="replicate")
    weight = kernels.repeat_interleave(channels, 0)[:, None]
    planes = torch.nn.functional.conv2d(planes, weight, groups=shots * channels)
    return planes.view(shots, channels, height, width).permute(0, 2, 3, 1)


def _defocus(light: Tensor, depth: Tensor, rows: Tensor, u: Tensor, scale: float, record: dict[str, Tensor]) -> Tensor:
    """What lies well behind the nearest things gets blurred, as by a wide aperture."""
    amount = torch.zeros(len(u))
    amount[rows] = (0.8 + 2.6 * u[rows]) * scale
    record["defocus_px"] = amount
    if not len(rows):
        return light
    device = light.device
    some = rows.to(device)
    z = depth[some].nan_to_num(nan=1e4)
    near = z.flatten(1)[:, ::7].kthvalue(max(1, z[0].numel() // 70), dim=1).values
    behind = ((z - 1.15 * near[:, None, None] - 0.4) / (0.35 * near[:, None, None] + 0.4)).clamp(0, 1)[..., None]
    blurred = gaussian_blur(light[some], amount[rows].to(device))
    light = light.clone()
    light[some] = torch.lerp(light[some], blurred, behind)
    return light


def _motion(light: Tensor, rows: Tensor, u: Tensor, v: Tensor, scale: float, record: dict[str, Tensor]) -> Tensor:
    """The camera moved: a mean along a line."""
    length = torch.zeros(len(u))
    length[rows] = (1.5 + 7 * u[rows].square()) * scale
    record["motion_px"] = length
    if not len(rows):
        return light
    some = rows.to(light.device)
    angle, half = math.pi * v[rows], 0.5 * length[rows]
    reach = max(1, math.ceil(float(half.max())))
    # Points along the line, each spread over the four cells around it.
    along = torch.linspace(-1, 1, 4 * reach + 1)
    x, y = (half[:, None] * direction[:, None] * along + reach for direction in (angle.cos(), angle.sin()))
    size = 2 * reach + 1
    kernel = torch.zeros(len(rows), (size + 1) * (size + 1))
    left, top = x.floor(), y.floor()
    for dx in (0, 1):
        for dy in (0, 1):
            weight = (1 - (x - left - dx).abs()) * (1 - (y - top - dy).abs())
            kernel.scatter_add_(1, ((top + dy) * (size + 1) + left + dx).long(), weight)
    kernel = kernel.view(-1, size + 1, size + 1)[:, :size, :size]
    kernel = (kernel / kernel.sum((1, 2), keepdim=True)).to(light)
    light = light.clone()
    light[some] = _convolve(light[some], kernel)
    return light


def _lower_resolution(light: Tensor, factor: Float[Tensor, "S"]) -> Tensor:
    """Scale down by area and up again, in a few steps of size for all."""
    result = light
    sizes = (factor * 12).round().clamp(1, 12).long()
    for size in sizes.unique().tolist():
        if size == 12:
            continue
        rows = (sizes == size).nonzero().squeeze(1).to(light.device)
        pictures = light[rows].permute(0, 3, 1, 2)
        height, width = pictures.shape[2:]
        small = (max(4, height * size // 12), max(4, width * size // 12))
        pictures = torch.nn.functional.interpolate(pictures, size=small, mode="area")
        pictures = torch.nn.functional.interpolate(pictures, size=(height, width), mode="bilinear")
        result = result.clone() if result is light else result
        result[rows] = pictures.permute(0, 2, 3, 1)
    return result


def _vignette(light: Tensor, rows: Tensor, strength: Tensor) -> Tensor:
    if not len(rows):
        return light
    height, width = light.shape[1:3]
    v = torch.linspace(-1, 1, height, device=light.device)[:, None]
    u = torch.linspace(-1, 1, width, device=light.device)
    radius = (u.square() + v.square()) / 2
    light = light.clone()
    some = rows.to(light.device)
    light[some] *= 1 - strength[rows].to(light)[:, None, None, None] * radius.square()[None, :, :, None]
    return light


def _add_noise(light: Tensor, level: Tensor, seed: int, *, coarse: Tensor) -> Tensor:
    """Photon and read noise; where a picture was enlarged, its noise was too."""
    generator = torch.Generator(light.device).manual_seed(seed)
    noise = torch.randn(light.shape, generator=generator, device=light.device)
    enlarged = (coarse < 0.7).nonzero().squeeze(1).to(light.device)
    if len(enlarged):
        noise[enlarged] = _lower_resolution(noise[enlarged], coarse[coarse < 0.7]) * 2
    return light + noise * level * (0.25 + 2.2 * light.clamp_min(0)).sqrt()


def _sharpen(picture: Tensor, rows: Tensor, strength: Tensor, scale: float) -> Tensor:
    if not len(rows):
        return picture
    some = rows.to(picture.device)
    soft = gaussian_blur(picture[some], torch.full((len(rows),), 0.9 * scale, device=picture.device))
    picture = picture.clone()
    amount = strength[rows].to(picture)[:, None, None, None]
    picture[some] = (picture[some] + amount * (picture[some] - soft)).clamp(0, 1)
    return picture
