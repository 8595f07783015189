"""The verb ``convert``: other formats, or another body model, of a finished result."""

from __future__ import annotations

import dataclasses
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import tyro

from metrichmsr.errors import InputError, UsageError
from metrichmsr.export.atomic import check_writable
from metrichmsr.export.read_entries import depth_file, photo_places
from metrichmsr.export.write import ALL_FORMATS, Format, check_formats, check_scene_formats, write_recovery
from metrichmsr.structures import Person

if TYPE_CHECKING:
    from metrichmsr.bodies.protocol import BodyModel
    from metrichmsr.export.schema import ResultDocument

_FPS = 30.0
_TO_FILES = tuple(name for name in ALL_FORMATS if name not in ("overlay", "depth", "report"))


@dataclass(frozen=True)
class ConvertArgs:
    """Make other files of a finished result, without recovering again.

    Files go beside the result, or into --out. With --body, a whole new result is written, its bodies of another model.
    With --animation, RESULT_DIR is the folder with the results of a video's or a folder's frames (recover's --out), and
    one file of the whole sequence is written into it: everybody moving.
    """

    result: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RESULT_DIR")]
    """Folder with a result.json, as metrichmsr recover writes it."""
    to: str = ""
    """Formats, by commas: obj, usd, bvh, npz, colmap, amass, glb, ply, points (docs/export.md)."""
    out: Path | None = None
    """Folder for the files (default: the result's own; with --body, RESULT_DIR_<body> beside it)."""
    image: Path | None = None
    """The picture, if it is no longer where result.json says; of a video frame, the video."""
    animation: bool = False
    """One animation.glb of a sequence of results; needs --to glb."""
    fps: float | None = None
    """With --animation: frames a second (default: the video's own; of pictures, 30)."""
    body: Literal["anny", "smpl", "smplh", "smplx"] | None = None
    """Express the bodies in another model, fitted to their keypoints: anny's in yours, or yours in anny."""
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
        self._check_animation(names)
        return tuple(cast("Format", name) for name in ALL_FORMATS if name in names)

    def _check_animation(self, names: list[str]) -> None:
        if self.fps is not None and not self.animation:
            raise UsageError("--fps is for --animation")
        if self.fps is not None and not (math.isfinite(self.fps) and self.fps > 0):
            raise UsageError(f"--fps must be a positive number, not {self.fps:g}")
        if self.animation and self.body is not None:
            raise UsageError("--animation keeps the bodies of the results: convert those with --body first")
        if self.animation and names != ["glb"]:
            raise UsageError("--animation is of one format: --to glb")


def convert(args: ConvertArgs) -> int:
    """Do what the command line asks for; returns the exit status.

    Raises:
        MetricHMSRError: The result cannot be read or converted; nothing was written.
    """
    from metrichmsr.bodies import load_body_model
    from metrichmsr.export.read import read_recovery
    from metrichmsr.export.result_json import read_result
    from metrichmsr.export.write import shows_surroundings, write_formats

    formats = args.formats()
    if args.animation:
        return _animate(args)
    document = read_result(args.result / "result.json")
    bodies = {entry["body_model"] for entry in document["people"]}
    if bodies == {args.body}:
        raise InputError(f"{args.result / 'result.json'}: its bodies are of {args.body} already")
    for body in {args.body} if args.body else sorted(bodies):
        check_formats(formats, body)
    if document["scene"] is None:
        check_scene_formats(formats, f"--to {args.to}: {args.result} was recovered without its scene")
    target = None if args.body is None else load_body_model(args.body, body_model_dir=args.body_model_dir)
    recovery = read_recovery(
        args.result,
        image=args.image,
        body_model_dir=args.body_model_dir,
        surroundings=document["scene"] is not None and shows_surroundings(formats),
    )
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
        kept: tuple[Format, ...] = ("depth",) if depth_file(document, args.result) is not None else ()
        frame = document["image"].get("frame")
        write_recovery(recovery, folder.parent, folder.name, formats={"ply", *kept, *formats}, frame=frame)
        written = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    lines.append(f"written to {folder}: {'  '.join(written)}")
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


