"""Time and memory of the Anny body: ``python benchmarks/bench_bodies.py [--threads 2]``."""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable

import roma
import torch


def milliseconds(work: Callable[[], object], repeats: int = 20) -> float:
    """Fastest of some runs: what else the machine does can only add."""
    for _ in range(3):
        work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return 1e3 * min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    torch.set_num_threads(parser.parse_args().threads)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    from metrichmsr.bodies.anny import AnnyBody
    from metrichmsr.bodies.shape_prior import ShapePrior

    model = AnnyBody.load()
    loaded = time.perf_counter() - start
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    held = sum(b.numel() * b.element_size() for b in model.buffers()) / 2**20
    print(f"load (after importing torch): {loaded:.2f} s, peak memory {peak:+.0f} MB, tensors {held:.0f} MB")

    generator = torch.Generator().manual_seed(0)
    prior = ShapePrior.load()
    light = model.restricted_to(torch.randperm(model.num_vertices, generator=generator)[:700])

    def inputs(batch: int, *, grad: bool) -> tuple[torch.Tensor, torch.Tensor]:
        rotvecs = 0.3 * torch.randn(batch, model.num_bones, 3, generator=generator)
        shape = prior.sample(batch, generator)
        return roma.rotvec_to_rotmat(rotvecs).requires_grad_(grad), shape.requires_grad_(grad)

    from metrichmsr.bodies.measurement_doubt import Measurer

    start = time.perf_counter()
    measurer = Measurer(model)
    made = time.perf_counter() - start
    adult, sigma = model.default_shape()[None], torch.full((1,), 0.07).numpy()
    each = milliseconds(lambda: measurer(adult, sigma))
    print(f"measurements with sigmas: {each:.1f} ms a person, ready in {made:.2f} s")

    for name, body, batch in (
        ("full mesh", model, 1),
        ("full mesh", model, 8),
        ("700 vertices", light, 1),
        ("700 vertices", light, 20),
        ("700 vertices", light, 400),
    ):
        pose, shape = inputs(batch, grad=False)
        with torch.no_grad():
            forward = milliseconds(lambda: body(pose, shape))  # noqa: B023 - called at once
        pose, shape = inputs(batch, grad=True)

        def both() -> None:
            out = body(pose, shape)  # noqa: B023
            loss = out.vertices_m.square().sum() + out.landmarks33_m.square().sum()
            torch.autograd.grad(loss, (pose, shape))  # noqa: B023

        total = milliseconds(both)
        print(
            f"{name:13} B={batch:<3} forward {forward:7.2f} ms ({forward / batch:.2f} a body), "
            f"forward+backward {total:7.2f} ms ({total / batch:.2f} a body)"
        )
    shape = prior.sample(20, generator)
    print(f"stature of 20 shapes: {milliseconds(lambda: model.height(shape)):.2f} ms")


if __name__ == "__main__":
    main()
