"""How real synthetic people look to networks trained on photographs: who is found, and how far landmarks are off.

    python benchmarks/bench_synth_realism.py [--assets DIR] [--count 500] [--split val]

Runs the shipped detector and landmark network on SynFocal crops as on photographs.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from machine import describe_machine
from metrichmsr.people import Landmarker, MoveNetDetector, find_people
from metrichmsr.people.landmarks import COCO17_OF_33
from metrichmsr.structures import BLAZEPOSE33
from metrichmsr.synthetic.generator import SynFocal
from metrichmsr.synthetic.shots import VISIBLE
from metrichmsr.training.from_shots import landmarks_of_shots, usable


def iou(a: np.ndarray, b: np.ndarray) -> float:
    """Of two boxes."""
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
    common = float(np.prod((high - low).clip(0)))
    areas = float(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]))
    return common / max(areas - common, 1e-9)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--assets", type=Path)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--split", default="val")
    options = parser.parse_args()
    torch.set_num_threads(1)
    source = SynFocal.load(options.assets, split=options.split)
    detector, landmarker = MoveNetDetector(), Landmarker(batch_size=16)
    generator = np.random.default_rng(0)
    found, overlaps, errors, peaks, shares, looked = 0, [], [], [], [], 0
    seed = 0
    while looked < options.count:
        shots = [shot for shot in source.crops(seed) if usable(shot)][: options.count - looked]
        seed += 1
        for shot, landmarks in zip(shots, landmarks_of_shots(shots, landmarker, generator), strict=True):
            truth = shot.people.box_xyxy[0]
            boxes = find_people(shot.image, detector=detector, landmarker=landmarker).detections.boxes_xyxy
            best = max((iou(box, truth) for box in boxes), default=0.0)
            found += best >= 0.5
            overlaps.append(best)
            shares.append(float(shot.people.visible_share[0]))
            side = float((truth[2:] - truth[:2]).max())
            error = np.linalg.norm(landmarks.xy[0] - shot.people.landmarks33_px[0], axis=1) / side
            errors.append(np.where(shot.people.visibility33[0] == VISIBLE, error, np.nan))
            peaks.append(landmarks.score[0])
        looked += len(shots)
    error = np.array(errors)
    print(describe_machine())
    print(f"{looked} crops, split {options.split}, assets {options.assets}")
    overlap = np.array(overlaps)
    seen = 100 * np.mean(overlap[np.array(shares) > 0.9] >= 0.5)
    print(f"found (IoU >= 0.5): {100 * found / looked:.1f} %; of those seen whole {seen:.1f} %")
    print(f"mean height of heat maps: {np.mean(peaks):.3f}")
    median, mean = 100 * np.nanmedian(error), 100 * np.nanmean(error)
    print(f"visible landmarks, error in % of the box: median {median:.1f}, mean {mean:.1f}")
    coco = list(COCO17_OF_33)[5:]
    within = 100 * np.nanmean(np.where(np.isnan(error[:, coco]), np.nan, error[:, coco] < 0.05))
    print(f"COCO limb joints within 5 % of the box: {within:.1f} %")
    for name in ("nose", "left_shoulder", "left_elbow", "left_wrist", "left_hip", "left_knee", "left_ankle"):
        print(f"  {name:15} median {100 * np.nanmedian(error[:, BLAZEPOSE33.index(name)]):.1f} %")


if __name__ == "__main__":
    main()
