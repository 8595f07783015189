"""The verb ``measure``: lengths and girths of recovered people, as a table, CSV or JSON."""

from __future__ import annotations

import contextlib
import csv
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, TextIO

import tyro

from metrichmsr.errors import InputError, MetricHMSRError, ModelFileError, UsageError
from metrichmsr.export.atomic import atomic_file, check_writable
from metrichmsr.export.find_results import RESULT, find_result_folders
from metrichmsr.export.result_json import read_result, result_document
from metrichmsr.export.schema import MeasurementEntry, Number, PersonEntry, ResultDocument
from metrichmsr.recover import Recoverer, RecoverOptions

COLUMNS: tuple[str, ...] = ("folder", "image", "frame", "id", "body_model", "measurement", "value_m", "std_m")
"""Columns of the CSV file: a row per person and measurement; unknown values are empty cells."""

_PEOPLE_ABREAST = 5


@dataclass(frozen=True)
class MeasureArgs:
    """Measure recovered people: stature, arm span, inseam, girths… in metres, each with one sigma.

    Girths come mostly from what bodies of that stature are like, not from the photo: mind the sigmas. Every measurement
    is defined in docs/measurements.md.

    Exit status: 0 all done; 1 some inputs failed (named on stderr); 2 the run could not start.
    """

    inputs: Annotated[
        tuple[Path, ...],
        tyro.conf.Positional,
        tyro.conf.arg(metavar="INPUT…", help_behavior_hint="(one or more)"),
    ]
    """Results of metrichmsr recover (out/photo), folders of them (out), or photos: those are recovered first."""
    csv: Path | None = None
    """Write a CSV file as well: a row per person and measurement."""
    json: bool = False
    """Print JSON on stdout, one line an image, and nothing else there."""
    options: Annotated[RecoverOptions, tyro.conf.arg(name="")] = field(
        default_factory=lambda: RecoverOptions(depth="none")
    )
    device: str | None = None
    """Where the networks run: cpu, cuda, cuda:1, mps (default: cpu)."""
    debug: bool = False
    """Show where in the program an error arose."""


@dataclass(frozen=True)
class MeasuredPerson:
    """One person's measurements."""

    id: int
    body_model: str
    measurements_m: dict[str, MeasurementEntry]


@dataclass(frozen=True)
class MeasuredImage:
    """Everybody of one image."""

    folder: Path | None
    """The result's folder; None for a photo that was recovered here."""
    image: str
    frame: int | None
    people: list[MeasuredPerson]
    warnings: list[str]
    """Of the recovery."""

    def document(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "folder": None if self.folder is None else str(self.folder),
            "image": self.image,
            "frame": self.frame,
            "people": [vars(person) for person in self.people],
            "warnings": self.warnings,
        }

    def rows(self) -> Iterator[dict[str, Any]]:
        """For ``--csv``: dictionaries with the keys of :data:`COLUMNS`."""
        for person in self.people:
            for name, entry in person.measurements_m.items():
                yield {
                    "folder": self.folder,
                    "image": self.image,
                    "frame": self.frame,
                    "id": person.id,
                    "body_model": person.body_model,
                    "measurement": name,
                    "value_m": entry["value"],
                    "std_m": entry["std"],
                }


def measure_inputs(args: MeasureArgs) -> int:
    """Do what the command line asks for; returns the exit status.

    Raises:
        MetricHMSRError: the run cannot start; nothing was written.
    """
    if not args.inputs:
        raise UsageError("no input: give a result, as in: metrichmsr measure out/photo, or a photo")
    photos = {path for path in args.inputs if path.is_file() and path.name != RESULT}
    # Made before the first input: it looks at the options and the files that they name.
    tape = _Tape(args.options, Recoverer(args.options, device=args.device) if photos else None)
    if args.csv is not None:
        if args.csv.is_dir():
            raise UsageError(f"--csv {args.csv}: this is a folder, not a file")
        check_writable(args.csv.parent)
    done: list[MeasuredImage] = []
    failed = 0
    stdout = sys.stdout
    for path in args.inputs:
        is_photo = path in photos
        try:
            places = [path] if is_photo else find_result_folders(path)
        except InputError as error:
            failed += _failed(error)
            continue
        for place in places:
            try:
                # Whatever a library prints goes to stderr: stdout belongs to the results.
                with contextlib.redirect_stdout(sys.stderr):
                    measured = tape.of_photo(place) if is_photo else tape.of_result(place)
            except (UsageError, ModelFileError):  # concerns the run, not this input
                raise
            except MetricHMSRError as error:
                failed += _failed(error)
                continue
            done.append(measured)
            if is_photo:  # of a result they were told when it was made
                for warning in measured.warnings:
                    sys.stderr.write(f"metrichmsr: warning: {measured.image}: {warning}\n")
            if args.json:
                stdout.write(json.dumps(measured.document(), allow_nan=False, ensure_ascii=False) + "\n")
            else:
                tell(measured, stdout)
            stdout.flush()
    if args.csv is not None and done:
        write_measurements_csv(done, args.csv)
        if not args.json:
            stdout.write(f"written to {args.csv}\n")
    return 1 if failed else 0


