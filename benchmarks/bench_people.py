"""Speed of the people room, and how well it does on annotated pictures.

    python benchmarks/bench_people.py                                # milliseconds of networks and stages
    python benchmarks/bench_people.py --lspet DIR --mmpose DIR       # also OKS, PCK, recall on these sets

``DIR`` is a folder laid out as ``kp2d_lspet`` (meta.json with ``frames``) or ``kp2d_mmpose_mini`` (COCO-style files).
The sets are for measuring only; nothing here is fitted to them.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from metrichmsr.images import read_image
from metrichmsr.people import COCO17_OF_33, Landmarker, MoveNetDetector, find_people
from metrichmsr.people.detection import COCO_SIGMAS, Detections, box_iou

COCO = """nose leye reye lear rear lsho rsho lelb relb lwri rwri lhip rhip lkne rkne lank rank"""
LEFT_FIRST = """lsho rsho lelb relb lwri rwri lhip rhip lkne rkne lank rank"""
RIGHT_ARM_FIRST = """rsho relb rwri lsho lelb lwri rhip rkne rank lhip lkne lank"""
LSPET = """rank rkne rhip lhip lkne lank rwri relb rsho lsho lelb lwri"""
MMPOSE = {
    "coco/test_coco": COCO,
    "ochuman/test_ochuman": COCO,
    "aic/test_aic": RIGHT_ARM_FIRST,
    "crowdpose/test_crowdpose": LEFT_FIRST,
    "exlpose/test_exlpose": LEFT_FIRST,
    "posetrack18/annotations/test_posetrack18_val": COCO.replace("leye reye", "- -"),
    "mpii/test_mpii_trb": LEFT_FIRST,
    "jhmdb/test_jhmdb_sub1": """- - - rsho lsho rhip lhip relb lelb rkne lkne rwri lwri rank lank""",
}
"""File of annotations, and which keypoints its first ones are."""
ROW = {name: row for row, name in enumerate(COCO.split())}


@dataclass(frozen=True)
class Annotation:
    """One person."""

    image: Path
    box: np.ndarray
    keypoints: np.ndarray
    """COCO-17: u, v, and 0 where there is none."""


def milliseconds(run: Callable[[], object], repeats: int = 10) -> float:
    """Fastest of some runs after one to warm up: what else the machine does can only add."""
    run()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return 1e3 * min(times)


def speed(image: np.ndarray) -> None:
    def report(what: str, duration_ms: float) -> None:
        print(f"{what:40s} {duration_ms:8.1f} ms")

    start = time.perf_counter()
    landmarker, detector = Landmarker(), MoveNetDetector()
    report("load both networks", 1e3 * (time.perf_counter() - start))
    with torch.inference_mode():
        for batch in (1, 4, 16):
            crops = torch.rand(batch, 3, 256, 256).contiguous(memory_format=torch.channels_last)
            report(f"BlazePose heavy, batch {batch}", milliseconds(lambda c=crops: landmarker.network(c)))
        for width, height in ((256, 192), (384, 288), (512, 384)):
            view = torch.rand(1, 3, height, width).contiguous(memory_format=torch.channels_last)
            report(f"MoveNet, {width}×{height}", milliseconds(lambda v=view: detector.network(v)))
    size = f"{image.shape[1]}×{image.shape[0]}"
    box = np.array([[0.0, 0.0, image.shape[1], image.shape[0]]])
    report(f"one look at one person of {size}", milliseconds(lambda: landmarker.first_look(image, box)))
    report(f"detector, {size}, {len(detector(image))} finds", milliseconds(lambda: detector(image), 5))
    people = find_people(image, detector=detector, landmarker=landmarker)
    whole = milliseconds(lambda: find_people(image, detector=detector, landmarker=landmarker), 5)
    report(f"find_people, {size}, {len(people)} people", whole)


def read_lspet(folder: Path) -> list[Annotation]:
    found = []
    for frame in json.loads((folder / "meta.json").read_text())["frames"]:
        joints = np.array(frame["joints_xyv"])
        labelled = joints[:, 2] > 0
        keypoints = np.zeros((17, 3))
        for row, name in enumerate(LSPET.split()):
            keypoints[ROW[name]] = joints[row]
        low, high = joints[labelled, :2].min(0), joints[labelled, :2].max(0)
        pad = 0.08 * (high - low).max()
        found.append(Annotation(folder / frame["image"], np.concatenate([low - pad, high + pad]), keypoints))
    return found


def read_mmpose(folder: Path) -> list[Annotation]:
    found = []
    for file, names in MMPOSE.items():
        data = json.loads((folder / f"{file}.json").read_text())
        paths = {image["id"]: folder / file.split("/")[0] / image["file_name"] for image in data["images"]}
        for item in data["annotations"]:
            if item.get("iscrowd") or not paths[item["image_id"]].is_file():
                continue
            raw = np.array(item["keypoints"], float).reshape(-1, 3)
            keypoints = np.zeros((17, 3))
            for row, name in enumerate(names.split()):
                if name != "-":
                    keypoints[ROW[name]] = raw[row]
            if "bbox" in item:
                x, y, width, height = item["bbox"]
                box = np.array([x, y, x + width, y + height], float)
            else:
                seen = raw[:14][raw[:14, 2] > 0, :2]
                pad = 0.08 * (seen.max(0) - seen.min(0)).max()
                box = np.concatenate([seen.min(0) - pad, seen.max(0) + pad])
            found.append(Annotation(paths[item["image_id"]], box, keypoints))
    return found


def oks(person: np.ndarray, truth: Annotation) -> float:
    """COCO's object keypoint similarity."""
    labelled = truth.keypoints[:, 2] > 0
    area = 0.53 * np.prod(truth.box[2:] - truth.box[:2])
    square = ((person[:, :2] - truth.keypoints[:, :2]) ** 2).sum(1)
    return float(np.exp(-square / (2 * area * (2 * COCO_SIGMAS) ** 2))[labelled].mean()) if labelled.any() else np.nan


