"""Time of the rasteriser, the shader and the overlay on bodies of 27,420 triangles.

    python benchmarks/bench_rendering.py [--threads 2] [--seconds 3] [--device cpu]

Prints minimum and median of as many runs as fit into the seconds: on a machine that does other work too, the minimum is
the cost and the median says how much was in the way. Aims: one body in a 256×256 crop 5 ms, five bodies in 1920×1080
150 ms, both on two CPU cores.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from machine import describe_machine
from metrichmsr.bodies.anny import AnnyBody
from metrichmsr.export.overlay import draw_overlay
from metrichmsr.geometry import intrinsics
from metrichmsr.rendering import interpolate, join_meshes, rasterize, rasterize_scene, shade
from metrichmsr.structures import Camera, Person, Recovery


def standing_body() -> tuple[Tensor, Tensor]:
    """Anny's default body, y down, its middle at the origin."""
    model = AnnyBody.load()
    with torch.no_grad():
        x, y, z = model.rest(model.default_shape()[None]).vertices_m[0].unbind(-1)  # z up
    vertices = torch.stack([x, -z, y], dim=-1)
    return vertices - (vertices.amin(0) + vertices.amax(0)) / 2, model.faces


def report(
    name: str, run: Callable[[], object], seconds: float, synchronize: Callable[[], None], count: int = 1
) -> None:
    run()
    synchronize()
    times = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 3:
        start = time.perf_counter()
        run()
        synchronize()
        times.append((time.perf_counter() - start) * 1e3 / count)
    print(f"| {name} | {min(times):.2f} | {np.median(times):.2f} | {len(times)} |", flush=True)


def as_person(index: int, vertices: Tensor, faces: Tensor) -> Person:
    none = np.zeros((17, 3))
    return Person(
        id=index,
        score=0.9,
        box_xyxy=np.zeros(4),
        body_model="anny",
        translation_m=vertices.mean(0).double().numpy(),
        pose={},
        shape={},
        height_m=1.6,
        height_std_m=0.06,
        distance_std_m=0.2,
        keypoints_2d_px=none,
        keypoints_3d_m=none,
        vertices_m=vertices.double().numpy(),
        faces=faces.numpy(),
        joints_m=none[:1],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    seconds = options.seconds
    synchronize = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    on = torch.cuda.get_device_name(device) if device.type == "cuda" else describe_machine()
    print(f"Rendering on {on}\n\n| work | min ms | median ms | runs |\n| --- | --- | --- | --- |")

    body, faces = standing_body()
    body, faces = body.to(device), faces.to(device)
    crop: dict[str, Any] = {"height": 256, "width": 256}
    K_crop = intrinsics(430.0, 430.0, 128.0, 128.0).to(device)
    one = body[None] + torch.tensor([0.0, 0.0, 3.2], device=device)
    report("one body, 256×256", lambda: rasterize(one, faces, K_crop, **crop), seconds, synchronize)
    report(
        "one body, 256×256, back faces culled",
        lambda: rasterize(one, faces, K_crop, cull_backfaces=True, **crop),
        seconds,
        synchronize,
    )
    many = one.repeat(16, 1, 1)
    report(
        "16 bodies, 256×256 each; time of one", lambda: rasterize(many, faces, K_crop, **crop), seconds, synchronize, 16
    )
    fragments = rasterize(one, faces, K_crop, **crop)
    color = torch.tensor([0.8, 0.7, 0.6], device=device)
    report("its positions, interpolated", lambda: interpolate(fragments, faces, one), seconds, synchronize)
    report("its shaded picture", lambda: shade(fragments, one, faces, color), seconds, synchronize)

    K_full = intrinsics(1500.0, 1500.0, 960.0, 540.0).to(device)
    places = torch.tensor([[-1.6 + 0.8 * i, 0.0, 3.0 + 0.3 * (i % 3)] for i in range(5)], device=device)
    meshes = [(body + place, faces) for place in places]
    full: dict[str, Any] = {"height": 1080, "width": 1920}
    scene = rasterize_scene(meshes, K_full, **full)
    covered = f"{scene.mask.float().mean():.0%} covered"
    report(f"five bodies, 1920×1080 ({covered})", lambda: rasterize_scene(meshes, K_full, **full), seconds, synchronize)
    joined = join_meshes(meshes)
    report(
        "five bodies as one mesh, 1920×1080",
        lambda: rasterize(joined.vertices[None], joined.faces, K_full, **full),
        seconds,
        synchronize,
    )

    if device.type == "cpu":
        for width, height, meshes_shown in ((1280, 960, meshes[2:3]), (1920, 1080, meshes)):
            camera = Camera(
                K=np.array([[1200.0, 0, width / 2], [0, 1200.0, height / 2], [0, 0, 1]]),
                width=width,
                height=height,
                source="given",
            )
            recovery = Recovery(
                image_path=Path("photo.jpg"),
                image=np.full((height, width, 3), 120, dtype=np.uint8),
                camera=camera,
                people=tuple(as_person(i, *mesh) for i, mesh in enumerate(meshes_shown)),
            )
            report(
                f"overlay, {len(meshes_shown)} of them in {width}×{height}",
                lambda recovery=recovery: draw_overlay(recovery),
                seconds,
                synchronize,
            )


if __name__ == "__main__":
    main()
