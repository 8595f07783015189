"""Depth sources by name, and what of them this machine has.

``auto`` takes the first of these that is installed and has its weights on disk: MapAnything (the paper's source),
MoGe-2, Depth Pro or Depth Anything with metres, and the embedded network that comes with the package. Nothing is
downloaded unless that is asked for.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from metrichmsr.errors import InputError, ModelFileError, UsageError
from metrichmsr.scene.depth import depth_anything_3, hf_models, mapanything, moge
from metrichmsr.scene.depth.file import DepthUnit, FileDepth
from metrichmsr.scene.depth.foreign import cached_file, first_cached, is_installed
from metrichmsr.scene.depth.protocol import DepthSource

_EMBEDDED_MODULE = "metrichmsr.scene.depth.embedded"
_EMBEDDED_WEIGHTS = Path("weights/depth_small.safetensors")

_NETWORKS: dict[str, Callable[..., DepthSource]] = {
    "mapanything": mapanything.load_mapanything,
    "moge": moge.load_moge,
    "depth_anything_3": depth_anything_3.load_depth_anything_3,
}

AUTO_ORDER = ("mapanything", "moge", "transformers", "embedded")
"""In which order ``auto`` looks. Depth Anything 3 is used only when named: its metres hang on the focal length."""


@dataclass(frozen=True)
class SourceState:
    """One depth source and whether it can be used here and now, offline."""

    name: str
    """As given to ``--depth``."""
    state: Literal["ready", "no weights", "not installed"]
    detail: str
    """What was found, or what is missing."""
    hint: str = ""
    """What to do about it."""
    model: str | None = None
    """Folder or hub id of the weights, where they are not part of the package."""


@dataclass(frozen=True)
class Choice:
    """What ``auto`` takes, and why."""

    source: DepthSource
    reason: str
    """One line: which source, and what was passed over."""


def load_depth_source(name: str, *, download: bool = False, device: str = "cpu", unit: str = "auto") -> DepthSource:
    """A depth source with its weights.

    Args:
        name: ``auto``, ``embedded``, ``mapanything``, ``moge`` or ``depth_anything_3`` (each of the three also as
            ``NAME:MODEL`` with a folder or hub id), ``file:PATH``, or a depth model of the transformers library: a hub
            id with a slash, ``transformers:ID_OR_FOLDER``, or ``transformers`` for the first that is on disk.
        download: let the source fetch what is missing; ``auto`` fetches MapAnything where its package is installed.
        device: torch device.
        unit: for ``file``: what its numbers mean, see :meth:`~metrichmsr.scene.depth.file.DepthUnit.parse`.

    Raises:
        UsageError: there is no such source, or ``unit`` is given for another source.
        MissingPackageError: its package is not installed.
        ModelFileError: its weights are missing or cannot be loaded; the message says how to get them.
        InputError: ``file:PATH`` does not exist.
    """
    kind, _, rest = name.partition(":")
    if unit != "auto" and kind != "file":
        raise UsageError(f"--depth-unit {unit}: only --depth file:PATH has units, not {name}")
    if name == "auto":
        return choose_depth_source(download=download, device=device).source
    if name == "embedded":
        return _load_embedded(device)
    if kind == "file":
        return _load_file(rest, unit)
    if kind in _NETWORKS:
        return _NETWORKS[kind](rest or None, download=download, device=device)
    if kind == "transformers":
        model = rest or first_cached(hf_models.MODELS, *hf_models.WEIGHTS) or hf_models.MODELS[0]
        return hf_models.load_hf_model(model, download=download, device=device)
    if "/" in name and (Path(name).is_dir() or name.count("/") == 1):
        return hf_models.load_hf_model(name, download=download, device=device)
    known = ", ".join(("auto", "embedded", *_NETWORKS, "file:PATH", "transformers:MODEL"))
    raise UsageError(f"--depth {name}: no such depth source; these are: {known}")


def choose_depth_source(*, download: bool = False, device: str = "cpu") -> Choice:
    """What ``auto`` takes: the first of :data:`AUTO_ORDER` that is installed and on disk.

    Raises:
        ModelFileError: there is none, not even the embedded network.
    """
    states = {state.name: state for state in available_sources()}
    passed_over: list[str] = []
    for name in AUTO_ORDER:
        state = states[name]
        model = state.model
        if state.state == "no weights" and download and name == "mapanything":
            model = mapanything.MODELS[0]
        elif state.state != "ready":
            passed_over.append(f"{name}: {state.detail}")
            continue
        full_name = name if model is None else f"{name}:{model}"
        try:
            source = load_depth_source(full_name, download=download, device=device)
        except (UsageError, ModelFileError) as error:  # half installed: something that it needs is missing
            passed_over.append(f"{name}: {error}")
            continue
        return Choice(source, full_name + (f" ({'; '.join(passed_over)})" if passed_over else ""))
    raise ModelFileError(f"--depth auto: no depth source can be used here ({'; '.join(passed_over)})")


def available_sources() -> tuple[SourceState, ...]:
    """Every source and its state, without loading any: for ``auto`` and for the verb ``doctor``."""
    return (
        _state("mapanything", "mapanything", mapanything.MODELS, mapanything.WEIGHTS, mapanything.HOW),
        _state("moge", "moge", moge.MODELS, moge.WEIGHTS, moge.HOW),
        _state(
            "depth_anything_3",
            "depth_anything_3",
            depth_anything_3.MODELS,
            depth_anything_3.WEIGHTS,
            depth_anything_3.HOW,
        ),
        _state("transformers", "transformers", hf_models.MODELS, hf_models.WEIGHTS, hf_models.HOW),
        _embedded_state(),
    )


def _state(name: str, package: str, models: tuple[str, ...], weights: tuple[str, ...], how: str) -> SourceState:
    model = first_cached(models, *weights)
    if not is_installed(package):
        return SourceState(name, "not installed", f"{package} is not installed", how, model)
    if model is None:
        return SourceState(name, "no weights", "its weights are not on this machine", f"hf download {models[0]}")
    return SourceState(name, "ready", f"{model}, {cached_file(model, *weights)}", model=model)


def _embedded_state() -> SourceState:
    import metrichmsr

    weights = Path(metrichmsr.__file__).parent / _EMBEDDED_WEIGHTS
    if not is_installed(_EMBEDDED_MODULE) or not weights.is_file():
        detail = f"{weights.name} is not in this installation"
        return SourceState("embedded", "no weights", detail, "pip install --force-reinstall metrichmsr")
    return SourceState("embedded", "ready", f"{weights.name}, comes with the package")


def _load_embedded(device: str) -> DepthSource:
    state = _embedded_state()
    if state.state != "ready":
        raise ModelFileError(f"--depth embedded: {state.detail}; {state.hint}")
    # By name, and late: the module imports its network.
    return importlib.import_module(_EMBEDDED_MODULE).EmbeddedDepth.load(device=device)


def _load_file(location: str, unit: str) -> FileDepth:
    if not location:
        raise UsageError("--depth file: needs a path, file:PATH")
    path = Path(location).expanduser()
    if not path.exists():
        raise InputError(f"{path}: no such depth file or folder")
    return FileDepth(path, DepthUnit.parse(unit))
