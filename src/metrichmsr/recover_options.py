"""What a user can ask of a recovery: the options of ``recover``, which are those of the command line too."""

from __future__ import annotations

import difflib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np

from metrichmsr.errors import UsageError

_KINDS: dict[Any, tuple[Any, str]] = {
    Path: ((str, os.PathLike), "the path of a file or folder"),
    str: (str, "text"),
    bool: ((bool, np.bool_), "True or False"),
    int: (Integral, "a whole number"),
    float: (Real, "a number"),
}
"""What is taken for options of a kind, and what to call it."""
_CAMERA = "camera=metrichmsr.Camera(K=…, width=…, height=…, source='given')"
_HOW = {
    "height": """; as in '1.82', or '{"0": 1.82}' by person id""",
    "intrinsics": f"; a K goes in as {_CAMERA}",
    "depth": "; 'none' leaves it out",
}
_ELSEWHERE = {
    "K": f"intrinsics go in as {_CAMERA}",
    "device": "keep a metrichmsr.Recoverer(options, device=…)",
}


@dataclass(frozen=True)
class RecoverOptions:
    """How to recover people from a photo. Lengths in metres, angles in degrees, image measures in pixels."""

    method: Literal["network", "fit"] = "network"
    """How bodies are found: network = regressed by MetricHMR; fit = fitted to landmarks, mask and priors."""
    checkpoint: Path | None = None
    """Network to use instead of the shipped one (a .safetensors file that metrichmsr train wrote)."""
    refine: bool = True
    """Whether the network's answer is polished against landmarks and mask: it is."""
    mirror: bool = False
    """Look at everybody in a mirror as well and take the mean of both answers: a little better, not as fast."""
    body_model: Literal["anny", "smpl", "smplh", "smplx"] = "anny"
    """Body model of the result; the SMPL family is brought to the fitted Anny body's keypoints."""
    body_model_dir: Path | None = None
    """Folder with your SMPL, SMPL-H or SMPL-X files."""

    focal_px: float | None = None
    """Focal length in pixels of the picture, if you know it."""
    focal_35mm: float | None = None
    """Focal length as 35 mm equivalent, if you know it: by the diagonal, as data sheets and EXIF state it."""
    fov: float | None = None
    """Horizontal field of view in degrees, if you know it."""
    intrinsics: Path | None = None
    """Intrinsics file: JSON {"K": …} or COLMAP cameras.txt."""
    calibrate: Literal["panorama", "none", "anycalib", "geocalib", "moge", "mapanything"] = "panorama"
    """Who estimates the focal length where photo and options do not tell it: panorama = the network that comes along;
    none = nobody, the longer side is assumed; anycalib, geocalib, moge, mapanything = that model, if installed."""

    height: str | None = None
    """Known stature: metres (1.82), or a JSON file or text {"0": 1.82, …} by person id. Fixes the scale."""
    people: Literal["anybody", "adults", "children"] = "anybody"
    """Who is in the picture, if you know: adults (1.45 m and taller) or children alone."""
    faces: bool = True
    """Whether faces help to tell how people are built (children, women and men): they do, and nothing else is made of
    them."""
    length: tuple[float, float, float, float, float] | None = None
    """A known length in the picture: X0 Y0 X1 Y1 METRES, upright at the distance of the person nearest to it."""

    boxes: Path | None = None
    """File with person boxes (x0, y0, x1, y1) to use instead of the detector."""
    max_people: int = 50
    """At most so many people in one picture."""
    min_score: float | None = None
    """Detections below this confidence are left out (default: the detector's own)."""
    mask: bool = True
    """Whether the person mask is used besides the landmarks: it is."""

    depth: str = "auto"
    """Where the scene's depth comes from: auto (the best that is installed and on disk), embedded, mapanything, moge,
    depth_anything_3, a depth model of the transformers library, file:PATH, or none (people only). See docs/depth.md."""
    depth_unit: str = "auto"
    """What the numbers of --depth file:PATH mean: metres, millimetres, relative, inverse, or a factor to metres."""
    refine_depth: Literal["network", "closed-form", "none"] = "network"
    """How people correct the depth: affine field of the refinement network, one scale and shift, or not at all."""
    download: bool = False
    """Let the depth source fetch weights that are missing."""

    def __post_init__(self) -> None:
        self._check_kinds()
        if self.max_people < 1:
            raise UsageError(f"--max-people must be at least 1, not {self.max_people}")
        if self.method == "fit" and self.checkpoint is not None:
            raise UsageError("--checkpoint goes with --method network")
        if self.method == "fit" and self.mirror:
            raise UsageError("--mirror goes with --method network")
        if self.method == "fit" and self.people != "anybody":
            raise UsageError("--people goes with --method network")
        if self.depth == "none" and self.depth_unit != "auto":
            raise UsageError(f"--depth-unit {self.depth_unit}: only --depth file:PATH has units, not none")
        if self.length is not None and not (
            _are_numbers(self.length, 5) and all(map(math.isfinite, self.length)) and self.length[4] > 0
        ):
            raise UsageError("--length wants X0 Y0 X1 Y1 METRES, all finite and METRES positive")
        if self.min_score is not None and not 0 <= self.min_score <= 1:
            raise UsageError(f"--min-score must lie between 0 and 1, not {self.min_score:g}")

    def _check_kinds(self) -> None:
        """What the command line sees to by itself: callers in Python give text for paths, arrays for files."""
        if isinstance(self.height, Real):
            object.__setattr__(self, "height", str(self.height))
        elif isinstance(self.height, Mapping):
            # What the command line gives as JSON.
            by_id = {str(key): value for key, value in self.height.items()}
            object.__setattr__(self, "height", json.dumps(by_id, default=str))
        for name, kind in get_type_hints(type(self)).items():
            value, option = getattr(self, name), f"--{name.replace('_', '-')}"
            if get_origin(kind) is Literal:
                if value not in get_args(kind):
                    known = ", ".join(map(str, get_args(kind)))
                    raise UsageError(f"{option} must be one of {known}; not {value!r}")
                continue
            kinds = get_args(kind) or (kind,)
            if value is None and type(None) in kinds:
                continue
            accepted, words = _KINDS.get(kinds[0], (object, ""))
            if not isinstance(value, accepted):
                told = repr(value) if value is None or isinstance(value, (str, int, float)) else type(value).__name__
                raise UsageError(f"{option} must be {words}, not {told}{_HOW.get(name, '')}")
            if kinds[0] is Path and value is not None:
                object.__setattr__(self, name, Path(value))

    def changed(self) -> dict[str, str]:
        """Options that are not at their defaults, as text."""
        values = {option.name: (getattr(self, option.name), option.default) for option in fields(self)}
        return {
            name: " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
            for name, (value, default) in values.items()
            if value != default
        }


def options_by_name(named: Mapping[str, Any]) -> RecoverOptions:
    """Options as callers in Python name them.

    Raises:
        UsageError: there is no such option, or it makes no sense.
    """
    known = [option.name for option in fields(RecoverOptions)]
    for name in named:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            advice = _ELSEWHERE.get(name) or (f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}")
            raise UsageError(f"{name}=…: no such option; {advice}")
    return RecoverOptions(**named)


def _are_numbers(values: Any, count: int) -> bool:
    return isinstance(values, (tuple, list)) and len(values) == count and all(isinstance(v, Real) for v in values)
