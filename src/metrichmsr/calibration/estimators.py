"""Focal length from the picture itself: what an estimator is, and adapters of AnyCalib, GeoCalib and MoGe-2.

One protocol; one adapter for each network the user has installed (the small one that comes along is
:mod:`~metrichmsr.calibration.panorama`). Nothing is downloaded unless that is allowed; the weights are looked for
where each package keeps them. All three are asked for the focal length only: a principal point found in one picture
is less sure than its middle.

Interfaces: github.com/javrtg/AnyCalib (Tirado-Garín and Civera 2025), github.com/cvg/GeoCalib (Veicht et al. 2024),
github.com/microsoft/MoGe (Wang et al. 2025).
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from metrichmsr.calibration.assumed import assumed_camera
from metrichmsr.calibration.centred import centred_camera
from metrichmsr.errors import MissingPackageError, ModelFileError, UsageError

TYPICAL_SIGMA = 0.10
"""Relative sigma where an estimator states none, and the least that is believed: the published errors of these networks
are 3 to 5 degrees of field of view, which is 6 to 10 per cent of the focal length."""

# MoGe-2's checkpoints, the most accurate first.
_MOGE_REPOSITORIES = tuple(f"Ruicheng/moge-2-{size}" for size in ("vitl-normal", "vitl", "vitb-normal", "vits-normal"))

_MAX_SIDE = 1024  # all of them work on less; MoGe's output has the size of its input


@dataclass(frozen=True)
class UpEstimate:
    """Which way is up in a picture: how the camera was held.

    Convention: camera frame x right, y down, z forward; a level camera has up = (0, -1, 0).
    """

    pitch_deg: float
    """How far the camera looks up; negative looks down."""
    roll_deg: float
    """How far up leans to the right in the picture; a mirrored picture has the opposite roll."""
    pitch_std_deg: float
    """One sigma of the pitch."""
    roll_std_deg: float
    """One sigma of the roll."""

    @property
    def direction(self) -> Float[np.ndarray, "3"]:
        """Unit vector that points up, camera frame."""
        pitch, roll = math.radians(self.pitch_deg), math.radians(self.roll_deg)
        level = math.cos(pitch)
        return np.array([level * math.sin(roll), -level * math.cos(roll), math.sin(pitch)])

    @property
    def std_deg(self) -> float:
        """Root mean square angle between ``direction`` and the true one, degrees."""
        return math.hypot(self.pitch_std_deg, math.cos(math.radians(self.pitch_deg)) * self.roll_std_deg)


@dataclass(frozen=True, eq=False)
class Estimate:
    """Intrinsics estimated from a picture."""

    K: Float[np.ndarray, "3 3"]
    """Continuous pixels of the picture given."""
    focal_std_px: float | None = None
    """One sigma of the focal length, where the estimator states one."""
    up: UpEstimate | None = None
    """Which way is up, where the estimator tells it."""


class IntrinsicsEstimator(Protocol):
    """Anything that finds intrinsics in a picture."""

    @property
    def name(self) -> str:
        """Goes into the camera's source, as ``estimated:<name>``."""
        ...

    def __call__(self, image: UInt8[np.ndarray, "H W 3"]) -> Estimate:
        """Estimate K from upright RGB."""
        ...


@functools.lru_cache(maxsize=1)
def load_estimator(
    name: str, *, weights: Path | None = None, device: str = "cpu", allow_download: bool = False
) -> IntrinsicsEstimator:
    """An estimator with its weights; the last one is kept.

    Args:
        name: ``anycalib``, ``geocalib``, ``moge`` or ``mapanything`` (the paper's depth source tells K as well); or
            ``panorama``, the one that comes along.
        weights: checkpoint file; by default the one in the package's own cache.
        device: torch device.
        allow_download: let the package fetch its weights where they are missing.

    Raises:
        UsageError: there is no such estimator.
        MissingPackageError: its package is not installed.
        ModelFileError: its weights are missing or cannot be loaded.
    """
    if name not in ("panorama", *_LOADERS):
        raise UsageError(f"--calibrate {name}: no such estimator (panorama, {', '.join(_LOADERS)} are)")
    if weights is not None and not weights.is_file():
        raise ModelFileError(f"{weights}: no such file (weights of {name})")
    if name == "panorama":
        from metrichmsr.calibration.panorama import PanoramaEstimator, panorama_estimator

        return panorama_estimator() if weights is None else PanoramaEstimator.load(weights)
    try:
        run = _LOADERS[name](weights, device, allow_download)
    except (UsageError, ModelFileError):
        raise
    except Exception as error:  # whatever foreign code raises about its own checkpoint
        cause = " ".join(str(error).split()) or type(error).__name__
        raise ModelFileError(f"--calibrate {name}: its weights cannot be loaded ({cause})") from error
    return _Network(name, run, device)


# What an adapter makes of a package: image (3 H W, float in [0, 1]) → focal length and its sigma, in pixels.
_Run = Callable[[Float[Tensor, "3 H W"]], tuple[float, float | None]]


