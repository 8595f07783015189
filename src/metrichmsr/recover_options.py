"""What a user can ask of a recovery: the options of ``recover``, which are those of the command line too."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal, get_args, get_origin, get_type_hints

from metrichmsr.errors import UsageError


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
        for name, kind in get_type_hints(type(self)).items():
            if get_origin(kind) is Literal and getattr(self, name) not in get_args(kind):
                known = ", ".join(map(str, get_args(kind)))
                raise UsageError(f"--{name.replace('_', '-')} must be one of {known}; not {getattr(self, name)!r}")
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
        if self.length is not None and not (all(map(math.isfinite, self.length)) and self.length[4] > 0):
            raise UsageError("--length wants X0 Y0 X1 Y1 METRES, all finite and METRES positive")

    def changed(self) -> dict[str, str]:
        """Options that are not at their defaults, as text."""
        values = {option.name: (getattr(self, option.name), option.default) for option in fields(self)}
        return {
            name: " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
            for name, (value, default) in values.items()
            if value != default
        }
