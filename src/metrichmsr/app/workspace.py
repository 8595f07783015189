"""The app's temporary folder: uploads and results lie in it until they are replaced, grow old or the app ends."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

KEEP_S = 3600
"""Uploads and results older than this are removed, whether the page is still open or not."""


@dataclass(frozen=True)
class Upload:
    """A photo that came through the page."""

    path: Path
    """Where it lies: a name that the app gave."""
    name: str
    """What its owner calls it. For reading only: it never becomes a path."""


@dataclass(frozen=True)
class Held:
    """What belongs to a session until its next run."""

    run: Path | None = None
    """Folder of its result."""
    upload: Path | None = None
    """The photo of it."""


class Workspace:
    """A folder of its own under the system's temporary one.

    Args:
        parent: where it is made (default: the system's temporary folder).
    """

    def __init__(self, parent: Path | None = None) -> None:
        # Readable by this user alone (mode 0700).
        self.root = Path(os.path.realpath(tempfile.mkdtemp(prefix="metrichmsr-app-", dir=parent)))
        self._runs = self.root / "runs"
        self._runs.mkdir()
        self._users: Counter[Path] = Counter()
        self._lock = threading.Lock()

    def new_run(self) -> Path:
        """An empty folder for a result, under a name that nobody can guess."""
        self.sweep()
        folder = self._runs / secrets.token_hex(16)
        folder.mkdir()
        return folder

    def hold(self, run: Path | None, upload: Path | None) -> Held:
        """Note that a session needs these."""
        with self._lock:
            if upload is not None:
                self._users[upload] += 1
        return Held(run, upload)

    def release(self, held: Held | None) -> None:
        """Remove what a session held; an upload stays while another session holds the very same picture."""
        if held is None:
            return
        if held.run is not None and self.owns(held.run):
            shutil.rmtree(held.run, ignore_errors=True)
        if held.upload is None:
            return
        with self._lock:
            self._users[held.upload] -= 1
            if self._users[held.upload] > 0:
                return
            del self._users[held.upload]
        if self.owns(held.upload):
            with contextlib.suppress(OSError):
                held.upload.unlink()

    def owns(self, path: Path) -> bool:
        """Whether a path lies in this folder, links followed."""
        real = Path(os.path.realpath(path))
        return real != self.root and real.is_relative_to(self.root)

    def sweep(self) -> None:
        """Remove results that have grown old."""
        now = time.time()
        for folder in self._runs.iterdir():
            with contextlib.suppress(OSError):
                if now - folder.stat().st_mtime > KEEP_S:
                    shutil.rmtree(folder, ignore_errors=True)

    def size_bytes(self) -> int:
        """Bytes of all files in it."""
        total = 0
        for folder, _, names in os.walk(self.root):
            for name in names:
                with contextlib.suppress(OSError):
                    total += os.lstat(os.path.join(folder, name)).st_size
        return total

    def close(self) -> None:
        """Remove everything."""
        shutil.rmtree(self.root, ignore_errors=True)
