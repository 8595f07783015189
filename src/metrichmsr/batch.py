"""Many inputs, one after the other: each result whole, each failure named, the rest done."""

from __future__ import annotations

import json
import sys
import time
import traceback
from collections.abc import Callable, Collection, Iterable
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from metrichmsr.errors import InputError, MetricHMSRError, ModelFileError, UsageError
from metrichmsr.export.atomic import atomic_file
from metrichmsr.export.people_table import people_rows, write_csv, write_parquet
from metrichmsr.export.read_entries import photo_places
from metrichmsr.export.result_json import read_result
from metrichmsr.export.schema import ResultDocument
from metrichmsr.export.write import FORMATS, Format, write_result_folder
from metrichmsr.structures import Recovery

if TYPE_CHECKING:
    from metrichmsr.export.report_index import IndexRow
    from metrichmsr.images import InputItem, Photo

RecoverOne = Callable[["Photo"], Recovery]


@dataclass(frozen=True)
class Failure:
    """An input that could not be done: an entry of ``failures.json``."""

    path: str
    error: str
    """Class of the error."""
    message: str
    """One line."""
    frame: int | None = None
    """Number of the frame in a video."""

    @classmethod
    def of(cls, item: InputItem, error: BaseException) -> Failure:
        """What ``failures.json`` says of an error."""
        message = " ".join(str(error).split()) or "no message"
        return cls(str(item.path), type(error).__name__, message, item.frame)


@dataclass
class BatchReport:
    """What became of a batch."""

    done: int = 0
    """Images with a new result."""
    skipped: int = 0
    """Images whose finished result was kept."""
    people: int = 0
    """People in all of these results."""
    failures: list[Failure] = field(default_factory=list)
    interrupted: bool = False
    """Stopped by Ctrl-C before the end."""
    table: Path | None = None
    """The table of people, where one was written."""
    index: Path | None = None
    """The page with all images, where one was written."""

    @property
    def images(self) -> int:
        """Images whose turn has come, the failed ones included."""
        return self.done + self.skipped + len(self.failures)

    @property
    def exit_status(self) -> int:
        """0: all done; 1: some inputs failed; 130: interrupted (what shells expect after Ctrl-C)."""
        return 130 if self.interrupted else 1 if self.failures else 0


def run_batch(
    items: Iterable[InputItem],
    recover_one: RecoverOne,
    out_dir: Path,
    *,
    total: int | None = None,
    formats: Collection[Format] = FORMATS,
    table: Literal["csv", "parquet"] = "csv",
    skip_existing: bool = False,
    on_result: Callable[[Path, ResultDocument], None] | None = None,
    show_traceback: bool = False,
) -> BatchReport:
    """Recover every image and write ``out_dir/<stem>/`` for each, whole or not at all.

    An image that fails is named in one line on stderr and in ``out_dir/failures.json``, and the others go on. More than
    one shows a progress bar on stderr and leaves ``people.csv`` (or ``.parquet``), a row per person, and where reports
    are asked for ``index.html``, which leads to them; on Ctrl-C, these files tell what was reached.

    Args:
        items: Images to do, each read when its turn has come.
        recover_one: Does one image; loads its models at the first (:class:`metrichmsr.recover.Recoverer`).
        out_dir: Existing, writable folder (:func:`metrichmsr.export.atomic.check_writable`).
        total: Number of items where it is known beforehand.
        formats: What to save beside ``result.json``.
        table: Format of the table of people.
        skip_existing: Keep finished results of the same image instead of making them anew.
        on_result: Told of every result, the kept ones included: folder and content of ``result.json``.
        show_traceback: Print the traceback of failures too.

    Raises:
        ModelFileError: A model cannot be loaded.
        UsageError: The options make no sense. In both cases no other image could have been done.
    """
    from tqdm import tqdm

    run = _Run(recover_one, out_dir, formats, skip_existing, on_result, show_traceback)
    try:
        for item in tqdm(items, total=total, unit="image", disable=total == 1):
            run.do(item)
    except KeyboardInterrupt:
        run.report.interrupted = True
        _say("metrichmsr: interrupted; what is finished is whole")
    finally:
        _write_failures(run.report.failures, out_dir)
        if run.report.images > 1:
            run.report.table = out_dir / f"people.{table}"
            (write_parquet if table == "parquet" else write_csv)(run.rows, run.report.table)
            run.write_index()
    return run.report


