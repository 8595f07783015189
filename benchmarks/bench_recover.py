"""Speed and memory of ``recover``: cold start, warm time by stage and per person, peak memory. Prints Markdown.

The pictures hold 1, 3 and 10 copies of the walking woman of the example photo on a grey canvas of one size, so that
only the number of people differs; ``--photo`` measures photos of your own instead. Every picture has a fresh process,
so that peak memory is its own.

    python benchmarks/bench_recover.py
    python benchmarks/bench_recover.py --repeats 5 --photo a.jpg b.jpg
    python benchmarks/bench_recover.py --depth none     # people alone
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "photos" / "street.jpg"
PERSON_XYXY = (862, 488, 1112, 968)
"""Part of the example photo that shows one person."""
CANVAS = (1768, 994)
COUNTS = (1, 3, 10)


def make_picture(people: int, path: Path) -> None:
    """Copies of one person in a grid on grey, as PNG."""
    from PIL import Image

    with Image.open(EXAMPLE) as photo:
        person = photo.convert("RGB").crop(PERSON_XYXY)
    canvas = Image.new("RGB", CANVAS, (128, 128, 128))
    columns = CANVAS[0] // person.width
    for i in range(people):
        row, column = divmod(i, columns)
        canvas.paste(person, (column * person.width, row * (person.height + 10)))
    canvas.save(path)


def measure_here(path: Path, repeats: int, depth: str) -> dict[str, object]:
    """Cold and warm runs in this process. ``ru_maxrss`` is in KiB on Linux."""
    import resource

    from metrichmsr import own_process

    own_process.settle()  # as the command does
    start = time.perf_counter()
    from metrichmsr.recover import Recoverer, RecoverOptions

    recoverer = Recoverer(RecoverOptions(depth=depth))
    recovery = recoverer(path)
    cold_s = time.perf_counter() - start
    runs = [recoverer(path).timings_ms for _ in range(repeats)]
    return {
        "people": len(recovery.people),
        "size": [recovery.camera.width, recovery.camera.height],
        "cold_s": cold_s,
        "warm_ms": {stage: statistics.median(run[stage] for run in runs) for stage in runs[0]},
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def measure(path: Path, repeats: int, depth: str) -> dict[str, Any]:
    """:func:`measure_here` in a fresh process, with the process's whole wall time of the cold run beside it."""
    command = [sys.executable, __file__, "--child", str(path), "--repeats", str(repeats), "--depth", depth]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def measure_command(photo: Path, repeats: int, depth: str) -> dict[str, float]:
    """``metrichmsr recover PHOTO`` from start of the process to finished files: wall seconds and peak memory."""
    seconds, peaks = [], []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as out:
            start = time.perf_counter()
            process = subprocess.Popen(
                [sys.executable, "-m", "metrichmsr", "recover", str(photo), "--out", out, "--depth", depth],
                stdout=subprocess.DEVNULL,
            )
            _, status, usage = os.wait4(process.pid, 0)
            seconds.append(time.perf_counter() - start)
            if status != 0:
                raise SystemExit(f"metrichmsr recover {photo} ended with status {os.waitstatus_to_exitcode(status)}")
            peaks.append(usage.ru_maxrss / 1024)
    return {"first_s": seconds[0], "median_s": statistics.median(seconds), "peak_mb": max(peaks)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photo", type=Path, nargs="+", help="photos to measure instead of the made-up ones")
    parser.add_argument("--repeats", type=int, default=3, help="warm runs, of which the median is told")
    parser.add_argument("--depth", default="auto", help="as recover's")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child is not None:
        json.dump(measure_here(args.child, args.repeats, args.depth), sys.stdout)
        return

    from machine import describe_machine

    command = measure_command(args.photo[0] if args.photo else EXAMPLE, args.repeats, args.depth)
    with tempfile.TemporaryDirectory() as folder:
        pictures = args.photo
        if not pictures:
            pictures = [Path(folder) / f"{people}.png" for people in COUNTS]
            for people, path in zip(COUNTS, pictures, strict=True):
                make_picture(people, path)
        rows = [(path, measure(path, args.repeats, args.depth)) for path in pictures]
    print(f"{describe_machine()}\n")
    print(
        f"`metrichmsr recover` of one photo from start of the process to finished files: first run "
        f"{command['first_s']:.1f} s, median of {args.repeats} {command['median_s']:.1f} s, "
        f"peak memory {command['peak_mb']:.0f} MB.\n"
    )
    stages = list(rows[0][1]["warm_ms"])
    print("| picture | people found | cold s | " + " | ".join(f"{stage} ms" for stage in stages), end="")
    print(" | ms per person | peak MB |\n|" + " --- |" + " ---: |" * (len(stages) + 4))
    for path, row in rows:
        warm = row["warm_ms"]
        cells = " | ".join(f"{warm[stage]:.0f}" for stage in stages)
        each = f"{warm['total'] / row['people']:.0f}" if row["people"] else "–"
        width, height = row["size"]
        print(
            f"| {path.name} {width}×{height} | {row['people']} | {row['cold_s']:.1f} | {cells} | {each} "
            f"| {row['peak_mb']:.0f} |"
        )
    print(
        f"\nCold: imports, loading and the first result in a fresh process. Stages: warm, median of {args.repeats}. "
        "Peak: highest resident memory of the process."
    )


if __name__ == "__main__":
    main()
