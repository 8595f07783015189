"""Files and folders that appear under their final name only when they are complete.

Everything is written under a hidden temporary name in the same folder and renamed at the end: a run killed half-way
leaves finished results whole and no half-written file under a final name.
"""

from __future__ import annotations

import glob
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from metrichmsr.errors import MetricHMSRError

_STALE_AFTER_S = 24 * 3600.0


class OutputError(MetricHMSRError):
    """A file or folder that cannot be written; the message names it and the cause."""


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """A temporary path in the folder of ``path`` that becomes ``path`` when the block ends without an error.

    The suffix is kept, for writers that choose the format by it. Where the block raises, nothing remains and an older
    file under the final name is untouched.
    """
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(4)}{path.suffix}")
    try:
        temporary.touch()
        mode = temporary.stat().st_mode
        temporary.unlink()
        yield temporary
        temporary.chmod(mode)  # safetensors gives its files to their owner alone
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def atomic_folder(folder: Path, *, is_ours: Callable[[str], bool]) -> Iterator[Path]:
    """An empty hidden sibling of ``folder`` that takes its place when the block ends without an error.

    Args:
        folder: Final name. Its parent must exist.
        is_ours: Tells by name which entries of an older ``folder`` belong to the result and are replaced with it.
            Everything else in there is somebody's own and is carried over to the new folder.

    Raises:
        OutputError: Something that is not a folder has the final name, or a file in it stands in the way.
    """
    folder = Path(os.path.realpath(folder))
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder}: a file stands where the result folder should go")
    _remove_stale_siblings(folder)
    temporary = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.partial")
    temporary.mkdir()
    try:
        yield temporary
        if folder.exists():
            _carry_over(folder, temporary, is_ours)
            _swap(temporary, folder)
        else:
            os.rename(temporary, folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def check_writable(folder: Path) -> None:
    """Make ``folder`` (with its parents) and try to write into it.

    Raises:
        OutputError: Naming the folder and the cause, before any costly work was done.
    """
    probe = folder / f".{secrets.token_hex(4)}.probe"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OutputError(f"{folder}: cannot write here: {error.strerror or error}") from error


def _swap(new: Path, folder: Path) -> None:
    # Two renames: between them the name is free for some microseconds, in which only SIGKILL or a power cut could
    # part them. Even then nothing is lost: the old folder stays beside, as `.<name>.<token>.old`.
    old = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.old")
    os.rename(folder, old)
    try:
        os.rename(new, folder)
    except BaseException:
        os.rename(old, folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _carry_over(old: Path, new: Path, is_ours: Callable[[str], bool]) -> None:
    for entry in sorted(old.iterdir()):
        if is_ours(entry.name) and not (entry.is_dir() and not entry.is_symlink()):
            continue
        target = new / entry.name
        if target.exists():
            raise OutputError(f"{entry}: a folder stands where a result file should go")
        if entry.is_dir() and not entry.is_symlink():
            shutil.copytree(entry, target, symlinks=True, copy_function=_link_or_copy)
        else:
            _link_or_copy(entry, target)


def _link_or_copy(source: str | Path, target: str | Path) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except (OSError, NotImplementedError):  # no hard links on this file system
        shutil.copy2(source, target, follow_symlinks=False)


def _remove_stale_siblings(folder: Path) -> None:
    # What a killed run left. The age keeps the hands off another process that is writing the same result right now.
    now = time.time()
    for leftover in folder.parent.glob(f".{glob.escape(folder.name)}.????????.partial"):
        try:
            if now - leftover.stat().st_mtime > _STALE_AFTER_S:
                shutil.rmtree(leftover, ignore_errors=True)
        except OSError:  # gone meanwhile: another process cleaned up too
            continue
