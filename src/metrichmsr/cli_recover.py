"""The verb ``recover``: options, the run, and what is told about it in the end."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TextIO, cast

import tyro

from metrichmsr.batch import BatchReport, run_batch
from metrichmsr.errors import UsageError
from metrichmsr.export.atomic import check_writable
from metrichmsr.export.people_table import require_parquet
from metrichmsr.export.quantities import quantity
from metrichmsr.export.result_json import dump_result
from metrichmsr.export.schema import Number, ResultDocument
from metrichmsr.export.write import ALL_FORMATS, FORMATS, Format, check_formats, check_scene_formats
from metrichmsr.images import count_inputs, iter_inputs
from metrichmsr.recover import Recoverer, RecoverOptions


@dataclass(frozen=True)
class InputOptions:
    """What is read."""

    recursive: bool = False
    """Look into the subfolders of folders too."""
    every: int = 1
    """Of videos, take every n-th frame."""
    max_frames: int | None = None
    """Of each video, take at most so many frames."""
    max_megapixels: float = 100.0
    """Refuse larger pictures: unpacking them may take more memory than there is."""

    def __post_init__(self) -> None:
        for option, value in (("--every", self.every), ("--max-frames", self.max_frames)):
            if value is not None and value < 1:
                raise UsageError(f"{option} must be at least 1, not {value}")
        if not self.max_megapixels > 0:
            raise UsageError(f"--max-megapixels must be positive, not {self.max_megapixels:g}")


@dataclass(frozen=True)
class OutputOptions:
    """What is written, and where."""

    out: Path = Path("out")
    """Folder for the results; each image gets a folder of its own in it, OUT/<image name>/."""
    save: Annotated[str, tyro.conf.arg(aliases=("--formats",))] = ",".join(FORMATS)
    """What to write beside result.json, by commas: ply (a mesh each), glb (the scene), overlay (a picture), depth (its
    maps), points (the scene as scene.ply), report (report.html: all of it on one page); obj, usd, bvh, npz, colmap,
    amass for other programs (docs/export.md); or none."""
    table: Literal["csv", "parquet"] = "csv"
    """Format of the table of all people that more than one image leaves in OUT."""
    skip_existing: bool = False
    """Keep the finished results in OUT and do only what is missing: resumes a stopped run."""
    json: bool = False
    """Print each result.json on stdout, one line an image, and nothing else there."""
    debug: bool = False
    """Show where in the program an error arose."""

    def formats(self) -> tuple[Format, ...]:
        """``save`` as a tuple.

        Raises:
            UsageError: It names something else.
        """
        names = [name.strip() for name in self.save.split(",") if name.strip() not in ("", "none")]
        unknown = [name for name in names if name not in ALL_FORMATS]
        if unknown:
            raise UsageError(f"--save {self.save}: {unknown[0]!r} is none of {', '.join(ALL_FORMATS)}, none")
        return tuple(cast("Format", name) for name in ALL_FORMATS if name in names)


@dataclass(frozen=True)
class RecoverArgs:
    """Recover the people of photos and videos: body meshes, heights and positions in metres.

    Exit status: 0 all done; 1 some inputs failed (named on stderr and in OUT/failures.json); 2 the run could not start.
    """

    inputs: Annotated[
        tuple[str, ...],
        tyro.conf.Positional,
        tyro.conf.arg(metavar="INPUT…", help_behavior_hint="(one or more)"),
    ]
    """Photos, videos, folders, or quoted patterns such as 'holiday/*.jpg'."""
    reading: InputOptions = field(default_factory=InputOptions)
    output: OutputOptions = field(default_factory=OutputOptions)
    options: Annotated[RecoverOptions, tyro.conf.arg(name="")] = field(default_factory=RecoverOptions)
    device: str | None = None
    """Where the networks run: cpu, cuda, cuda:1, mps (default: cpu)."""


def recover_inputs(args: RecoverArgs) -> int:
    """Do what the command line asks for; returns the exit status.

    Raises:
        MetricHMSRError: The run cannot start; nothing was written.
    """
    output = args.output
    if not args.inputs:
        raise UsageError("no input: give photos, videos or folders, as in: metrichmsr recover photo.jpg")
    formats = output.formats()
    if output.table == "parquet":
        require_parquet()
    check_formats(formats, args.options.body_model)
    if args.options.depth == "none" and output.save != OutputOptions.save:  # what nobody asked for is left out
        check_scene_formats(formats, f"--save {output.save} with --depth none")
    recoverer = Recoverer(args.options, device=args.device)
    check_writable(output.out)

    results: list[tuple[Path, ResultDocument]] = []
    stdout = sys.stdout

    def on_result(folder: Path, document: ResultDocument) -> None:
        results[:] = [(folder, document)]  # only the last: there may be a hundred thousand
        if output.json:
            print(dump_result(document), file=stdout, flush=True)

    reading = args.reading
    which: dict[str, Any] = {"recursive": reading.recursive, "every": reading.every, "max_frames": reading.max_frames}
    items = iter_inputs(args.inputs, **which, max_pixels=round(1e6 * reading.max_megapixels))
    # Whatever a library prints goes to stderr: stdout belongs to the results.
    with contextlib.redirect_stdout(sys.stderr):
        report = run_batch(
            (item for item in items if not _is_result(item.path)),
            recoverer,
            output.out,
            total=count_inputs(args.inputs, **which),
            formats=formats,
            table=output.table,
            skip_existing=output.skip_existing,
            on_result=on_result,
            show_traceback=output.debug,
        )
    if not output.json:
        if report.images == 1 and results:
            tell_one(*results[0], stdout, kept=report.skipped > 0)
        elif report.images > 1:
            tell_many(report, output.out, stdout)
    return report.exit_status


def tell_one(folder: Path, document: ResultDocument, stream: TextIO, *, kept: bool = False) -> None:
    """Print camera, people and files of one result; ``kept``: of an earlier run, with the options of then."""
    camera, people = document["camera"], document["people"]
    focal = 0.5 * (camera["K"][0][0] + camera["K"][1][1])
    sigma = camera["focal_std_px"]
    lines = [
        f"{document['image']['path']}: {_count(len(people), 'person', 'people')}",
        f"camera: focal length {quantity(focal, sigma, 'px', decimals=0)}, {camera['fov_x_deg']:.1f}° across, "
        f"{camera['source']}",
    ]
    if people:
        lines.append(f"  {'id':>2}  {'height':<15} {'distance':<15} score")
    for person in people:
        height = quantity(person["height_m"], person["height_std_m"])
        distance = quantity(person["distance_m"], person["distance_std_m"])
        lines.append(f"  {person['id']:>2}  {height:<15} {distance:<15} {_fixed(person['score'], 2)}")
    scene = document["scene"]
    if scene is not None:
        plane = scene["ground_plane"]
        height = "" if plane is None else f"; camera {plane['offset_m']:.2f} m above the ground"
        how = "brought to the people's metres" if scene["refined"] else "as it came"
        lines.append(f"scene: depth by {scene['source']}, {how}{height}")
    how = "kept from before, as --skip-existing asks, in" if kept else "written to"
    lines.append(f"{how} {folder}: {'  '.join(_files(folder))}")
    stream.write("\n".join(lines) + "\n")


def tell_many(report: BatchReport, out_dir: Path, stream: TextIO) -> None:
    """Print the sums of a batch and where to look."""
    kept = f" ({report.skipped} kept from before)" if report.skipped else ""
    lines = [
        f"{_count(report.done + report.skipped, 'image', 'images')} done{kept}, {len(report.failures)} failed; "
        f"{_count(report.people, 'person', 'people')}"
    ]
    if report.table is not None:
        lines.append(f"written to {out_dir}: a folder per image, and everybody in {report.table.name}")
    if report.index is not None:
        lines.append(f"to look through: {report.index}")
    if report.failures:
        lines.append(f"what failed, and why: {out_dir / 'failures.json'}")
    stream.write("\n".join(lines) + "\n")


def _is_result(path: Path) -> bool:
    # Folders searched again, after a run into one of them: our own pictures are no photos.
    if path.name.startswith("explain_"):
        return (path.parent / "explain.json").is_file()
    if path.name == "scene_photo.jpg":
        return (path.parent / "scene.obj").is_file()
    return path.name in ("overlay.png", "depth.png", "depth_preview.png") and (path.parent / "result.json").is_file()


def _files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _fixed(value: Number, decimals: int) -> str:
    return "?" if value is None else f"{value:.{decimals}f}"
