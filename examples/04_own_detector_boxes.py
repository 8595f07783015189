"""A detector of your own: hand its boxes over in a file, or plug the detector itself in.

    python examples/04_own_detector_boxes.py

Two boxes around the people of `street.jpg`, drawn by hand, stand for a detector's answer. Boxes from a file are taken
as they are, all of them and in their order, so that person 0 is box 0. A detector that is plugged in has its doubles
and its faint finds sorted out like the built-in one's.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from metrichmsr.export.atomic import atomic_file
from metrichmsr.people import Detections, Landmarker, People, find_people
from metrichmsr.recover import Recoverer, RecoverOptions
from metrichmsr.structures import Recovery

PHOTO = Path(__file__).parent / "photos" / "street.jpg"
BOXES = [[610.0, 75.0, 725.0, 460.0], [905.0, 520.0, 1105.0, 935.0]]
"""x0, y0, x1, y1 in pixels of the upright picture."""


def main(argv: Sequence[str] | None = None) -> dict[str, Recovery]:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("photo", nargs="?", type=Path, default=PHOTO)
    parser.add_argument("--boxes", type=json.loads, default=BOXES, help="what your detector found: [[x0,y0,x1,y1],…]")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the file of boxes")
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)

    # By file: also the way of `metrichmsr recover --boxes boxes.json`. COCO's format and CSV are read too.
    path = args.out / "boxes.json"
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps({args.photo.name: args.boxes}))
    by_file = Recoverer(RecoverOptions(boxes=path, depth="none"))

    # By function: anything that takes an RGB picture and gives Detections.
    def detect(image: np.ndarray) -> Detections:
        return Detections(np.array(args.boxes, dtype=np.float64).reshape(-1, 4), np.full(len(args.boxes), 0.9))

    landmarker = Landmarker()

    def find(image: np.ndarray, path: Path) -> People:
        return find_people(image, detector=detect, landmarker=landmarker)

    by_function = Recoverer(RecoverOptions(depth="none"), find=find)

    results = {"boxes in a file": by_file(args.photo), "a detector": by_function(args.photo)}
    for way, recovery in results.items():
        print(f"{way}: {len(recovery.people)} people")
        for person in recovery.people:
            box = ", ".join(f"{value:.0f}" for value in person.box_xyxy)
            print(f"    person {person.id} in [{box}]: score {person.score:.2f}, {person.height_m:.2f} m tall")
    return results


if __name__ == "__main__":
    main()
