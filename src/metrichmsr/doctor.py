"""The verb ``doctor``: what is installed, found and missing, and what to do about it."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from metrichmsr.errors import MetricHMSRError

State = Literal["ok", "absent", "broken"]

_NEEDED = {  # module → the package it comes in
    "torch": "torch",
    "numpy": "numpy",
    "PIL": "pillow",
    "pillow_heif": "pillow-heif",
    "cv2": "opencv-python-headless",
    "safetensors": "safetensors",
    "roma": "roma",
    "jaxtyping": "jaxtyping",
    "trimesh": "trimesh",
    "tyro": "tyro",
    "tqdm": "tqdm",
}

_OPTIONAL = {  # module → what it adds, and how to get it
    "av": ("videos as input", "pip install 'metrichmsr[video]'"),
    "transformers": ("other detectors, ViTPose, depth models", "pip install 'metrichmsr[transformers]'"),
    "onnxscript": ("export onnx", "pip install 'metrichmsr[onnx]'"),
    "gradio": ("app", "pip install 'metrichmsr[app]'"),
    "pxr": ("--save usd", "pip install 'metrichmsr[usd]'"),
    "viser": ("view", "pip install 'metrichmsr[viewer]'"),
    "pyarrow": ("--table parquet", "pip install pyarrow"),
    "anycalib": ("--calibrate anycalib", "see its project page"),
    "geocalib": ("--calibrate geocalib", "see its project page"),
    "moge": ("--calibrate moge, --depth moge", "see its project page"),
    "OpenEXR": ("depth files in EXR", "pip install 'metrichmsr[exr]'"),
}


@dataclass(frozen=True)
class Finding:
    """One thing looked at."""

    section: str
    name: str
    state: State
    """``ok``; ``absent``: not there, and the default way does without; ``broken``: the default way needs it."""
    detail: str
    hint: str = ""
    """What to do about it."""


def examine(body_model_dir: Path | None = None) -> tuple[Finding, ...]:
    """Look at everything; nothing found wrong raises.

    Args:
        body_model_dir: Folder with the user's body-model files, to be looked through as well.
    """
    parts: tuple[tuple[str, Callable[[], Iterator[Finding]]], ...] = (
        ("versions", _versions),
        ("devices", _devices),
        ("weights", _weights),
        ("body models", lambda: _body_models(body_model_dir)),
        ("recovery", _recovery),
        ("depth sources", _depth_sources),
        ("optional parts", _optional_parts),
        ("folders", _folders),
    )
    findings: list[Finding] = []
    for section, look in parts:
        try:
            findings.extend(look())
        except Exception as error:  # a doctor that dies of what it finds helps nobody
            detail = f"{type(error).__name__}: {' '.join(str(error).split())}"
            findings.append(Finding(section, "examination", "broken", detail))
    return tuple(findings)


def is_fit(findings: Sequence[Finding]) -> bool:
    """Whether ``metrichmsr recover`` works as it is: nothing the default way needs is broken."""
    return all(finding.state != "broken" for finding in findings)


def as_text(findings: Sequence[Finding]) -> str:
    """A report for reading."""
    marks = {"ok": "ok", "absent": "--", "broken": "!!"}
    width = max(len(finding.name) for finding in findings)
    lines: list[str] = []
    section = None
    for finding in findings:
        if finding.section != section:
            section = finding.section
            lines += ["", section] if lines else [section]
        lines.append(f"  {marks[finding.state]}  {finding.name:<{width}}  {finding.detail}".rstrip())
        if finding.hint:
            lines.append(f"      {'':<{width}}  → {finding.hint}")
    broken = sum(finding.state == "broken" for finding in findings)
    verdict = "ready: metrichmsr recover photo.jpg" if not broken else f"{broken} broken: see the lines marked !!"
    return "\n".join([*lines, "", verdict])


def as_json(findings: Sequence[Finding]) -> str:
    """The findings for programs."""
    document = {"fit": is_fit(findings), "findings": [dataclasses.asdict(finding) for finding in findings]}
    return json.dumps(document, indent=1, ensure_ascii=False)


def _versions() -> Iterator[Finding]:
    from metrichmsr import __version__

    def finding(name: str, detail: str, state: State = "ok", hint: str = "") -> Finding:
        return Finding("versions", name, state, detail, hint)

    yield finding("metrichmsr", f"{__version__}, {Path(__file__).resolve().parent}")
    yield finding("python", f"{platform.python_version()}, {sys.executable}")
    yield finding("system", f"{platform.system()} {platform.release()}, {platform.machine()}")
    for module, package in _NEEDED.items():
        try:
            importlib.import_module(module)
        except Exception as error:
            cause = " ".join(str(error).split())
            yield finding(package, f"cannot be imported: {cause}", "broken", f"pip install --force-reinstall {package}")
        else:
            yield finding(package, _version_of(package))


def _devices() -> Iterator[Finding]:
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield Finding("devices", "cpu", "ok", f"{torch.get_num_threads()} threads on {cores} cores")
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            about = torch.cuda.get_device_properties(index)
            detail = f"{about.name}, {about.total_memory / 2**30:.0f} GiB"
            yield Finding("devices", f"cuda:{index}", "ok", detail)
    else:
        built = torch.version.cuda
        why = f"torch is built for CUDA {built}, but finds no device" if built else "torch is built without it"
        yield Finding("devices", "cuda", "absent", why)
    if torch.backends.mps.is_available():
        yield Finding("devices", "mps", "ok", "Apple GPU")


def _weights() -> Iterator[Finding]:
    from metrichmsr.weights import list_weights

    reinstall = "pip install --force-reinstall metrichmsr"
    found = list_weights()
    for weights in found:
        size = f"{weights.size_bytes / 1e6:.1f} MB"
        if weights.status == "changed":
            detail = f"{size}, but its SHA-256 {weights.sha256[:12]}… is not the card's: damaged or exchanged"
            yield Finding("weights", weights.name, "broken", detail, reinstall)
        elif weights.status == "no card":
            yield Finding("weights", weights.name, "ok", f"{size}, unchecked: no card states its SHA-256")
        else:
            yield Finding("weights", weights.name, "ok", f"{size}, SHA-256 as on its card")


def _body_models(folder: Path | None) -> Iterator[Finding]:
    from metrichmsr.bodies import load_body_model

    for name in ("anny", "smpl", "smplh", "smplx"):
        try:
            model = load_body_model(name, body_model_dir=folder)
        except MetricHMSRError as error:
            yield Finding("body models", name, "broken" if name == "anny" else "absent", str(error))
        else:
            detail = f"{model.num_vertices} vertices, {model.num_bones} bones"
            yield Finding("body models", name, "ok", detail)


def _recovery() -> Iterator[Finding]:
    # The proof of the pudding: every model of the default way is loaded, and a picture of nobody goes through.
    import numpy as np

    from metrichmsr.recover import Recoverer

    start = time.perf_counter()
    recoverer = Recoverer()
    recoverer(np.full((256, 256, 3), 128, dtype=np.uint8))
    method = type(recoverer.fitter).__name__
    yield Finding("recovery", method, "ok", f"all models loaded, in {time.perf_counter() - start:.1f} s")


def _optional_parts() -> Iterator[Finding]:
    for module, (purpose, how) in _OPTIONAL.items():
        if importlib.util.find_spec(module) is None:
            yield Finding("optional parts", module, "absent", f"for {purpose}", how)
        else:
            yield Finding("optional parts", module, "ok", f"{_version_of(module)}, for {purpose}")


def _depth_sources() -> Iterator[Finding]:
    from metrichmsr.scene.depth.registry import available_sources

    for source in available_sources():
        state: State = "ok" if source.state == "ready" else "absent"
        yield Finding("depth sources", source.name, state, source.detail, source.hint)


def _folders() -> Iterator[Finding]:
    for name, folder in (("working folder", Path.cwd()), ("temporary folder", Path(tempfile.gettempdir()))):
        writable = os.access(folder, os.W_OK)
        if writable:
            yield Finding("folders", name, "ok", f"{folder}, writable")
        else:
            yield Finding("folders", name, "absent", f"{folder}, not writable", "choose another with --out")


def _version_of(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "version unknown"
