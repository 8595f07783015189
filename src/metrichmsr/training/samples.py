"""What a network learns from: evidence of crops with the truth beside it, on the disk and in memory.

The frozen landmark network is run once over every crop; what it saw is kept in shards (safetensors), so that training
reads numbers and no pictures.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

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
from metrichmsr.hmr.heads import camera_from_crop
from metrichmsr.hmr.image_encoders import CropEvidence
from metrichmsr.training.losses import Truth


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

    def evidence(self, ray_size: int, *, K_seen: Float[Tensor, "N 3 3"] | None = None) -> CropEvidence:
        """What the network is shown; with other intrinsics than the true ones where ``K_seen`` says so."""
        K = (self.K_crop if K_seen is None else K_seen).double()
        coarse = torch.diag(K.new_tensor([ray_size / CROP_SIZE, ray_size / CROP_SIZE, 1.0]))
        return CropEvidence(
            rays=ray_map(coarse @ K, height=ray_size, width=ray_size).float(),
            features=None if self.features is None else self.features.float(),
            landmarks=self.landmarks.float(),
            mask=None if self.mask is None else self.mask.float(),
        )

    def truth(self, parameters: BodyParameters) -> Truth:
        """What the losses compare with; vertices are those of the (restricted) body at hand."""
        rotations = roma.rotvec_to_rotmat(self.pose.float())
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


def read_samples(paths: Iterable[Path]) -> Samples:
    """All samples of some shards.

    Raises:
        InputError: a shard is damaged, ends early, or there is none.
    """
    parts = []
    for path in paths:
        try:
            with safe_open(path, framework="pt") as file:
                count = int((file.metadata() or {}).get("count", -1))
                tensors: dict[str, Any] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
        except (SafetensorError, OSError) as error:
            raise InputError(f"{path}: damaged shard of training samples ({error})") from error
        missing = {f.name for f in fields(Samples)} - set(tensors) - {"features", "mask"}
        if missing or any(len(tensor) != count for tensor in tensors.values()):
            raise InputError(f"{path}: not a shard of training samples, or one that ended early")
        parts.append(Samples(features=tensors.pop("features", None), mask=tensors.pop("mask", None), **tensors))
    if not parts:
        raise InputError("no shards of training samples")
    return Samples.concatenate(parts)


def batches(samples: Samples, size: int, *, seed: int, start: int = 0) -> Iterator[Samples]:
    """Endless batches, each epoch in an order of its own that the seed decides.

    Args:
        samples: all of them.
        size: of a batch; what an epoch leaves over is dropped.
        seed: of the orders.
        start: batches to skip, for going on where a run stopped.
    """
    per_epoch = max(1, len(samples) // size)
    step = start
    while True:
        epoch = step // per_epoch
        generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
        order = torch.randperm(len(samples), generator=generator)
        for k in range(step % per_epoch, per_epoch):
            yield samples[order[k * size : (k + 1) * size]]
        step = (epoch + 1) * per_epoch


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
