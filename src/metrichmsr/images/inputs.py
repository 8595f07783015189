"""What the user named (files, folders, patterns, videos) as a stream of pictures to read.

Nothing is read before its turn, and what cannot be used stands in the stream as an item that says why, so the others
are done.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from metrichmsr.errors import InputError
from metrichmsr.images.media import kind_by_name, kind_of_file
from metrichmsr.images.natural_order import natural
from metrichmsr.images.photo import MAX_PIXELS, Photo
from metrichmsr.images.reading import read_image
from metrichmsr.images.stems import StemNamer
from metrichmsr.images.video import check_frame_numbers, count_frames, iter_frames


@dataclass(frozen=True, kw_only=True)
class InputItem:
    """One picture to do, not yet read; or something named that is no picture."""

    path: Path
    """The file, for a video frame the video."""
    stem: str
    """Name of the result's folder, unique in the stream: the file's stem (for a frame, ``<stem>_000012``), with ``_2``,
    ``_3``… where it repeats."""
    read: Callable[[], Photo]
    """Reads the picture; raises :class:`InputError` where that is not possible."""
    frame: int | None = None
    """Number of the frame in a video."""
    error: InputError | None = None
    """Known beforehand to be unusable, and why; ``read`` raises the same."""


def iter_inputs(
    inputs: Sequence[str | Path],
    *,
    recursive: bool = False,
    every: int = 1,
    max_frames: int | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Iterator[InputItem]:
    """All pictures the inputs stand for, in order, one at a time.

    - A file is taken as it is; whether image or video, its content says, then its suffix.
    - A folder gives the images and videos in it, by suffix, in natural order (``img2`` before ``img10``); hidden files
      and everything else are passed over.
    - A pattern (``*``, ``?``, ``[…]``, ``**``) that is not the name of a file is expanded here, so it may be quoted.
    - A video gives its frames.

    A file named twice is done once. An empty folder, a pattern without a match or a missing file is an item with an
    error, like a video that cannot be opened; damage further inside a video is an item after its good frames.

    Args:
        inputs: what the user named.
        recursive: look into subfolders too.
        every: every n-th frame of videos.
        max_frames: at most so many frames of each video.
        max_pixels: larger pictures are refused when they are read.

    Raises:
        UsageError: ``every`` or ``max_frames`` is below 1.
    """
    check_frame_numbers(every, max_frames)
    return _items(inputs, recursive, every, max_frames, max_pixels)


def _items(
    inputs: Sequence[str | Path], recursive: bool, every: int, max_frames: int | None, max_pixels: int
) -> Iterator[InputItem]:
    name, video_name = StemNamer(), StemNamer()
    for path, error in _files(inputs, recursive):
        if error is not None:
            yield _failed(path, name(path.stem or "input"), error)
        elif kind_of_file(path) == "video":
            yield from _video_items(path, video_name(path.stem), name, every, max_frames, max_pixels)
        else:
            yield InputItem(path=path, stem=name(path.stem), read=_reader(path, max_pixels))


def count_inputs(
    inputs: Sequence[str | Path], *, recursive: bool = False, every: int = 1, max_frames: int | None = None
) -> int | None:
    """How many items :func:`iter_inputs` will give, without reading a picture; None where a video does not tell.

    For videos it is what their header states, and may be off by a few frames.

    Raises:
        UsageError: ``every`` or ``max_frames`` is below 1.
    """
    check_frame_numbers(every, max_frames)
    total = 0
    for path, error in _files(inputs, recursive):
        if error is not None or kind_of_file(path) != "video":
            total += 1
            continue
        try:
            frames = count_frames(path)
        except InputError:
            frames = 1  # the item with the error
        if frames is None:
            return None
        frames = -(-frames // every)
        total += frames if max_frames is None else min(frames, max_frames)
    return total


def _video_items(
    path: Path, stem: str, name: StemNamer, every: int, max_frames: int | None, max_pixels: int
) -> Iterator[InputItem]:
    try:
        for frame in iter_frames(path, every=every, max_frames=max_frames, max_pixels=max_pixels):
            photo = Photo(rgb=frame.rgb, path=path)
            frame_stem = name(f"{stem}_{frame.index:06d}")
            yield InputItem(path=path, stem=frame_stem, read=_already(photo), frame=frame.index)
    except InputError as error:
        yield _failed(path, name(stem), error)


def _files(inputs: Sequence[str | Path], recursive: bool) -> Iterator[tuple[Path, InputError | None]]:
    """Every file once, in order; what stands for none, with the reason."""
    seen: set[str] = set()
    for given in inputs:
        found = _expand(os.path.expanduser(given), recursive)
        if isinstance(found, InputError):
            yield Path(given), found
            continue
        for path in found:
            key = os.path.abspath(path)
            if key not in seen:
                seen.add(key)
                yield path, None


def _expand(given: str, recursive: bool) -> list[Path] | InputError:
    path = Path(given)
    if not given:
        return InputError("'': an input without a name")
    try:
        if path.is_dir():
            return _in_folder(path, recursive)
        if path.exists():
            return [path]
    except (OSError, ValueError) as error:
        return InputError(f"{given}: cannot be read ({getattr(error, 'strerror', None) or error})")
    if not glob.has_magic(given):
        return InputError(f"{given}: no such file or folder")
    matches = [Path(match) for match in sorted(glob.glob(given, recursive=True), key=natural)]
    files = [match for match in matches if match.is_file()]
    # As in folders, notes and sidecars that a wide pattern catches are passed over; a pattern for nothing but unusual
    # names means them.
    files = [file for file in files if kind_by_name(file)] or files
    if files:
        return files
    return InputError(f"{given}: no file matches this pattern")


def _in_folder(folder: Path, recursive: bool) -> list[Path] | InputError:
    found: list[Path] = []
    subfolders = False
    problem: list[OSError] = []
    for here, folders, names in os.walk(folder, onerror=problem.append):
        folders[:] = sorted((name for name in folders if not name.startswith(".")), key=natural)
        subfolders = subfolders or bool(folders)
        if not recursive:
            folders.clear()
        names = [name for name in names if not name.startswith(".") and kind_by_name(Path(name))]
        found += [Path(here, name) for name in sorted(names, key=natural)]
    if problem and not found:
        return InputError(f"{folder}: cannot be read ({problem[0].strerror})")
    if not found:
        inside = f"; for its subfolders give '{folder}/**'" if subfolders and not recursive else ""
        return InputError(f"{folder}: no images or videos in this folder{inside}")
    return found


def _reader(path: Path, max_pixels: int) -> Callable[[], Photo]:
    return lambda: read_image(path, max_pixels=max_pixels)


def _already(photo: Photo) -> Callable[[], Photo]:
    return lambda: photo


def _failed(path: Path, stem: str, error: InputError) -> InputItem:
    def read() -> Photo:
        raise error

    return InputItem(path=path, stem=stem, read=read, error=error)