class _Run:
    """State of a batch on its way."""

    def __init__(
        self,
        recover_one: RecoverOne,
        out_dir: Path,
        formats: Collection[Format],
        skip_existing: bool,
        on_result: Callable[[Path, ResultDocument], None] | None,
        show_traceback: bool,
    ) -> None:
        self.recover_one = recover_one
        self.out_dir = out_dir
        self.formats = formats
        self.skip_existing = skip_existing
        self.on_result = on_result
        self.show_traceback = show_traceback
        self.report = BatchReport()
        self.rows: list[dict[str, Any]] = []
        self.index: list[IndexRow] = []

    def do(self, item: InputItem) -> None:
        place = self.out_dir / item.stem
        earlier = _earlier(place)
        if self.skip_existing and item.error is None and earlier is not None and _is_of(earlier, item):
            self.report.skipped += 1
            self.finish(place, earlier)
            return
        start = time.perf_counter()
        try:
            photo = item.read()
            read_ms = 1000 * (time.perf_counter() - start)
            recovery = _with_reading_time(self.recover_one(photo), read_ms)
            folder, document = write_result_folder(
                recovery, self.out_dir, item.stem, formats=self.formats, frame=item.frame
            )
        except (UsageError, ModelFileError):  # concerns the run, not this image
            raise
        except Exception as error:  # a defect of ours too: the other images deserve their turn
            self.fail(item, error)
            return
        for warning in document["warnings"]:
            _say(f"metrichmsr: warning: {_where(item)}: {warning}")
        if earlier is not None and photo_places(earlier, place)[0].resolve() != item.path.resolve():
            other = earlier["image"]["path"]
            _say(f"metrichmsr: warning: {_where(item)}: {folder} held the result of {other}, which this one replaced")
        self.report.done += 1
        self.finish(folder, document)

    def finish(self, folder: Path, document: ResultDocument) -> None:
        self.report.people += len(document["people"])
        self.rows.extend(people_rows(folder.name, document))
        if "report" in self.formats:
            from metrichmsr.export.report_index import MOST_ROWS, MOST_THUMBNAILS, index_row

            if len(self.index) < MOST_ROWS:
                self.index.append(index_row(folder, document, thumbnail=len(self.index) < MOST_THUMBNAILS))
        if self.on_result is not None:
            self.on_result(folder, document)

    def write_index(self) -> None:
        if "report" not in self.formats:
            return
        from metrichmsr.export.report_index import INDEX, write_index

        failed = [
            (
                failure.path if failure.frame is None else f"{failure.path}, frame {failure.frame}",
                failure.message.removeprefix(f"{failure.path}: "),
            )
            for failure in self.report.failures
        ]
        done = self.report.done + self.report.skipped
        self.report.index = write_index(self.index, failed, self.out_dir, datetime.now(), images=done)
        if self.report.index is None:
            _say(f"metrichmsr: warning: {self.out_dir / INDEX} is not ours and was left alone: no overview was written")

    def fail(self, item: InputItem, error: Exception) -> None:
        failure = Failure.of(item, error)
        self.report.failures.append(failure)
        # Mistakes of the user name the cause themselves, and mostly the file.
        expected = isinstance(error, MetricHMSRError)
        cause = failure.message if expected else f"{failure.error}: {failure.message}"
        if not (expected and failure.path in failure.message and item.frame is None):
            cause = f"{_where(item)}: {cause}"
        _say(f"metrichmsr: error: {cause}")
        if self.show_traceback:
            _say("".join(traceback.format_exception(type(error), error, error.__traceback__)).rstrip())


def _earlier(folder: Path) -> ResultDocument | None:
    """The finished result that is in a folder already."""
    try:
        return read_result(folder / "result.json")
    except InputError:
        return None


def _is_of(document: ResultDocument, item: InputItem) -> bool:
    # With repeating names the numbering may have shifted since: the folder must be of this very image.
    image = document["image"]
    return (image["path"], image.get("frame")) == (str(item.path), item.frame)


def _with_reading_time(recovery: Recovery, read_ms: float) -> Recovery:
    # The recoverer got a picture that was read already, and could not take the time of that.
    timings_ms = dict(recovery.timings_ms)
    for stage in ("read", "total"):
        timings_ms[stage] = timings_ms.get(stage, 0.0) + read_ms
    return replace(recovery, timings_ms=timings_ms)


def _where(item: InputItem) -> str:
    return str(item.path) if item.frame is None else f"{item.path}, frame {item.frame}"


def _write_failures(failures: list[Failure], out_dir: Path) -> None:
    path = out_dir / "failures.json"
    if not failures:
        path.unlink(missing_ok=True)  # of an earlier run: this one has none
        return
    entries = [{key: value for key, value in asdict(failure).items() if value is not None} for failure in failures]
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(entries, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _say(line: str) -> None:
    # Past the progress bar, not through it.
    from tqdm import tqdm

    tqdm.write(line, file=sys.stderr)
