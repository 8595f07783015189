"""One photo: recover its people, print how tall and how far away they are, and write all files of the result.

    python examples/01_photo.py
    python examples/01_photo.py my_photo.jpg --out results

Shows `metrichmsr.recover`, what a sigma is made of, and where each number comes from.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

import metrichmsr
from metrichmsr.export import write_recovery
from metrichmsr.structures import Recovery

PHOTO = Path(__file__).parent / "photos" / "street.jpg"


def main(argv: Sequence[str] | None = None) -> tuple[Recovery, Path]:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("photo", nargs="?", type=Path, default=PHOTO)
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the result")
    args = parser.parse_args(argv)

    recovery = metrichmsr.recover(args.photo)

    camera = recovery.camera
    # What the focal length is off by, every distance is off by.
    focal_share = (camera.focal_std_px or 0.0) / camera.focal_px
    print(f"camera: focal length {camera.focal_px:.0f} px ± {100 * focal_share:.0f} %, known from: {camera.source}")
    for person in recovery.people:
        share = person.distance_std_m / person.distance_m
        rest = math.sqrt(max(share**2 - focal_share**2, 0.0))
        print(
            f"person {person.id}: {person.height_m:.2f} ± {person.height_std_m:.2f} m tall, "
            f"{person.distance_m:.1f} ± {person.distance_std_m:.1f} m away\n"
            f"    of the ± {100 * share:.0f} % of the distance: focal length {100 * focal_share:.0f} %, "
            f"stature and pose {100 * rest:.0f} % (added in squares)"
        )
    if recovery.scene is not None and recovery.scene.ground_offset_m is not None:
        print(f"camera {recovery.scene.ground_offset_m:.2f} m above the ground, depth from: {recovery.scene.source}")
    for warning in recovery.warnings:
        print(f"mind: {warning}")
    print(f"made by: {recovery.versions['checkpoint'].split()[0]}")

    args.out.mkdir(parents=True, exist_ok=True)
    folder = write_recovery(recovery, args.out, args.photo.stem)
    print(f"written to {folder}: {', '.join(sorted(path.name for path in folder.iterdir()))}")
    return recovery, folder


if __name__ == "__main__":
    main()
