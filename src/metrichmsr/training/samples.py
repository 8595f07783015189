"""What a network learns from: evidence of crops with the truth beside it, on the disk and in memory.

The frozen landmark network is run once over every crop; what it saw is kept in shards (safetensors), so that training
reads numbers and no pictures.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import roma
import torch
from jaxtyping import Float, Float16, Int64
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from metrichmsr.errors import InputError
from metrichmsr.export.atomic import atomic_file
from metrichmsr.geometry import ray_map
from metrichmsr.hmr.body_parameters import BodyParameters
from metrichmsr.hmr.crop_evidence import CROP_SIZE
from metrichmsr.hmr.gravity import gravity_inputs
from metrichmsr.hmr.heads import camera_from_crop
from metrichmsr.hmr.image_encoders import CropEvidence
from metrichmsr.hmr.stature_grid import GROWN_UP_M
from metrichmsr.training.losses import Truth

_PICTURES = {"features", "mask", "grid32"}
_OPTIONAL = {*_PICTURES, "keypoints", "up"}

Kind = Literal["rendered", "simulated", "photos"]
"""Rendered pictures, landmarks without pictures, photographs with labelled keypoints."""


@dataclass(frozen=True)
class Samples:
    """N crops: what the frozen network saw, and the truth."""

    features: Float16[Tensor, "N 192 16 16"] | None
    """None where there was no picture (simulated landmarks)."""
    mask: Float16[Tensor, "N 1 16 16"] | None
    landmarks: Float[Tensor, "N 33 9"]
    K_crop: Float[Tensor, "N 3 3"]
    pose: Float[Tensor, "N D 3"]
    """Rotation vectors of the driven bones; the root's takes body frame to camera frame."""
    shape: Float[Tensor, "N S"]
    translation_m: Float[Tensor, "N 3"]
    keypoints: Float[Tensor, "N 17 3"] | None = None
    """COCO-17 as people labelled them in photographs: place in the crop as of landmarks (half crops, 0 its middle), and
    1 where labelled, 0 where not. Pose, shape and translation are not known then, and NaN."""
    up: Float[Tensor, "N 3"] | None = None
    """Unit vector against gravity, camera frame; None where it is not known."""
    grid32: Float16[Tensor, "N 56 32 32"] | None = None
    """BlazePose's early features, from which a tuned encoder goes on; None where there was no picture."""

    def __len__(self) -> int:
        return len(self.shape)

    def __getitem__(self, index: Int64[Tensor, "M"]) -> Samples:
        return self._each(lambda tensor: tensor[index])

    def to(self, device: torch.device | str) -> Samples:
        """On another device."""
        return self._each(lambda tensor: tensor.to(device))

    def _each(self, change: Callable[[Tensor], Tensor]) -> Samples:
        values: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        changed: dict[str, Any] = {name: None if value is None else change(value) for name, value in values.items()}
        return Samples(**changed)

    @staticmethod
    def concatenate(parts: Sequence[Samples]) -> Samples:
        """All samples of several, all with features or all without."""
        joined: dict[str, Any] = {}
        for f in fields(Samples):
            values = [getattr(part, f.name) for part in parts]
            joined[f.name] = None if values[0] is None else torch.cat(values)
        return Samples(**joined)

    def evidence(
        self,
        ray_size: int,
        *,
        K_seen: Float[Tensor, "N 3 3"] | None = None,
        up_seen: tuple[Float[Tensor, "N 3"], Float[Tensor, "N"]] | None = None,
    ) -> CropEvidence:
        """What the network is shown.

        Args:
            ray_size: rows and columns of the ray map.
            K_seen: other intrinsics than the true ones.
            up_seen: which way is up, camera frame (NaN where unknown), and one sigma of the angle; withheld by default.
        """
        K = (self.K_crop if K_seen is None else K_seen).double()
        coarse = torch.diag(K.new_tensor([ray_size / CROP_SIZE, ray_size / CROP_SIZE, 1.0]))
        return CropEvidence(
            rays=ray_map(coarse @ K, height=ray_size, width=ray_size).float(),
            features=None if self.features is None else self.features.float(),
            grid32=None if self.grid32 is None else self.grid32.float(),
            landmarks=self.landmarks.float(),
            mask=None if self.mask is None else self.mask.float(),
            up=None if up_seen is None else gravity_inputs(*up_seen, self.K_crop, crop_size=CROP_SIZE),
        )

    def truth_rotations(self) -> Float[Tensor, "N D 3 3"]:
        """The pose as matrices."""
        return roma.rotvec_to_rotmat(self.pose.float())

    def truth(self, parameters: BodyParameters) -> Truth:
        """What the losses compare with; vertices are those of the (restricted) body at hand."""
        rotations = self.truth_rotations()
        with torch.no_grad():
            body = parameters.body(parameters.expand(rotations), self.shape.float(), self.translation_m.float())
        view = camera_from_crop(self.K_crop.float(), CROP_SIZE)
        root = view.transpose(1, 2) @ rotations[:, 0]
        return Truth(
            rotations=torch.cat([root[:, None], rotations[:, 1:]], dim=1),
            shape=self.shape.float(),
            translation_m=self.translation_m.float(),
            joints_m=body.coco17_m,
            vertices_m=body.vertices_m,
            height_m=body.height_m,
            K_crop=self.K_crop.float(),
        )


def write_samples(path: Path, samples: Samples, **notes: str) -> None:
    """Write one shard, whole or not at all."""
    tensors = {f.name: getattr(samples, f.name) for f in fields(samples) if getattr(samples, f.name) is not None}
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as temporary:
        save_file(
            {name: tensor.contiguous() for name, tensor in tensors.items()},
            temporary,
            {"count": str(len(samples)), **notes},
        )


