"""Measuring: lengths and girths of bodies, metres between two people, and what one known stature changes.

    python examples/05_measure.py
    python examples/05_measure.py my_photo.jpg --height 1.82 --of 0

Every measurement is defined in docs/measurements.md. The woman of `street.jpg`, person 0, is 1.65 m tall: with that her
stature is exact, and her distance as good as the lens is known (26 mm are taken for an example, as in 02). Others learn
from it where they stand on the same ground; the man, up on his block, does not.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from metrichmsr.cli_measure import MeasuredImage, MeasuredPerson, write_measurements_csv
from metrichmsr.recover import Recoverer, RecoverOptions
from metrichmsr.structures import Recovery

PHOTO = Path(__file__).parent / "photos" / "street.jpg"
SHOWN = ("stature", "arm_span", "inseam", "shoulder_breadth", "waist_girth")


def main(argv: Sequence[str] | None = None) -> tuple[Recovery, Recovery]:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("photo", nargs="?", type=Path, default=PHOTO)
    parser.add_argument("--height", type=float, default=1.65, help="known stature of one person, metres")
    parser.add_argument("--of", type=int, default=0, help="whose")
    parser.add_argument("--focal-35mm", type=float, default=26, help="focal length as 35 mm equivalent")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for measurements.csv")
    args = parser.parse_args(argv)

    options = RecoverOptions(depth="none", focal_35mm=args.focal_35mm)
    before = Recoverer(options)(args.photo)
    after = Recoverer(replace(options, height=json.dumps({args.of: args.height})))(args.photo)
    for title, recovery in (("no stature told", before), (f"person {args.of} is {args.height:.2f} m tall", after)):
        print(title)
        for person in recovery.people:
            print(f"    person {person.id}, {person.distance_m:.2f} ± {person.distance_std_m:.2f} m away")
            for name in SHOWN:
                value_m, std_m = person.measurements[name]
                print(f"        {name.replace('_', ' '):<16} {value_m:.2f} ± {std_m:.2f} m")
        if len(recovery.people) > 1:
            print(f"    between the pelvises of 0 and 1: {between_m(recovery, 0, 1):.2f} m")

    args.out.mkdir(parents=True, exist_ok=True)
    write_measurements_csv([measured(after)], args.out / "measurements.csv")
    print(f"all measurements: {args.out / 'measurements.csv'}")
    return before, after


def between_m(recovery: Recovery, a: int, b: int) -> float:
    """Metres from pelvis to pelvis. Everybody is in the camera's frame, so that a subtraction does."""
    return float(np.linalg.norm(recovery.people[a].translation_m - recovery.people[b].translation_m))


def measured(recovery: Recovery) -> MeasuredImage:
    """What `metrichmsr measure --csv` writes, of a recovery at hand."""
    people = [
        MeasuredPerson(
            person.id,
            person.body_model,
            {name: {"value": value_m, "std": std_m} for name, (value_m, std_m) in person.measurements.items()},
        )
        for person in recovery.people
    ]
    return MeasuredImage(
        folder=None, image=str(recovery.image_path), frame=None, people=people, warnings=list(recovery.warnings)
    )


if __name__ == "__main__":
    main()
