"""How the landmark network marks people who stand, in photographs and in renderings: metrichmsr.hmr.photographed.

    python scripts/compare_proportions.py --photos DIR … --rendered SHARDS

Photographs: folders of pictures, of which no labels are read. Renderings: a folder of ``metrichmsr train samples --kind
rendered``, of which grown-ups before level cameras count. Prints the median shares of trunk, thigh and shank from
shoulders to ankles, and what takes the first to the second.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from jaxtyping import Float

from metrichmsr.bodies.anny import AnnyBody
from metrichmsr.errors import MetricHMSRError
from metrichmsr.hmr.stature_grid import GROWN_UP_M
from metrichmsr.images import read_image
from metrichmsr.recover import Recoverer
from metrichmsr.structures import BLAZEPOSE33
from metrichmsr.training.data import shards
from metrichmsr.training.samples import read_samples

SUFFIXES = (".jpg", ".jpeg", ".png")
STRICTNESS = ((0.6, 12, 15), (0.5, 15, 15), (0.5, 20, 20), (0.4, 20, 25))
"""Least confidence; most degrees that a part is off the picture's vertical; most degrees that a knee looks bent."""
LEVEL = 0.25


def places(xy: Float[np.ndarray, "N 33 2"], side: str, name: str) -> Float[np.ndarray, "N 2"]:
    """One landmark of all people."""
    return xy[:, BLAZEPOSE33.index(f"{side}_{name}")]


def shares(
    xy: Float[np.ndarray, "N 33 2"],
    confidence: Float[np.ndarray, "N 33"],
    least: float,
    off_deg: float,
    bent_deg: float,
) -> Float[np.ndarray, "M 3"]:
    """Trunk, thigh and shank as shares of their sum, of people who stand."""
    names = ("shoulder", "hip", "knee", "ankle")
    at = [(places(xy, "left", name) + places(xy, "right", name)) / 2 for name in names]
    parts = np.stack([at[i] - at[i + 1] for i in range(3)], axis=1)
    off = np.degrees(np.arctan2(parts[..., 0], -parts[..., 1]))
    bends = []
    for side in ("left", "right"):
        hip, knee, ankle = (places(xy, side, name) for name in names[1:])
        thigh, shank = hip - knee, knee - ankle
        cosine = (thigh * shank).sum(-1) / np.linalg.norm(thigh, axis=-1) / np.linalg.norm(shank, axis=-1)
        bends.append(np.degrees(np.arccos(cosine.clip(-1, 1))))
    seen = [BLAZEPOSE33.index(f"{side}_{name}") for side in ("left", "right") for name in names]
    stands = (confidence[:, seen].min(1) > least) & (np.abs(off).max(1) < off_deg) & (np.maximum(*bends) < bent_deg)
    lengths = np.linalg.norm(parts, axis=-1)
    return (lengths / lengths.sum(1, keepdims=True))[stands]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, nargs="+", required=True)
    parser.add_argument("--rendered", type=Path, required=True)
    args = parser.parse_args()

    recoverer = Recoverer()
    found = []
    for path in sorted(p for folder in args.photos for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES):
        try:
            landmarks = recoverer.find(read_image(path).rgb, path).landmarks
        except MetricHMSRError as error:
            print(f"left out: {error}")
            continue
        if len(landmarks):
            found.append((landmarks.xy, landmarks.confidence))
    photographed = np.concatenate([xy for xy, _ in found]), np.concatenate([c for _, c in found])

    samples = read_samples(shards([args.rendered]))
    marked = samples.landmarks.float().numpy()
    grown_up = AnnyBody.load().height(samples.shape.float()).numpy() > GROWN_UP_M
    level = grown_up & (np.abs(samples.up.numpy()[:, 2]) < LEVEL) if samples.up is not None else grown_up
    rendered = marked[level, :, :2], marked[level, :, 2]

    for strictness in STRICTNESS:
        photos, renderings = shares(*photographed, *strictness), shares(*rendered, *strictness)
        real, made = np.median(photos, axis=0), np.median(renderings, axis=0)
        print(
            f"{strictness}: {len(photos)} photographed {real.round(3)}, {len(renderings)} rendered {made.round(3)}: "
            f"hips up by {1 - made[0] / real[0]:.3f} of the trunk, knees by {made[2] / real[2] - 1:.3f} of the shank"
        )


if __name__ == "__main__":
    main()
