"""A folder of photos: recover all of them, get one table of all people, and read it back.

    python examples/03_folder_to_parquet.py
    python examples/03_folder_to_parquet.py my_photos --out results

A photo that fails is named in `failures.json` and the others go on; called again, the run does what is missing. The
table is Parquet where pyarrow is installed, else CSV; it is read with pandas where that is installed.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from metrichmsr.batch import BatchReport, run_batch
from metrichmsr.export.atomic import check_writable
from metrichmsr.images import count_inputs, iter_inputs
from metrichmsr.recover import Recoverer, RecoverOptions

PHOTOS = Path(__file__).parent / "photos"


def main(argv: Sequence[str] | None = None) -> BatchReport:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("photos", nargs="?", type=Path, default=PHOTOS)
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the results and the table")
    args = parser.parse_args(argv)

    check_writable(args.out)
    report = run_batch(
        iter_inputs([args.photos]),
        Recoverer(RecoverOptions(depth="none")),  # people only; leave depth out of the options to have the scenes too
        args.out,
        total=count_inputs([args.photos]),
        formats=("overlay",),
        table="parquet" if importlib.util.find_spec("pyarrow") else "csv",
        skip_existing=True,
    )
    print(f"{report.done} done, {report.skipped} kept from before, {len(report.failures)} failed")

    if report.table is not None:  # one photo alone leaves none
        people = read_table(report.table)
        print(f"{report.table}: {len(people)} people")
        for row in people:
            print(
                f"    {row['folder']}, person {row['id']}: {float(row['height_m']):.2f} m tall, "
                f"{float(row['distance_m']):.1f} m away, focal length {row['camera_source']}"
            )
    return report


def read_table(path: Path) -> list[dict[str, Any]]:
    """The rows of `people.parquet` or `people.csv`, by whatever is installed."""
    if importlib.util.find_spec("pandas"):
        import pandas as pd

        frame = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
        return frame.to_dict("records")
    if path.suffix == ".parquet":
        import pyarrow.parquet

        return pyarrow.parquet.read_table(path).to_pylist()
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    main()
