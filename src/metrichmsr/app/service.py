"""A photo and a form in, what the page shows out; knows nothing of web pages."""

from __future__ import annotations

import sys
import threading
import traceback
import zipfile
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path

from metrichmsr.app.answer import camera_sentence, error_box, people_table, scene_sentence, warnings_list
from metrichmsr.app.form import Form
from metrichmsr.app.workspace import Held, Upload, Workspace
from metrichmsr.errors import InputError, MetricHMSRError
from metrichmsr.export.schema import ResultDocument
from metrichmsr.images import Photo
from metrichmsr.recover import RecoverOptions
from metrichmsr.structures import Recovery

ARCHIVE = "metrichmsr-result.zip"
"""Name of the download."""

RecoverWith = Callable[[RecoverOptions, Photo], Recovery]
"""Recovers a photo with these options."""


@dataclass(frozen=True)
class Outcome:
    """What the page shows after a run."""

    held: Held
    """Files that this page needs until its next run."""
    message: str = ""
    """HTML: why there is no result; empty where there is one."""
    overlay: Path | None = None
    """``overlay.png``."""
    model: Path | None = None
    """``scene.glb``."""
    archive: Path | None = None
    """Everything as zip."""
    people: str = ""
    """HTML: the table of people."""
    notes: str = ""
    """HTML: warnings, where the camera comes from, what became of the surroundings."""


class RecoveryService:
    """Recovers photos one at a time and keeps their files.

    Args:
        recover: does a photo; see :func:`shared_models`.
        workspace: where results are written.
        base: options where the page says nothing.
        max_pixels: larger pictures are refused before they are unpacked.
    """

    def __init__(
        self,
        recover: RecoverWith,
        workspace: Workspace,
        *,
        base: RecoverOptions | None = None,
        max_pixels: int,
    ) -> None:
        self.workspace = workspace
        self._recover = recover
        self._base = base or RecoverOptions()
        self._max_pixels = max_pixels
        self._one_at_a_time = threading.Lock()

    def run(self, upload: Upload | None, form: Form, before: Held | None) -> Outcome:
        """Do a photo. Never raises for what a user can cause: ``message`` tells it.

        What the page held before is let go, whatever happens.
        """
        held = self.workspace.hold(None, None if upload is None else upload.path)
        with self._one_at_a_time:
            try:
                return self._run(upload, form, held)
            except MetricHMSRError as error:
                return Outcome(held, message=error_box(_with_name(str(error), upload)))
            except MemoryError:
                return Outcome(held, message=error_box("there is not enough memory for this picture"))
            except OSError as error:
                _log(error)
                return Outcome(held, message=error_box(f"the files could not be written ({error.strerror or 'error'})"))
            except Exception as error:  # a defect of ours: the app goes on for everybody else
                _log(error)
                told = f"this picture brought the program to a mistake of its own ({type(error).__name__})"
                return Outcome(held, message=error_box(told))
            finally:
                self.workspace.release(before)

    def _run(self, upload: Upload | None, form: Form, held: Held) -> Outcome:
        if upload is None:
            raise InputError("there is no photo yet: drop one into the field")
        options = form.options(self._base)
        photo = self._read(upload)
        with redirect_stdout(sys.stderr):  # whatever a library prints
            recovery = self._recover(options, photo)
            run = self.workspace.new_run()
            held = replace(held, run=run)
            try:
                return self._write(recovery, run, held)
            except BaseException:
                self.workspace.release(Held(run))
                raise

    def _read(self, upload: Upload) -> Photo:
        from metrichmsr.images import read_image

        if not self.workspace.owns(upload.path) or not upload.path.is_file():
            raise InputError("the photo is no longer here: drop it into the field again")
        photo = read_image(upload.path, max_pixels=self._max_pixels)
        # Beside an upload there is no sidecar to look for, and the result names the photo as its owner does.
        return replace(photo, path=Path(upload.name), is_file=False)

    def _write(self, recovery: Recovery, run: Path, held: Held) -> Outcome:
        from metrichmsr.export.write import write_result_folder

        folder, document = write_result_folder(recovery, run, "result")
        archive = pack(folder, run / ARCHIVE)
        return Outcome(
            held,
            overlay=_existing(folder / "overlay.png"),
            model=_existing(folder / "scene.glb") if document["people"] or document["scene"] else None,
            archive=archive,
            people=people_table(document),
            notes=_notes(document),
        )


def shared_models(base: RecoverOptions | None = None, *, device: str | None = None) -> RecoverWith:
    """Load all models, once, for whatever the page's fields say.

    Raises:
        MetricHMSRError: a model is missing or damaged, or the options make no sense.
    """
    from metrichmsr.recover import Recoverer

    base = base or RecoverOptions()
    recoverer = Recoverer(base, device=device)
    recoverer.load()
    return lambda options, photo: recoverer.with_options(options)(photo)


def pack(folder: Path, archive: Path) -> Path:
    """All files of a folder as zip, without the folder's own name; returns the archive."""
    with zipfile.ZipFile(archive, "x", zipfile.ZIP_DEFLATED, compresslevel=1) as packed:
        for path in sorted(folder.iterdir()):
            # What is compressed already gains nothing but waiting.
            stored = path.suffix in (".png", ".npz", ".usdz")
            packed.write(path, path.name, compress_type=zipfile.ZIP_STORED if stored else None)
    return archive


def _notes(document: ResultDocument) -> str:
    return warnings_list(document) + camera_sentence(document["camera"]) + scene_sentence(document)


def _existing(path: Path) -> Path | None:
    return path if path.is_file() else None


def _with_name(message: str, upload: Upload | None) -> str:
    """An error in the name of the photo: where an upload lies is nobody's concern."""
    return message if upload is None else message.replace(str(upload.path), upload.name)


def _log(error: Exception) -> None:
    sys.stderr.write("".join(traceback.format_exception(error)))