@dataclass(frozen=True)
class _Network:
    """Feeds a picture of bearable size to a network and takes the answer back to the picture's own pixels."""

    name: str
    run: _Run
    device: str

    def __call__(self, image: UInt8[np.ndarray, "H W 3"]) -> Estimate:
        import cv2

        height, width = image.shape[:2]
        scale = min(1.0, _MAX_SIDE / max(height, width))
        small = image
        if scale < 1:
            size = max(1, round(width * scale)), max(1, round(height * scale))
            small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
            scale = math.sqrt(small.shape[0] * small.shape[1] / (height * width))
        tensor = torch.from_numpy(np.array(small)).to(self.device).permute(2, 0, 1).float() / 255
        with torch.inference_mode():
            focal, sigma = self.run(tensor)
        if not (math.isfinite(focal) and focal > 0):
            raise ValueError(f"it found a focal length of {focal:g} px")
        if sigma is None or not math.isfinite(sigma):
            sigma = 0.0
        focal, sigma = focal / scale, max(sigma / scale, TYPICAL_SIGMA * focal / scale)
        return Estimate(centred_camera(width, height, focal, source="", focal_std_px=None).K, sigma)


def _anycalib(weights: Path | None, device: str, allow_download: bool) -> _Run:
    package = _import("anycalib", "AnyCalib", "https://github.com/javrtg/AnyCalib")
    model_id = "anycalib_pinhole"
    cached = weights or Path(torch.hub.get_dir()) / "anycalib" / f"{model_id}.pt"
    if cached.is_file():
        model = package.AnyCalib()
        model.load_state_dict(torch.load(cached, map_location="cpu", weights_only=True))
        model.eval()
    elif allow_download:
        model = package.AnyCalib(model_id=model_id)
    else:
        raise _missing("anycalib", cached)
    model = model.to(device)

    def run(image: Float[Tensor, "3 H W"]) -> tuple[float, None]:
        fx, fy = model.predict(image, cam_id="pinhole")["intrinsics"][:2].tolist()
        return math.sqrt(fx * fy), None

    return run


def _geocalib(weights: Path | None, device: str, allow_download: bool) -> _Run:
    package = _import("geocalib", "GeoCalib", "https://github.com/cvg/GeoCalib")
    cached = weights or Path(torch.hub.get_dir()) / "geocalib" / "pinhole.tar"
    if cached.is_file():
        model = package.GeoCalib(weights=str(cached))
    elif allow_download:
        model = package.GeoCalib(weights="pinhole")
    else:
        raise _missing("geocalib", cached)
    model = model.to(device)

    def run(image: Float[Tensor, "3 H W"]) -> tuple[float, float | None]:
        result = model.calibrate(image, camera_model="pinhole")
        fx, fy = result["camera"].f.reshape(-1)[:2].tolist()
        sigma = result.get("focal_uncertainty")
        return math.sqrt(fx * fy), None if sigma is None else float(sigma.reshape(-1)[0])

    return run


def _moge(weights: Path | None, device: str, allow_download: bool) -> _Run:
    package = _import("moge.model.v2", "MoGeModel", "https://github.com/microsoft/MoGe")
    if weights is not None:
        model = package.MoGeModel.from_pretrained(str(weights))
    else:
        model = _first_cached(package.MoGeModel.from_pretrained, _MOGE_REPOSITORIES)
        if model is None and allow_download:
            model = package.MoGeModel.from_pretrained(_MOGE_REPOSITORIES[0])
    if model is None:
        raise _missing("moge", Path(_MOGE_REPOSITORIES[0]))
    model = model.to(device).eval()

    def run(image: Float[Tensor, "3 H W"]) -> tuple[float, None]:
        K = model.infer(image, use_fp16=image.is_cuda)["intrinsics"]  # of a picture of width and height 1
        fx, fy = float(K[0, 0]) * image.shape[2], float(K[1, 1]) * image.shape[1]
        return math.sqrt(fx * fy), None

    return run


def _mapanything(weights: Path | None, device: str, allow_download: bool) -> _Run:
    from metrichmsr.scene.depth.mapanything import load_mapanything

    source = load_mapanything(None if weights is None else str(weights), download=allow_download, device=device)

    def run(image: Float[Tensor, "3 H W"]) -> tuple[float, None]:
        rgb = (255 * image).round().byte().permute(1, 2, 0).cpu().numpy()
        height, width = rgb.shape[:2]
        K = source(rgb, assumed_camera(width, height)).K
        if K is None:
            raise ValueError("it found no intrinsics that a camera has")
        return math.sqrt(K[0, 0] * K[1, 1]), None

    return run


def _first_cached(load: Callable[..., Any], repositories: Sequence[str]) -> Any | None:
    """The first model that huggingface_hub has in its cache."""
    for repository in repositories:
        with contextlib.suppress(FileNotFoundError):  # what its "not in the cache" derives from
            return load(repository, local_files_only=True)
    return None


_LOADERS: dict[str, Callable[[Path | None, str, bool], _Run]] = {
    "anycalib": _anycalib,
    "geocalib": _geocalib,
    "moge": _moge,
    "mapanything": _mapanything,
}


def _import(module: str, attribute: str, page: str) -> Any:
    name = module.split(".")[0]
    try:
        package = importlib.import_module(module)
    except ImportError as error:
        if error.name is not None and error.name.split(".")[0] != name:
            raise MissingPackageError(
                f"--calibrate {name}: {name} needs {error.name}, which is not installed"
            ) from error
        raise MissingPackageError(f"--calibrate {name}: {name} is not installed, see {page}") from error
    if not hasattr(package, attribute):
        raise UsageError(f"--calibrate {name}: the installed {module} has no {attribute}, see {page}")
    return package


def _missing(name: str, where: Path) -> ModelFileError:
    return ModelFileError(
        f"--calibrate {name}: its weights are not on this machine ({where}); run {name} once to get them"
    )
