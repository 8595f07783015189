"""The verb ``view``: options, recovery of photos where some are given, and the server until Ctrl-C."""

from __future__ import annotations

import contextlib
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from metrichmsr.errors import UsageError
from metrichmsr.export.atomic import check_writable
from metrichmsr.recover import RecoverOptions

if TYPE_CHECKING:
    from metrichmsr.viewer.serve import RunningViewer


@dataclass(frozen=True)
class ViewArgs:
    """Look at results in the browser, in metres: people, scene, rulers, uncertainty; click two points to measure.

    Takes folders that metrichmsr recover wrote, or photos, which are recovered first. Ends with Ctrl-C.
    """

    inputs: Annotated[
        tuple[str, ...],
        tyro.conf.Positional,
        tyro.conf.arg(metavar="RESULT_DIR|PHOTO…", help_behavior_hint="(one or more)"),
    ]
    """Folders of results, folders of such folders, or photos."""
    out: Path | None = None
    """Folder to keep the results of photos in (default: a temporary one, gone at the end)."""
    host: str = "127.0.0.1"
    """Address to listen on. With any but this machine's own, everybody in the network can see the photo."""
    port: int = 8080
    """Port to listen on; the next free one where it is taken, any with 0."""
    open: bool = False
    """Open the page in the browser."""
    scene: bool = True
    """Show the surroundings."""
    draw: Literal["mesh", "points"] = "mesh"
    """How the surroundings are drawn at first."""
    max_triangles: int = 300_000
    """Of the surroundings' mesh."""
    max_points: int = 400_000
    """Of the surroundings as points."""
    max_body_triangles: int = 300_000
    """Of all bodies together; where they have more, everybody is drawn with fewer (never below 1,500)."""
    options: Annotated[RecoverOptions, tyro.conf.arg(name="")] = field(default_factory=RecoverOptions)
    device: str | None = None
    """Where the networks run that recover photos: cpu, cuda, cuda:1, mps (default: cpu)."""
    debug: bool = False
    """Show where in the program an error arose."""

    def __post_init__(self) -> None:
        if self.max_triangles < 2 or self.max_points < 1:
            raise UsageError("--max-triangles must be at least 2 and --max-points at least 1")
        if self.max_body_triangles < 1:
            raise UsageError("--max-body-triangles must be at least 1")


def view_results(args: ViewArgs) -> int:
    """Do what the command line asks for until Ctrl-C; returns the exit status.

    Raises:
        MetricHMSRError: an input cannot be shown, or viser is missing.
    """
    with _running(args) as running, contextlib.suppress(KeyboardInterrupt):
        from metrichmsr.listening import is_local

        if not is_local(args.host):
            sys.stderr.write(
                f"metrichmsr: warning: listening on {args.host}: anyone on the network can see the photo and everybody "
                "in it, without a password\n"
            )
        if not running.refuses_foreign_pages:
            sys.stderr.write(
                "metrichmsr: warning: this version of viser does not tell which page connects: while the viewer runs, "
                "other web pages open in your browser can see the photo\n"
            )
        sys.stdout.write(f"viewer: {running.url}  (Ctrl-C ends it)\n")
        sys.stdout.flush()
        if args.open:
            import webbrowser

            webbrowser.open(running.url)
        wait_for_interrupt()
    return 0


def wait_for_interrupt() -> None:
    """Sleep until Ctrl-C."""
    forever = threading.Event()
    while not forever.wait(1.0):  # without a limit Windows would not hear Ctrl-C
        pass


@contextlib.contextmanager
def _running(args: ViewArgs) -> Iterator[RunningViewer]:
    from metrichmsr.viewer.content import Detail
    from metrichmsr.viewer.layers import Shown
    from metrichmsr.viewer.result_folder import open_results
    from metrichmsr.viewer.sequences import entries_of
    from metrichmsr.viewer.serve import require_viser, start_viewer

    if not args.inputs:
        raise UsageError("nothing to view: give a folder with a result, or a photo, as in: metrichmsr view out/photo")
    with tempfile.TemporaryDirectory(prefix="metrichmsr-view-") as temporary:
        photos = [path for path in args.inputs if Path(path).is_file() and Path(path).name != "result.json"]
        folders = [path for path in args.inputs if path not in photos]
        results = open_results(folders)  # before the long work, mistakes
        require_viser()
        if photos:
            results += open_results(_recovered(args, photos, Path(temporary)))
        running = start_viewer(
            entries_of(results),
            host=args.host,
            port=args.port,
            detail=Detail(args.scene, args.max_triangles, args.max_points, args.max_body_triangles),
            shown=Shown(drawn=args.draw),
        )
        try:
            yield running
        finally:
            running.stop()


def _recovered(args: ViewArgs, photos: Sequence[str], temporary: Path) -> list[Path]:
    from metrichmsr.export.write import FORMATS, write_result_folder
    from metrichmsr.images import read_image
    from metrichmsr.images.media import kind_of_file
    from metrichmsr.images.stems import StemNamer
    from metrichmsr.recover import Recoverer

    for path in photos:
        if kind_of_file(Path(path)) == "video":
            raise UsageError(f"{path}: a video; recover it first: metrichmsr recover {path} --out FOLDER")
    recoverer = Recoverer(args.options, device=args.device)
    out = temporary if args.out is None else args.out
    check_writable(out)
    # A temporary result is looked at by nobody else.
    formats = ("ply", "depth") if args.out is None else FORMATS
    name, folders = StemNamer(), []
    for path in photos:
        photo = read_image(path)
        sys.stderr.write(f"recovering {path}…\n")
        with contextlib.redirect_stdout(sys.stderr):  # whatever a library prints
            folder, document = write_result_folder(recoverer(photo), out, name(Path(path).stem), formats=formats)
        for warning in document["warnings"]:
            sys.stderr.write(f"metrichmsr: warning: {path}: {warning}\n")
        folders.append(folder)
    return folders
