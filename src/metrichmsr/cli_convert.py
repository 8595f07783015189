"""The verb ``convert``: other formats, or another body model, of a finished result."""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import tyro

from metrichmsr.errors import UsageError
from metrichmsr.export.atomic import check_writable
from metrichmsr.export.write import ALL_FORMATS, Format, check_formats, write_recovery
from metrichmsr.structures import Person

if TYPE_CHECKING:
    from metrichmsr.bodies.protocol import BodyModel

_TO_FILES = tuple(name for name in ALL_FORMATS if name not in ("overlay", "depth", "report"))


@dataclass(frozen=True)
class ConvertArgs:
    """Make other files of a finished result, without recovering again.

    Files go beside the result, or into --out. With --body, a whole new result is written, its bodies of another model.
    """

    result: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RESULT_DIR")]
    """Folder with a result.json, as metrichmsr recover writes it."""
    to: str = ""
    """Formats, by commas: obj, usd, bvh, npz, colmap, amass, glb, ply, points (docs/export.md)."""
    out: Path | None = None
    """Folder for the files (default: the result's own; with --body, RESULT_DIR_<body> beside it)."""
    image: Path | None = None
    """The picture, if it is no longer where result.json says; of a video frame, the video."""
    body: Literal["smpl", "smplh", "smplx"] | None = None
    """Express the bodies in another model, fitted to their keypoints."""
    body_model_dir: Path | None = None
    """Folder with your SMPL, SMPL-H or SMPL-X files; also needed where the result's bodies are of these models."""
    debug: bool = False
    """Show where in the program an error arose."""

    def formats(self) -> tuple[Format, ...]:
        """``to`` as a tuple.

        Raises:
            UsageError: it names something else, or nothing.
        """
        names = [name.strip() for name in self.to.split(",") if name.strip()]
        unknown = [name for name in names if name not in _TO_FILES]
        if unknown:
            raise UsageError(f"--to {self.to}: {unknown[0]!r} is none of {', '.join(_TO_FILES)}")
        if not names and self.body is None:
            raise UsageError(
                f"convert to what? --to takes {', '.join(_TO_FILES)}, by commas; --body another body model"
            )
        return tuple(cast("Format", name) for name in ALL_FORMATS if name in names)


def convert(args: ConvertArgs) -> int:
    """Do what the command line asks for; returns the exit status.

    Raises:
        MetricHMSRError: The result cannot be read or converted; nothing was written.
    """
    from metrichmsr.bodies import load_body_model
    from metrichmsr.export.read import read_recovery
    from metrichmsr.export.result_json import read_result
    from metrichmsr.export.write import write_formats

    formats = args.formats()
    document = read_result(args.result / "result.json")
    bodies = {args.body} if args.body else {entry["body_model"] for entry in document["people"]}
    for body in sorted(bodies):
        check_formats(formats, body)
    target = None if args.body is None else load_body_model(args.body, body_model_dir=args.body_model_dir)
    recovery = read_recovery(args.result, image=args.image, body_model_dir=args.body_model_dir)
    lines = []
    if target is None:
        folder = args.out or args.result
        check_writable(folder)
        written = write_formats(recovery, folder, formats)
    else:
        people, lines = _in_another_body(recovery.people, target, args.body_model_dir)
        recovery = dataclasses.replace(recovery, people=people, warnings=(*recovery.warnings, *lines))
        folder = args.out or args.result.resolve().with_name(f"{args.result.resolve().name}_{target.name}")
        check_writable(folder.parent)
        kept: tuple[Format, ...] = ("depth",) if recovery.scene is not None else ()
        frame = document["image"].get("frame")
        write_recovery(recovery, folder.parent, folder.name, formats={"ply", *kept, *formats}, frame=frame)
        written = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    lines.append(f"written to {folder}: {'  '.join(written)}")
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


def _in_another_body(
    people: tuple[Person, ...], target: BodyModel, body_model_dir: Path | None
) -> tuple[tuple[Person, ...], list[str]]:
    """The people in the other model, and a line for each that says how far the two bodies are apart."""
    from metrichmsr.bodies import load_body_model
    from metrichmsr.bodies.change_body import change_body

    if not people:
        return (), []
    source = load_body_model(people[0].body_model, body_model_dir=body_model_dir)
    changed, gaps = change_body(people, source, target)
    return changed, [
        f"person {person.id}: {target.name} was fitted to the keypoints of the {source.name} body: "
        f"{gap.keypoints_mm:.0f} mm apart on average, surfaces {gap.surface_mm:.0f} mm, stature {gap.height_mm:+.0f} mm"
        for person, gap in zip(people, gaps, strict=True)
    ]
