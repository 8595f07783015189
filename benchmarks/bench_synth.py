"""Pictures per second of the SynFocal generator, time of each stage, and memory.

    python benchmarks/bench_synth.py [--assets DIR] [--workers 0,1,2] [--seconds 30] [--device cpu] [--memory-minutes 0]

Workers are processes with one thread each; 0 is this process with ``--threads``. The first results of each run, which
load assets, are not counted. Aims on two cores: 40 crops (256×256) and 6 scenes (640×480) per second, labels included;
3,000 crops per second on CUDA. ``--memory-minutes`` streams crops for so long and tells how memory grows.
"""

from __future__ import annotations

import argparse
import itertools
import os
import time
from contextlib import closing
from pathlib import Path

import torch

from machine import describe_machine
from metrichmsr.synthetic.shot_files import encode_shot
from metrichmsr.synthetic.writer import BATCH, Job, Source, stream_shots


def jobs(kind: str, batch: int):
    return (Job(kind, seed, batch) for seed in itertools.count(500_000_000))  # type: ignore[arg-type]


def processes() -> list[int]:
    """Numbers of this process and its children."""
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    return [os.getpid(), *map(int, children)]


def memory_mb(field: str) -> float:
    """Sum over all processes of a field of /proc/PID/status: VmRSS (now) or VmHWM (peak)."""
    total = 0.0
    for pid in processes():
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(field):
                total += int(line.split()[1]) / 1024
    return total


def throughput(source: Source, kind: str, workers: int, seconds: float, batch: int) -> None:
    with closing(stream_shots(source, jobs(kind, batch), workers=workers)) as results:
        for _ in range(2 * max(1, workers) + 1):
            next(results)
        start, count = time.perf_counter(), 0
        while time.perf_counter() < start + seconds:
            count += len(next(results)[1])
        rate = count / (time.perf_counter() - start)
        peak = memory_mb("VmHWM")
    print(f"| {kind} | {workers or 'none'} | {rate:.1f} | {1000 / rate:.1f} | {count} | {peak:.0f} |", flush=True)


def stages(source: Source, kind: str, seconds: float, batch: int) -> None:
    generator = source.load()
    runs = (job.do(generator) for job in jobs(kind, batch))
    for _ in range(2):
        next(runs)
    before = dict(generator.timings)  # type: ignore[attr-defined]
    start, count, encoding, size = time.perf_counter(), 0, 0.0, 0
    while time.perf_counter() < start + seconds:
        shots = next(runs)
        count += len(shots)
        now = time.perf_counter()
        size += sum(len(content) for shot in shots for content in encode_shot(shot)[1].values())
        encoding += time.perf_counter() - now
    total = time.perf_counter() - start - encoding
    print(f"\n{kind}: {1000 * total / count:.1f} ms each in this process, {size / count / 1000:.0f} kB stored\n")
    print("| stage | ms each | share |\n| --- | ---: | ---: |")
    spent = {name: value - before.get(name, 0) for name, value in generator.timings.items()}  # type: ignore[attr-defined]
    for name, value in sorted(spent.items(), key=lambda item: -item[1]):
        print(f"| {name} | {1000 * value / count:.2f} | {100 * value / total:.0f} % |")
    print(f"| (encoding for a shard, beside) | {1000 * encoding / count:.2f} | |", flush=True)


def memory(source: Source, workers: int, minutes: float, batch: int) -> None:
    print(f"\nMemory of all processes, streaming crops with {workers} workers\n")
    print("| minute | crops | MB |\n| ---: | ---: | ---: |")
    with closing(stream_shots(source, jobs("crops", batch), workers=workers)) as results:
        start, count, told = time.perf_counter(), 0, -1.0
        while (now := (time.perf_counter() - start) / 60) < minutes:
            count += len(next(results)[1])
            if now >= told + max(0.5, minutes / 20):
                told = now
                print(f"| {now:.1f} | {count} | {memory_mb('VmRSS'):.0f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--assets", type=Path)
    parser.add_argument("--kinds", default="crops,scenes")
    parser.add_argument("--workers", default="0,1,2")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=BATCH)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--memory-minutes", type=float, default=0.0)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    source = Source(options.assets, device=options.device)
    workers = [int(number) for number in options.workers.split(",")]
    kinds = options.kinds.split(",")
    on = torch.cuda.get_device_name(options.device) if options.device.startswith("cuda") else describe_machine()
    print(f"SynFocal {'with' if options.assets else 'without'} assets on {on}\n")
    print("| kind | workers | per second | ms each | counted | peak MB |\n| --- | ---: | ---: | ---: | ---: | ---: |")
    for kind, number in itertools.product(kinds, workers):
        throughput(source, kind, number, options.seconds, options.batch)
    for kind in kinds:
        stages(source, kind, options.seconds, options.batch)
    if options.memory_minutes:
        memory(source, max(workers), options.memory_minutes, options.batch)


if __name__ == "__main__":
    main()
