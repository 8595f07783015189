"""Start and upload of the viewer: how long until a page has everything, and how much that is.

    python benchmarks/bench_viewer.py RESULT_DIR                    a result of yours
    python benchmarks/bench_viewer.py RESULT_DIR --crowd 60         its first person copied to so many
    python benchmarks/bench_viewer.py RESULT_DIR --points 1000000   the scene as points, so many with --crowd
    python benchmarks/bench_viewer.py RESULT_DIR --browser          and the page in Chromium, see page_frames.py

The page is first replaced by a websocket client that takes in everything the browser would be sent: server and wire.
How many pictures a second a browser draws depends on what draws them; --browser does it in software, which is far below
any graphics card, --window with the card of the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import tempfile
import time
from pathlib import Path

import numpy as np


async def receive_all(port: int) -> tuple[float, int, int]:
    """Seconds, bytes and messages until nothing has come for half a second."""
    import viser
    import websockets

    start = last = time.perf_counter()
    received = messages = 0
    spoken = [websockets.Subprotocol(f"viser-v{viser.__version__}")]
    async with websockets.connect(
        f"ws://127.0.0.1:{port}", subprotocols=spoken, max_size=None, compression=None
    ) as socket:
        while True:
            try:
                data = await asyncio.wait_for(socket.recv(), 2.0)
            except asyncio.TimeoutError:
                return last - start, received, messages
            last = time.perf_counter()
            received += len(data)
            messages += 1


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("result", type=Path)
    parser.add_argument("--crowd", type=int, default=0, metavar="PEOPLE")
    parser.add_argument("--points", type=int, default=0)
    parser.add_argument(
        "--browser", action="store_true", help="look at the page in headless Chromium, software drawing"
    )
    parser.add_argument("--window", action="store_true", help="the same in a window, drawn by the graphics card")
    parser.add_argument("--picture", type=Path, help="PNG to save the page to, with --browser or --window")
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder, max_points = args.result, args.points
        if args.crowd:
            from crowd import crowd_of
            from metrichmsr.viewer.result_folder import open_result

            folder = crowd_of(open_result(folder), args.crowd, args.points, Path(temporary))
            # The map's pixels, of which not all hold a point.
            max_points = 4 * args.points
        server_and_wire(folder, max_points)
        if args.browser or args.window:
            in_browser(folder, max_points, window=args.window, picture=args.picture)


def server_and_wire(folder: Path, max_points: int) -> None:
    start = time.perf_counter()
    from metrichmsr.viewer.content import Detail
    from metrichmsr.viewer.layers import Shown
    from metrichmsr.viewer.picking import Ray
    from metrichmsr.viewer.result_folder import open_results
    from metrichmsr.viewer.sequences import entries_of
    from metrichmsr.viewer.serve import require_viser, start_viewer

    require_viser()
    print(f"imports: {time.perf_counter() - start:.2f} s")
    detail, shown = Detail(), Shown()
    if max_points:
        detail = dataclasses.replace(detail, max_points=max_points)
        shown = dataclasses.replace(shown, drawn="points")
    start, processor = time.perf_counter(), time.process_time()
    running = start_viewer(entries_of(open_results([folder])), port=0, detail=detail, shown=shown)
    wall, busy = time.perf_counter() - start, time.process_time() - processor
    print(f"result to a page that can be opened: {wall:.2f} s, {busy:.2f} s of them of processor")
    content = running.viewer.contents[0]
    triangles = sum(len(shapes.faces) for shapes in content.people)
    scene = (
        f"{len(content.points('refined', 'photo').points)} points"
        if max_points
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


def in_browser(folder: Path, max_points: int, *, window: bool, picture: Path | None) -> None:
    from page_frames import frames_of

    options = ("--draw", "points", "--max-points", str(max_points)) if max_points else ()
    seen = frames_of(folder, options, window=window, picture=picture)
    print(f"drawn by: {seen.renderer}")
    print(
        f"from the command on: listens after {seen.listening_s:.2f} s, people are seen after {seen.people_s:.2f} s, "
        f"everything is after {seen.everything_s:.2f} s"
    )
    print(f"a picture: {seen.calls} draw calls, {seen.triangles} triangles, {seen.points} points")
    print(
        f"turned with the mouse: {', '.join(f'{rate:.2f}' for rate in seen.per_second)} pictures a second, the longest "
        f"wait {seen.longest_s:.2f} s, "
        f"{seen.drawn_px[0]}×{seen.drawn_px[1]} pixels"
    )


if __name__ == "__main__":
    main()