def write_measurements_csv(images: Sequence[MeasuredImage], path: Path) -> None:
    """Write a row per person and measurement as CSV (RFC 4180, UTF-8, one header line, metres), atomically."""
    with atomic_file(path) as temporary, temporary.open("x", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for image in images:
            writer.writerows(image.rows())


def tell(measured: MeasuredImage, stream: TextIO) -> None:
    """Print a table: a row per measurement, a column per person."""
    frame = "" if measured.frame is None else f", frame {measured.frame}"
    count = len(measured.people)
    lines = [f"{measured.image}{frame}: {count} {'person' if count == 1 else 'people'}, metres ± one sigma"]
    for start in range(0, count, _PEOPLE_ABREAST):
        abreast = measured.people[start : start + _PEOPLE_ABREAST]
        lines.append("  ".join([f"{'':<18}", *(f"{f'person {person.id}':<14}" for person in abreast)]).rstrip())
        for name in abreast[0].measurements_m:
            cells = [_cell(person.measurements_m.get(name)) for person in abreast]
            lines.append("  ".join([f"  {name.replace('_', ' '):<16}", *(f"{cell:<14}" for cell in cells)]).rstrip())
    stream.write("\n".join(lines) + "\n")


def _failed(error: MetricHMSRError) -> int:
    sys.stderr.write(f"metrichmsr: error: {' '.join(str(error).split())}\n")
    return 1


class _Tape:
    """Measures the people of results and photos; loads models when they are needed."""

    def __init__(self, options: RecoverOptions, recoverer: Recoverer | None) -> None:
        self._options = options
        self._recoverer = recoverer
        self._measurers: dict[str, Any] = {}

    def of_result(self, folder: Path) -> MeasuredImage:
        # These options say how people are recovered; here they have been.
        late = sorted(self._options.changed().keys() - {"body_model_dir", "depth"})
        if late:
            raise UsageError(
                f"{folder}: --{late[0].replace('_', '-')} is for photos; this is a result, recover it anew"
            )
        return self._of_document(read_result(folder / RESULT), folder)

    def of_photo(self, path: Path) -> MeasuredImage:
        assert self._recoverer is not None
        return self._of_document(result_document(self._recoverer(path)), None)

    def _of_document(self, document: ResultDocument, folder: Path | None) -> MeasuredImage:
        image = document["image"]
        people = [
            MeasuredPerson(person["id"], person["body_model"], self._entries(person, folder))
            for person in document["people"]
        ]
        return MeasuredImage(folder, image["path"], image.get("frame"), people, document["warnings"])

    def _entries(self, person: PersonEntry, folder: Path | None) -> dict[str, MeasurementEntry]:
        """Those in the result, or, in results of before there were any, new ones of the same body."""
        kept = person.get("measurements_m")
        if kept is not None:
            return kept
        import torch

        measurer = self._measurer(person["body_model"])
        names = measurer.model.shape_names
        shape, std = [person["shape"].get(name) for name in names], person["height_std_m"]
        if any(value is None for value in shape):
            raise InputError(f"{folder}: the shape of person {person['id']} is not one of {person['body_model']}")
        (measured,) = measurer(torch.tensor([shape]), [float("nan") if std is None else std])
        return {name: {"value": _number(value_m), "std": _number(std_m)} for name, (value_m, std_m) in measured.items()}

    def _measurer(self, body_model: str) -> Any:
        if body_model not in self._measurers:
            from metrichmsr.bodies import load_body_model
            from metrichmsr.bodies.measurement_doubt import Measurer

            model = load_body_model(body_model, body_model_dir=self._options.body_model_dir)
            self._measurers[body_model] = Measurer(model)
        return self._measurers[body_model]


def _number(value: float) -> Number:
    return round(value, 6) if value == value else None


def _cell(entry: MeasurementEntry | None) -> str:
    if entry is None or entry["value"] is None:
        return "?"
    return f"{entry['value']:.2f}" + ("" if entry["std"] is None else f" ± {entry['std']:.2f}")
