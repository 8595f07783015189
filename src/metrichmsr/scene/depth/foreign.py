"""What the adapters of foreign networks share: finding packages and weights, running foreign code, clear errors.

Nothing here imports a foreign package by itself or opens a connection.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from metrichmsr.errors import InputError, MetricHMSRError, MissingPackageError, ModelFileError, UsageError
from metrichmsr.scene.depth.protocol import DepthEstimate, SceneAnchors
from metrichmsr.structures import Camera

Run = Callable[[UInt8[np.ndarray, "H W 3"], Camera, SceneAnchors | None], DepthEstimate]
"""What an adapter makes of a package."""


@dataclass(frozen=True)
class ForeignDepth:
    """A network of somebody else's, behind the protocol of depth sources."""

    name: str
    run: Run

    def __call__(
        self,
        image: UInt8[np.ndarray, "H W 3"],
        camera: Camera,
        *,
        path: Path | None = None,
        anchors: SceneAnchors | None = None,
    ) -> DepthEstimate:
        """Depth of an upright picture, see :class:`~metrichmsr.scene.depth.protocol.DepthSource`.

        Raises:
            InputError: the network failed on this picture, or found no depth in it.
        """
        label = "the picture" if path is None else path
        try:
            with _quiet():
                estimate = self.run(image, camera, anchors)
        except MetricHMSRError:
            raise
        except Exception as error:  # whatever foreign code raises
            raise InputError(f"{label}: depth source {self.name} failed ({one_line(error)})") from error
        if estimate.depth_m.shape != image.shape[:2]:
            height, width = estimate.depth_m.shape
            raise InputError(f"{label}: depth source {self.name} gave {width}×{height} pixels for another size")
        if not np.isfinite(estimate.depth_m).any():
            raise InputError(f"{label}: depth source {self.name} found no depth in it")
        return estimate


def knows_camera(camera: Camera) -> bool:
    """Whether the intrinsics are worth telling to a large network: better than assumed or than a small one's."""
    return camera.source not in ("assumed", "estimated:panorama")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Foreign code warns of its own affairs, and some of it prints; standard output belongs to the results."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
        warnings.simplefilter("ignore")
        yield


def one_line(error: Exception) -> str:
    """The message of a foreign error on one line, or its type where it has none."""
    return " ".join(str(error).split()) or type(error).__name__


def is_installed(package: str) -> bool:
    """Whether a package can be found, without importing it."""
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):
        return False


def import_foreign(module: str, attribute: str, *, source: str, how: str) -> Any:
    """A module of an optional package.

    Args:
        module: dotted name.
        attribute: what it must have.
        source: name of the depth source that needs it, for the message.
        how: the command that installs it, for the message.

    Raises:
        MissingPackageError: it, or something it needs, is not installed.
        UsageError: the one that is installed has no such attribute.
    """
    package = module.split(".")[0]
    try:
        with _quiet():
            found = importlib.import_module(module)
    except ImportError as error:
        missing = (error.name or "").split(".")[0]
        if missing and missing != package:
            raise MissingPackageError(f"--depth {source}: {package} needs {missing}, which is not installed") from error
        raise MissingPackageError(
            f"--depth {source}: the package {package} is not installed; get it with `{how}`"
        ) from error
    if not hasattr(found, attribute):
        raise UsageError(f"--depth {source}: the installed {module} has no {attribute}; get another with `{how}`")
    return found


def hub_cache() -> Path:
    """Where the Hugging Face libraries keep what they fetched; their environment variables are obeyed."""
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if os.environ.get(variable):
            return Path(os.environ[variable]).expanduser()
    home = os.environ.get("HF_HOME")
    if home is None:
        home = os.path.join(os.environ.get("XDG_CACHE_HOME", "~/.cache"), "huggingface")
    return Path(home).expanduser() / "hub"


def cached_file(model: str, *names: str) -> Path | None:
    """One of these files of a model on this disk, the first that there is.

    Args:
        model: a folder, or an id of the Hugging Face hub, ``owner/name``.
        names: file names inside it.
    """
    if Path(model).is_dir():
        folders = [Path(model)]
    else:
        snapshots = hub_cache() / f"models--{model.replace('/', '--')}" / "snapshots"
        # The newest first: an older one stays when the model is fetched anew.
        folders = sorted(snapshots.glob("*"), key=lambda folder: folder.stat().st_mtime, reverse=True)
    return next((folder / name for folder in folders for name in names if (folder / name).is_file()), None)


def first_cached(models: Sequence[str], *names: str) -> str | None:
    """The first of these models that is on this disk."""
    return next((model for model in models if cached_file(model, *names) is not None), None)


def missing_weights(source: str, model: str) -> ModelFileError:
    """The error of a model that is not on this disk, with the command that gets it."""
    return ModelFileError(
        f"--depth {source}: the weights of {model} are not on this machine; get them with "
        f"`hf download {model}`, or add --download"
    )


def load_foreign(source: str, model: str, load: Callable[[], Any]) -> Any:
    """Run a foreign loader; what it raises becomes a :class:`ModelFileError` that names the model."""
    try:
        with _quiet():
            return load()
    except MetricHMSRError:
        raise
    except Exception as error:  # whatever foreign code raises about its own checkpoint
        raise ModelFileError(f"--depth {source}: {model} cannot be loaded ({one_line(error)})") from error
