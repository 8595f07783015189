"""Where on the body the landmark network sees its landmarks: constant offsets from the body model's own points.

Measured on rendered bodies by ``scripts/calibrate_landmarks.py``. Each offset lives in the frame of one bone and is a
share of stature, so that it turns with the limb and grows with the person.
"""

from __future__ import annotations

from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from metrichmsr.bodies.anny import AnnyBody
from metrichmsr.bodies.protocol import BodyOutput
from metrichmsr.errors import ModelFileError
from metrichmsr.structures import BLAZEPOSE33

WEIGHTS = Path(__file__).parents[2] / "weights" / "seen_landmarks.safetensors"

_CARRIER = {
    "shoulder": "clavicle", "elbow": "upperarm02", "wrist": "lowerarm02", "pinky": "wrist", "index": "wrist",
    "thumb": "wrist", "hip": "root", "knee": "upperleg02", "ankle": "lowerleg02", "heel": "foot", "foot": "foot",
}  # fmt: skip


def _bone_of(landmark: str) -> str:
    side, _, part = landmark.partition("_")
    carrier = _CARRIER.get(part.split("_")[0], "head")
    return carrier if carrier in ("head", "root") else f"{carrier}.{side[0].upper()}"


BONES: tuple[str, ...] = tuple(_bone_of(name) for name in BLAZEPOSE33)
"""For each of BlazePose's landmarks the bone whose frame its offset is stated in."""


def mirror_of(landmark: int) -> int:
    """Index of the landmark on the other side; itself on the midline."""
    swap = {"left": "right", "right": "left"}
    return BLAZEPOSE33.index("_".join(swap.get(part, part) for part in BLAZEPOSE33[landmark].split("_")))


class SeenLandmarks:
    """Landmarks of a posed body as the network would mark them.

    Args:
        body: tells which bone is which.
        offsets: for each landmark, in the frame of its bone, as a share of stature.
    """

    def __init__(self, body: AnnyBody, offsets: Float[Tensor, "33 3"]) -> None:
        self.offsets = offsets
        self._bones = torch.tensor([body.bone_names.index(bone) for bone in BONES])

    @classmethod
    def load(cls, body: AnnyBody, path: Path = WEIGHTS) -> SeenLandmarks:
        """Read the shipped offsets, or another file of the same form."""
        from safetensors.torch import load_file

        if not path.is_file():
            raise ModelFileError(f"{path}: missing; reinstall metrichmsr or run scripts/calibrate_landmarks.py")
        return cls(body, load_file(path)["offsets"])

    def __call__(self, out: BodyOutput) -> Float[Tensor, "B 33 3"]:
        """In the frame of ``out``, metres."""
        turned = (out.bone_rotations[:, self._bones] @ self.offsets[..., None]).squeeze(-1)
        return out.landmarks33_m + turned * out.height_m[:, None, None]
