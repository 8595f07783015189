"""Start and upload of the viewer: how long until a page has everything, and how much that is.

    python benchmarks/bench_viewer.py RESULT_DIR            a result of yours
    python benchmarks/bench_viewer.py --crowd 60            its people copied to so many, with --points points

The page is replaced by a websocket client that takes in everything the browser would be sent: what is measured is
server and wire. How many frames a second a browser draws depends on its graphics card.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np


def crowd_of(source: Path, people: int, folder: Path) -> Path:
    """A result with ``people`` copies of the first person, in rows behind one another."""
    target = folder / f"crowd_{people}"
    shutil.copytree(source, target)
    document = json.loads((target / "result.json").read_text())
    first = document["people"][0]
    first_mesh = (target / first["mesh"]).read_bytes()
    document["people"] = []
    for i in range(people):
        mesh = f"person_{i}.ply"
        (target / mesh).write_bytes(first_mesh)
        document["people"].append({**first, "id": i, "mesh": mesh})
    (target / "result.json").write_text(json.dumps(document))
    return target


async def receive_all(port: int) -> tuple[float, int, int]:
    """Seconds, bytes and messages until nothing has come for half a second."""
    import viser
    import websockets

    start = last = time.perf_counter()
    received = messages = 0
    async with websockets.connect(
        f"ws://127.0.0.1:{port}", subprotocols=[f"viser-v{viser.__version__}"], max_size=None, compression=None
    ) as socket:
        while True:
            try:
                data = await asyncio.wait_for(socket.recv(), 2.0)
            except asyncio.TimeoutError:
                return last - start, received, messages
            last = time.perf_counter()
            received += len(data)
            messages += 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("result", type=Path)
    parser.add_argument("--crowd", type=int, default=0)
    parser.add_argument("--points", type=int, default=0)
    args = parser.parse_args()
    start = time.perf_counter()
    from metrichmsr.viewer.content import Detail
    from metrichmsr.viewer.layers import Shown
    from metrichmsr.viewer.picking import Ray
    from metrichmsr.viewer.result_folder import open_results
    from metrichmsr.viewer.sequences import entries_of
    from metrichmsr.viewer.serve import require_viser, start_viewer

    require_viser()
    print(f"imports: {time.perf_counter() - start:.2f} s")
    with tempfile.TemporaryDirectory() as temporary:
        results = open_results([args.result])
        if args.crowd:
            results = open_results([crowd_of(results[0].folder, args.crowd, Path(temporary))])
        detail, shown = Detail(), Shown()
        if args.points:
            detail = dataclasses.replace(detail, max_points=args.points)
            shown = dataclasses.replace(shown, drawn="points")
        start, processor = time.perf_counter(), time.process_time()
        running = start_viewer(entries_of(results), port=0, detail=detail, shown=shown)
        wall, busy = time.perf_counter() - start, time.process_time() - processor
        print(f"result to a page that can be opened: {wall:.2f} s, {busy:.2f} s of them of processor")
        content = running.viewer.contents[0]
        triangles = sum(len(shapes.faces) for shapes in content.people)
        scene = (
            f"{len(content.points('refined', 'photo').points)} points"
            if args.points
            else (f"{len(content.mesh('refined').faces)} triangles" if content.maps else "nothing")
        )
        print(f"{len(content.people)} people of {triangles} triangles, scene of {scene}")
        port = int(running.url.rsplit(":", 1)[1])
        seconds, received, messages = asyncio.run(receive_all(port))
        print(f"sent to a page: {received / 1e6:.1f} MB in {messages} messages within {seconds:.2f} s")
        pelvis = content.people[0].pelvis if content.people else content.middle
        for name in ("first", "second"):
            start, processor = time.perf_counter(), time.process_time()
            running.viewer.click(Ray.of(content.eye, pelvis - content.eye + np.array([0, 0.01, 0])))
            wall, busy = time.perf_counter() - start, time.process_time() - processor
            print(f"{name} click: {1000 * wall:.0f} ms, {1000 * busy:.0f} ms of processor")
        running.stop()


if __name__ == "__main__":
    main()