def _animate(args: ConvertArgs) -> int:
    """One ``animation.glb`` of a folder of results."""
    import numpy as np

    from metrichmsr.export.gltf_animation import ANIMATION, write_animation
    from metrichmsr.export.read import read_recovery
    from metrichmsr.export.sequence import frame_times, read_motions

    frames, numbers = _frames_of_one_sequence(args.result)
    of_video = frames[0][1]["image"].get("frame") is not None
    if (np.diff(numbers) == 0).any():
        again = int(np.flatnonzero(np.diff(numbers) == 0)[0])
        names = " and ".join(folder.name for folder, _ in frames[again : again + 2])
        raise InputError(f"{args.result}: two results of one frame: {names}")
    fps, whose = _frame_rate(args, *frames[0])
    times_s = frame_times(numbers, fps, of_video=of_video)
    sequence = read_motions(frames, times_s, body_model_dir=args.body_model_dir)
    first = read_recovery(
        frames[0][0],
        image=args.image,
        body_model_dir=args.body_model_dir,
        surroundings=frames[0][1]["scene"] is not None,
    )
    folder = args.out or args.result
    check_writable(folder)
    write_animation(sequence, first, folder / ANIMATION)
    lines = [f"{len(frames)} frames, {times_s[-1]:.2f} s at {fps:g} frames a second ({whose})"]
    for motion in sequence.motions:
        seen = f"in {len(motion.frames)} of {len(frames)} frames"
        lines.append(f"person {motion.id}: {seen}, from {frames[motion.frames[0]][0].name}")
    lines.append(f"written to {folder}: {ANIMATION}")
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


def _frames_of_one_sequence(folder: Path) -> tuple[list[tuple[Path, ResultDocument]], tuple[int, ...]]:
    """Folder and content of each frame's result, in order, and the frames' numbers.

    Raises:
        InputError: there is no sequence in the folder, or there are several.
    """
    from metrichmsr.viewer.result_folder import open_results
    from metrichmsr.viewer.sequences import entries_of

    results = open_results([folder])
    if len(results) == 1:
        raise InputError(
            f"{results[0].folder}: is a single result; --animation takes the folder with all results of a sequence"
        )
    entries = entries_of(results)
    if not any(entry.is_sequence for entry in entries):
        raise InputError(
            f"{folder}: its {len(results)} results are no sequence: frames come of one video, or of pictures of one "
            "size and one folder whose names differ in a number (walk_001.jpg, walk_002.jpg)"
        )
    if len(entries) > 1:
        told = ", ".join(entry.name for entry in entries[:5]) + (", …" if len(entries) > 5 else "")
        raise InputError(
            f"{folder}: holds more than one sequence: {told}; put the results of one into a folder of its own"
        )
    return [(result.folder, result.document) for result in entries[0].frames], entries[0].numbers


def _frame_rate(args: ConvertArgs, folder: Path, document: ResultDocument) -> tuple[float, str]:
    """Frames a second, and who says so."""
    if args.fps is not None:
        return args.fps, "--fps"
    video = next((place for place in photo_places(document, folder, args.image) if place.is_file()), None)
    if document["image"].get("frame") is not None and video is not None:
        from metrichmsr.images.video import frame_rate

        stated = frame_rate(video)
        if stated is not None:
            return stated, f"as {video.name} has it"
    return _FPS, "assumed; --fps says otherwise"


def _in_another_body(
    people: tuple[Person, ...], target: BodyModel, body_model_dir: Path | None
) -> tuple[tuple[Person, ...], list[str]]:
    """The people in the other model, and a line for each that says how far the two bodies are apart."""
    from metrichmsr.bodies import load_body_model
    from metrichmsr.bodies.change_body import change_body

    changed = {person.id: person for person in people}
    lines: dict[int, str] = {}
    for name in sorted({person.body_model for person in people} - {target.name}):
        source = load_body_model(name, body_model_dir=body_model_dir)
        of_source = [person for person in people if person.body_model == name]
        for person, gap in zip(*change_body(of_source, source, target), strict=True):
            changed[person.id] = person
            lines[person.id] = (
                f"person {person.id}: {target.name} was fitted to the keypoints of the {name} body: "
                f"{gap.keypoints_mm:.0f} mm apart on average, surfaces {gap.surface_mm:.0f} mm, "
                f"stature {gap.height_mm:+.0f} mm"
            )
    return tuple(changed[person.id] for person in people), [lines[id_] for id_ in changed if id_ in lines]
