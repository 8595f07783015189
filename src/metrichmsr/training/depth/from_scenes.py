"""Training samples of the scene's networks: SynFocal scenes, and frames of depth sensors."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import roma
import torch
from torch import Tensor

from metrichmsr.bodies.anny import AnnyBody
from metrichmsr.errors import InputError
from metrichmsr.rendering import rasterize_scene
from metrichmsr.synthetic.shots import Shot
from metrichmsr.training.depth.samples import LONG_SIDE, NOBODY, SHORT_SIDE, SceneSamples

FAR_M = 60.0
"""What lies beyond counts as far: no network that looks at one small picture tells 70 m from 100."""
POSE_NOISE_RAD = 0.12
"""One sigma of the error of each bone's rotation, about each axis, in the bodies that are rendered."""
_NEAR_M = 0.15


@dataclass
class SamplesMaker:
    """Collects samples by size of picture and gives them out in shards.

    Args:
        seed: of crops and pose errors.
        shard: samples a shard.
    """

    seed: int = 0
    shard: int = 500
    _waiting: dict[bool, list[dict[str, Tensor]]] = field(default_factory=lambda: defaultdict(list), repr=False)

    def __post_init__(self) -> None:
        self._body = AnnyBody.load()
        self._faces = self._body.faces

    def add_shot(self, shot: Shot, number: int) -> None:
        """A SynFocal scene; ``number`` decides what is drawn for it."""
        u = np.random.default_rng((self.seed, number))
        depth = shot.depth_m.copy()
        far = ~(depth < FAR_M)  # NaN is background, which is far
        depth[far | (depth < _NEAR_M)] = 0
        body_m, body = self._bodies(shot, u)
        maps = {
            "image": shot.image,
            "depth_m": depth,
            "far": far.astype(np.uint8),
            "person": shot.person_id,
            "body_m": body_m,
            "body": body,
        }
        self._add(maps, shot.K.astype(np.float64), u)

    def add_frame(self, image: np.ndarray, depth_m: np.ndarray, K: np.ndarray, number: int, *, zoom: float) -> None:
        """A frame of a depth sensor, of which a random part is taken.

        Args:
            image: H×W×3 sRGB.
            depth_m: 0 or NaN where there is no reading.
            K: of the frame.
            number: decides what is drawn for it.
            zoom: smallest side of the part over the frame's.
        """
        u = np.random.default_rng((self.seed, 1, number))
        height, width = depth_m.shape
        share = u.uniform(zoom, 1.0)
        h, w = int(height * share), int(width * share)
        y, x = int(u.integers(height - h + 1)), int(u.integers(width - w + 1))
        known = np.nan_to_num(depth_m[y : y + h, x : x + w], nan=0.0)
        known[(known < _NEAR_M) | (known > FAR_M)] = 0
        K = K.copy()
        K[0, 2] -= x
        K[1, 2] -= y
        nobody = np.full(known.shape, NOBODY, np.uint8)
        zeros = np.zeros(known.shape, np.float32)
        maps = {
            "image": image[y : y + h, x : x + w],
            "depth_m": known,
            "far": zeros.astype(np.uint8),
            "person": nobody,
            "body_m": zeros,
            "body": nobody,
        }
        self._add(maps, K, u)

    def shards(self, *, all_: bool = False) -> Iterator[SceneSamples]:
        """Finished shards; with ``all_`` also what is left."""
        for waiting in self._waiting.values():
            while len(waiting) >= self.shard or (all_ and waiting):
                part = waiting[: self.shard]
                del waiting[: self.shard]
                yield SceneSamples(**{name: torch.stack([row[name] for row in part]) for name in part[0]})

    def _bodies(self, shot: Shot, u: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Depth of bare bodies with errors of pose, nothing in front of them, and whose they are."""
        height, width = shot.depth_m.shape
        seen = [i for i in range(len(shot.people)) if (shot.person_id == i).sum() >= 12]
        if not seen:
            return np.zeros((height, width), np.float32), np.full((height, width), NOBODY, np.uint8)
        people = shot.people
        pose = torch.from_numpy(people.pose[seen]).float()
        noise = torch.from_numpy(u.normal(0, POSE_NOISE_RAD, pose.shape)).float()
        # The trunk is found better than limbs are.
        noise[:, 0] *= 0.3
        rotations = roma.rotvec_to_rotmat(pose) @ roma.rotvec_to_rotmat(noise)
        with torch.no_grad():
            output = self._body(
                rotations,
                torch.from_numpy(people.shape[seen]).float(),
                torch.from_numpy(people.translation_m[seen]).float(),
            )
        K = torch.from_numpy(shot.K).float()
        meshes = [(vertices, self._faces) for vertices in output.vertices_m]
        drawn = rasterize_scene(meshes, K, height=height, width=width, cull_backfaces=True)
        rows = np.append(np.array(seen, np.uint8), np.uint8(NOBODY))
        return np.nan_to_num(drawn.depth_m.numpy(), nan=0.0), rows[drawn.mesh_id.numpy()]

    def _add(self, maps: dict[str, np.ndarray], K: np.ndarray, u: np.random.Generator) -> None:
        height, width = maps["depth_m"].shape
        wide = width >= height
        out_w, out_h = (LONG_SIDE, SHORT_SIDE) if wide else (SHORT_SIDE, LONG_SIDE)
        # The largest part of the sample's shape; a little of it may be squeezed, as other shapes are later.
        squeeze = math.exp(u.normal(0, 0.06))
        aspect = out_w / out_h * squeeze
        w, h = (width, round(width / aspect)) if width / height < aspect else (round(height * aspect), height)
        w, h = min(w, width), min(h, height)
        x, y = int(u.integers(width - w + 1)), int(u.integers(height - h + 1))
        K = K.copy()
        K[0, 2] -= x
        K[1, 2] -= y
        K[0] *= out_w / w
        K[1] *= out_h / h
        row: dict[str, Tensor] = {"K": torch.from_numpy(K).float()}
        for name, whole in maps.items():
            part = np.ascontiguousarray(whole[y : y + h, x : x + w])
            if name == "image":
                method = cv2.INTER_AREA if w > out_w else cv2.INTER_LINEAR
                row[name] = torch.from_numpy(cv2.resize(part, (out_w, out_h), interpolation=method)).permute(2, 0, 1)
                continue
            small = torch.from_numpy(cv2.resize(part, (out_w, out_h), interpolation=cv2.INTER_NEAREST))
            row[name] = small.half() if name.endswith("_m") else small
        self._waiting[wide].append(row)


def read_frames(folder: Path, *, sets: Iterable[str]) -> Iterator[tuple[dict[str, Any], np.ndarray, np.ndarray]]:
    """Frames of depth sensors: a folder with ``index.jsonl``, a line each.

    A line holds ``file`` (of ``.jpg`` and ``.png``, 16 bits, 0 for no reading), ``set``, ``K`` (fx, fy, cx, cy),
    ``depth_unit_m``.

    Args:
        folder: with the index.
        sets: names of the sets to read.

    Yields:
        The line, the picture (H×W×3, sRGB) and z-depth in metres (0: no reading).

    Raises:
        InputError: index or a frame is missing or broken.
    """
    wanted, index = set(sets), folder / "index.jsonl"
    if not index.is_file():
        raise InputError(f"{index}: missing; a folder of depth frames has one")
    for number, line in enumerate(index.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            record = json.loads(line)
            named, unit = record["set"], float(record["depth_unit_m"])
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{index}: line {number} cannot be read ({error})") from error
        if named not in wanted:
            continue
        stem = folder / record["file"]
        picture = cv2.imread(str(stem.with_name(stem.name + ".jpg")), cv2.IMREAD_COLOR)
        stored = cv2.imread(str(stem.with_name(stem.name + ".png")), cv2.IMREAD_UNCHANGED)
        if picture is None or stored is None or stored.dtype != np.uint16 or stored.shape != picture.shape[:2]:
            raise InputError(f"{stem}: picture or 16-bit depth missing, broken, or of different sizes")
        yield record, cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), stored.astype(np.float32) * np.float32(unit)


def intrinsics_of(record: dict[str, Any]) -> np.ndarray:
    """K of a frame, 0-based as calibrations state it, in continuous pixels."""
    fx, fy, cx, cy = record["K"]
    return np.array([[fx, 0, cx + 0.5], [0, fy, cy + 0.5], [0, 0, 1.0]])