def read_samples(paths: Iterable[Path], *, pictures: bool = True) -> Samples:
    """All samples of some shards.

    Args:
        paths: the shards.
        pictures: False leaves feature maps and masks on the disk.

    Raises:
        InputError: a shard is damaged, ends early, or there is none.
    """
    parts = []
    for path in paths:
        try:
            with safe_open(path, framework="pt") as file:
                count = int((file.metadata() or {}).get("count", -1))
                names = [name for name in file.keys() if pictures or name not in _PICTURES]  # noqa: SIM118 - not a dict
                tensors: dict[str, Any] = {name: file.get_tensor(name) for name in names}
        except (SafetensorError, OSError) as error:
            raise InputError(f"{path}: damaged shard of training samples ({error})") from error
        missing = {f.name for f in fields(Samples)} - set(tensors) - _OPTIONAL
        if missing or any(len(tensor) != count for tensor in tensors.values()):
            raise InputError(f"{path}: not a shard of training samples, or one that ended early")
        parts.append(Samples(**{"features": None, "mask": None, **tensors}))
    if not parts:
        raise InputError("no shards of training samples")
    if len({part.grid32 is None for part in parts}) > 1:
        # Shards of an earlier version among newer ones.
        parts = [replace(part, grid32=None) for part in parts]
    return Samples.concatenate(parts)


def kind_of(path: Path) -> Kind:
    """What a shard's samples are.

    Raises:
        InputError: it is damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            names = set(file.keys())
            return "photos" if "keypoints" in names else "rendered" if "features" in names else "simulated"
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: damaged shard of training samples ({error})") from error


def batches(
    samples: Samples, size: int, *, seed: int, start: int = 0, often: Float[Tensor, "N"] | None = None
) -> Iterator[Samples]:
    """Endless batches, each epoch in an order of its own that the seed decides.

    Args:
        samples: all of them.
        size: of a batch; what an epoch leaves over is dropped.
        seed: of the orders.
        start: batches to skip, for going on where a run stopped.
        often: how often each comes; all once an epoch if left out.
    """
    per_epoch = max(1, len(samples) // size)
    step = start
    while True:
        epoch = step // per_epoch
        generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
        if often is None:
            order = torch.randperm(len(samples), generator=generator)
        else:
            order = torch.multinomial(often, len(samples), replacement=True, generator=generator)
        for k in range(step % per_epoch, per_epoch):
            yield samples[order[k * size : (k + 1) * size]]
        step = (epoch + 1) * per_epoch


def mixed(
    first: Iterator[Samples], second: Iterator[Samples], share: float, *, seed: int, start: int
) -> Iterator[Samples]:
    """Batches of two kinds in an order that the seed decides.

    Args:
        first: one kind, from its own start on (:func:`taken`).
        second: the other kind.
        share: of the second.
        seed: of the order.
        start: batches that were taken before.
    """
    step = start
    while True:
        yield next(second) if _is_second(step, share, seed) else next(first)
        step += 1


def taken(start: int, share: float, *, seed: int) -> tuple[int, int]:
    """How many batches of each kind :func:`mixed` has given before batch ``start``."""
    second = sum(_is_second(step, share, seed) for step in range(start))
    return start - second, second


def _is_second(step: int, share: float, seed: int) -> bool:
    return random.Random(seed * 1_000_003 + step).random() < share


@torch.no_grad()
def frequencies(samples: Samples, parameters: BodyParameters, *, upright: float, children: float) -> Float[Tensor, "N"]:
    """How often each sample shall come.

    Args:
        samples: any.
        parameters: body model.
        upright: of people whose trunk and legs are straight and upright in the crop; 1 for others.
        children: of people below 1.45 m; 1 for others.
    """
    parts = []
    for index in torch.arange(len(samples)).split(1000):
        part = samples[index]
        truth = part.truth(parameters)
        joints = truth.joints_m @ camera_from_crop(truth.K_crop, CROP_SIZE)
        shoulders, hips, ankles = (joints[:, pair].mean(1) for pair in ([5, 6], [11, 12], [15, 16]))
        trunk, legs = _unit(hips - shoulders), _unit(ankles - hips)
        knees = _cosine(joints[:, [11, 12]] - joints[:, [13, 14]], joints[:, [13, 14]] - joints[:, [15, 16]])
        stands = (trunk[:, 1] > 0.87) & (legs[:, 1] > 0.82) & (knees.amin(1) > 0.77)
        often = torch.where(stands, upright, 1.0)
        parts.append(torch.where(truth.height_m < GROWN_UP_M, children * often, often))
    return torch.cat(parts)


def _unit(vectors: Float[Tensor, "*B 3"]) -> Float[Tensor, "*B 3"]:
    return torch.nn.functional.normalize(vectors, dim=-1)


def _cosine(first: Float[Tensor, "*B 3"], second: Float[Tensor, "*B 3"]) -> Float[Tensor, "*B"]:
    return (_unit(first) * _unit(second)).sum(-1)


def describe(samples: Samples) -> str:
    """One line of JSON about the samples, for logs."""

    def spread(values: Tensor, digits: int) -> list[float]:
        return [round(float(quantile), digits) for quantile in np.quantile(values, (0.05, 0.5, 0.95))]

    return json.dumps(
        {
            "samples": len(samples),
            "features": samples.features is not None,
            "distance_m": [
                round(float(q), 2) for q in np.quantile(samples.translation_m.norm(dim=-1), (0.05, 0.5, 0.95))
            ],
            "crop_focal_px": spread(samples.K_crop[:, 0, :2].norm(dim=-1), 0),
        }
    )
