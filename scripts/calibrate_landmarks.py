"""Where on the body does the landmark network see its landmarks? Measure it on dressed people whose truth is known.

    python scripts/calibrate_landmarks.py [--assets FOLDER] [--pictures 1500]

Body and detector do not mean the same points by the same names: BlazePose marks shoulders and hips of clothed people
from outside, the body model's are where annotators of another set put theirs. A constant offset in the frame of the
bone, in statures, explains part of it. People and pictures are SynFocal's; the offsets go to
weights/seen_landmarks.safetensors.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import numpy as np
import roma
import torch
from safetensors.torch import save_file
from torch import Tensor

from metrichmsr.hmr.fitting.seen_landmarks import BONES, WEIGHTS, mirror_of
from metrichmsr.people import Landmarker
from metrichmsr.synthetic.generator import SynFocal
from metrichmsr.synthetic.shots import VISIBLE, Shot
from metrichmsr.training.from_shots import landmarks_of_shots, usable

LEAST_STATURE_M = 1.2
LEAST_CONFIDENCE = 0.6
LARGEST_OFF, OTHER_POSE = 0.12, 0.06
"""Shares of stature: single landmarks and whole poses farther off than this tell nothing about places."""

Row = tuple[Tensor, Tensor]
"""Derivative of a landmark's pixel by its offset, and how far it is off; both in statures."""


def solve(rows: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, float, float]:
    """Robust least squares for one offset; returns it with the rms residual before and after (shares of stature)."""
    design, target = torch.cat([r[0] for r in rows]).double(), torch.cat([r[1] for r in rows]).double()
    offset = torch.zeros(3, dtype=torch.float64)
    for _ in range(10):
        residual = (target - design @ offset).view(-1, 2).norm(dim=1)
        scale = residual.median().clamp_min(1e-4) * 1.5
        weight = (1 / (1 + (residual / scale).square()).square()).repeat_interleave(2)
        ridge = 1e-3 * len(rows) * torch.eye(3, dtype=torch.float64)
        offset = torch.linalg.solve(design.T @ (weight[:, None] * design) + ridge, design.T @ (weight * target))
    left = (target - design @ offset).view(-1, 2).norm(dim=1).median()
    return offset.float(), float(target.view(-1, 2).norm(dim=1).median()), float(left)


def rows_of(shot: Shot, seen_px: np.ndarray, confidence: np.ndarray, rotations: Tensor) -> dict[int, Row] | None:
    """What one picture says of each landmark; None where another pose was seen."""
    people = shot.people
    K, height = torch.from_numpy(shot.K).float(), float(people.height_m[0])
    truth, expected = torch.from_numpy(people.landmarks33_m[0]), torch.from_numpy(people.landmarks33_px[0])
    difference = torch.from_numpy(seen_px).float() - expected
    stature_px = float(K[0, 0]) * height / float(truth[:, 2].mean())
    off = difference.norm(dim=1) / stature_px
    visible = torch.from_numpy(people.visibility33[0] == VISIBLE)
    limbs = torch.arange(33) >= 11
    if int((visible & limbs).sum()) < 8 or float(off[visible & limbs].median()) > OTHER_POSE:
        return None
    rows = {}
    for i in torch.nonzero(visible).flatten().tolist():
        if confidence[i] < LEAST_CONFIDENCE or float(off[i]) > LARGEST_OFF:
            continue
        x, y, z = truth[i].tolist()
        by_point = torch.tensor([[K[0, 0] / z, 0, -K[0, 0] * x / z**2], [0, K[1, 1] / z, -K[1, 1] * y / z**2]])
        rows[i] = (by_point @ rotations[i] * (height / stature_px), difference[i] / stature_px)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--assets", type=Path, help="asset folder; without one everybody wears plain clothes")
    parser.add_argument("--pictures", type=int, default=1500)
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    args = parser.parse_args()
    source, landmarker = SynFocal.load(args.assets), Landmarker(batch_size=16)
    generator = np.random.default_rng(0)
    bones = [source.body.bone_names.index(b) for b in BONES]
    rows: list[list[Row]] = [[] for _ in BONES]
    flip = torch.tensor([-1.0, 1.0, 1.0])
    looked, used, seed = 0, 0, 700_000_000
    with torch.no_grad():
        while looked < args.pictures:
            shots = [shot for shot in source.crops(seed) if usable(shot) and shot.people.height_m[0] > LEAST_STATURE_M]
            seed, looked = seed + 1, looked + len(shots)
            pose = roma.rotvec_to_rotmat(torch.from_numpy(np.stack([shot.people.pose[0] for shot in shots])))
            rotations = source.body.tree.rotations(pose)[:, bones]
            for k, (shot, seen) in enumerate(zip(shots, landmarks_of_shots(shots, landmarker, generator), strict=True)):
                said = rows_of(shot, seen.xy[0], seen.confidence[0], rotations[k])
                used += said is not None
                for i, (design, target) in (said or {}).items():
                    rows[i].append((design, target))
                    # What holds on the left holds, mirrored, on the right.
                    rows[mirror_of(i)].append((design * flip, target))
    offsets = torch.zeros(33, 3)
    for i, bone in enumerate(BONES):
        offsets[i], before, after = solve(rows[i])
        print(f"{i:2d} {bone:14s} n {len(rows[i]):5d}  offset {(100 * offsets[i]).numpy().round(2)} % of stature, "
              f"median {100 * before:.2f} → {100 * after:.2f} %")  # fmt: skip
    print(f"{used} of {looked} pictures used")
    save_file({"offsets": offsets}, args.out)
    print(args.out, "sha256", hashlib.sha256(args.out.read_bytes()).hexdigest())


if __name__ == "__main__":
    main()