def pck(person: np.ndarray, truth: Annotation) -> float:
    """Share of keypoints within 0.2 of the trunk's diagonal."""
    labelled = truth.keypoints[:, 2] > 0
    for shoulder, hip in ((5, 12), (6, 11)):
        if labelled[[shoulder, hip]].all():
            trunk = max(1.0, float(np.linalg.norm(truth.keypoints[shoulder, :2] - truth.keypoints[hip, :2])))
            far = np.linalg.norm(person[:, :2] - truth.keypoints[:, :2], axis=1)
            return float((far[labelled] < 0.2 * trunk).mean())
    return np.nan


def accuracy(name: str, annotations: list[Annotation]) -> None:
    detector, landmarker = MoveNetDetector(), Landmarker()
    quick = Landmarker(network=landmarker.network, thorough=False)
    by_image: dict[Path, list[Annotation]] = {}
    for annotation in annotations:
        by_image.setdefault(annotation.image, []).append(annotation)
    scores: dict[str, list[tuple[float, float]]] = {}
    sigmas: list[np.ndarray] = []
    matched = unmatched = 0
    for path, truths in by_image.items():
        image = read_image(path).rgb
        boxes = np.array([truth.box for truth in truths])
        for label, reader in (("box, one look", quick), ("box, thorough", landmarker)):
            read = reader(image, boxes).coco17
            scores.setdefault(label, []).extend((oks(p, t), pck(p, t)) for p, t in zip(read, truths, strict=True))
        people = find_people(image, detector=detector, landmarker=landmarker)
        pairs = match(people.detections, boxes)
        matched, unmatched = matched + len(pairs), unmatched + len(people) - len(pairs)
        read = people.landmarks.coco17
        for row, column in pairs:
            truth = truths[column]
            scores.setdefault("found, detector alone", []).append(_scores(people.detections, row, truth))
            scores.setdefault("found, joined", []).append((oks(read[row], truth), pck(read[row], truth)))
            labelled = truth.keypoints[:, 2] > 0
            error = (read[row, :, :2] - truth.keypoints[:, :2]) / people.landmarks.sigma_px[
                row, list(COCO17_OF_33), None
            ]
            sigmas.append(np.abs(error[labelled]).ravel())
    print(f"{name}: {len(annotations)} people in {len(by_image)} pictures")
    print(f"  recall at IoU 0.5: {matched / len(annotations):.3f}; finds nobody annotated: {unmatched}")
    for label, values in scores.items():
        mean = np.nanmean(np.array(values), axis=0)
        print(f"  {label:24s} OKS {mean[0]:.3f}  PCK@0.2 {mean[1]:.3f}  ({len(values)} people)")
    deviation = np.concatenate(sigmas)
    print(f"  errors within 1 sigma {np.mean(deviation < 1):.2f}, within 2 {np.mean(deviation < 2):.2f} (per axis)")


def _scores(detections: Detections, row: int, truth: Annotation) -> tuple[float, float]:
    assert detections.keypoints is not None
    return oks(detections.keypoints[row], truth), pck(detections.keypoints[row], truth)


def match(found: Detections, boxes: np.ndarray) -> list[tuple[int, int]]:
    """Pairs (find, truth) at IoU 0.5, best overlap first, one to one."""
    overlap = box_iou(found.boxes_xyxy, boxes)
    pairs: list[tuple[int, int]] = []
    for flat in np.argsort(-overlap, axis=None):
        row, column = (int(v) for v in np.unravel_index(flat, overlap.shape))
        if overlap[row, column] < 0.5:
            break
        if all(row != r and column != c for r, c in pairs):
            pairs.append((row, column))
    return pairs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", type=Path, help="picture for the timings; noise by default")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--lspet", type=Path)
    parser.add_argument("--mmpose", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(f"{platform.processor() or platform.machine()}, {args.threads} threads, torch {torch.__version__}")
    image = np.random.default_rng(0).integers(0, 256, (480, 640, 3)).astype(np.uint8)
    if args.image:
        image = read_image(args.image).rgb
    speed(image)
    if args.lspet:
        accuracy("lspet", read_lspet(args.lspet))
    if args.mmpose:
        accuracy("mmpose", read_mmpose(args.mmpose))


if __name__ == "__main__":
    main()
