"""Videos as a stream of upright RGB frames; one frame is in memory at a time. Needs PyAV (extra ``video``)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import UInt8

from metrichmsr.errors import InputError, UsageError
from metrichmsr.images.photo import MAX_PIXELS, check_size

if TYPE_CHECKING:
    from av import VideoFrame as AvFrame
    from av.container import InputContainer
    from av.video.stream import VideoStream


@dataclass(frozen=True, eq=False)
class VideoFrame:
    """One frame of a video."""

    rgb: UInt8[np.ndarray, "H W 3"] = field(repr=False)
    """Upright pixels with square shape, own memory of this record."""
    index: int
    """Number of the frame in the video, from 0, counted whether or not frames before it were asked for."""
    time_s: float
    """Seconds since the beginning of the video."""


def iter_frames(
    path: str | Path,
    *,
    every: int = 1,
    start: float | None = None,
    end: float | None = None,
    max_frames: int | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Iterator[VideoFrame]:
    """Frames of a video, one after the other.

    The rotation a phone wrote beside the video is applied, and pixels that are not square are made so by widening.
    Frames before ``start`` are decoded too, so that ``index`` is exact, but not converted.

    Args:
        path: the file.
        every: give every n-th frame (indices 0, n, 2n, …).
        start: leave out frames before this time, seconds.
        end: stop at this time, seconds; a frame exactly at it is left out.
        max_frames: stop after so many.
        max_pixels: larger frames are refused.

    Raises:
        InputError: there is no such file, it is not a video or damaged, or PyAV is not installed. Frames before the
            damage have been given by then.
        UsageError: the numbers make no sense.
    """
    check_frame_numbers(every, max_frames)
    if start is not None and end is not None and not start < end:
        raise UsageError(f"start must come before end, not {start} and {end}")
    return _frames(Path(path), every, start or -math.inf, end or math.inf, max_frames, max_pixels)


def check_frame_numbers(every: int, max_frames: int | None) -> None:
    """Refuse what asks for no frame at all.

    Raises:
        UsageError: one of them is below 1.
    """
    for name, value in (("every", every), ("max-frames", max_frames)):
        if value is not None and value < 1:
            raise UsageError(f"--{name} must be at least 1, not {value}")


def count_frames(path: str | Path) -> int | None:
    """Number of frames as the file states it, or from its length and frame rate; None where it states neither.

    Raises:
        InputError: as :func:`iter_frames`.
    """
    with _opened(Path(path)) as (container, stream):
        if stream.frames:
            return stream.frames
        seconds = None
        if stream.duration and stream.time_base:
            seconds = float(stream.duration * stream.time_base)
        elif container.duration:
            seconds = container.duration / 1e6
        return None if seconds is None or not stream.average_rate else round(seconds * float(stream.average_rate))


def frame_rate(path: str | Path) -> float | None:
    """Frames a second, on average, as the file states them; None where it does not.

    Raises:
        InputError: as :func:`iter_frames`.
    """
    with _opened(Path(path)) as (_, stream):
        return float(stream.average_rate) if stream.average_rate else None


def _frames(
    path: Path, every: int, start: float, end: float, max_frames: int | None, max_pixels: int
) -> Iterator[VideoFrame]:
    av = _import_av(path)
    given, index = 0, -1
    with _opened(path) as (container, stream):
        rate = float(stream.average_rate or stream.guessed_rate or 25)
        decoded = iter(container.decode(stream))
        while True:
            try:
                frame = next(decoded)
            except StopIteration:
                break
            except av.FFmpegError as error:
                what = "not a video that can be read" if index < 0 else f"damaged after frame {index}"
                raise InputError(f"{path}: {what} ({_cause(error)})") from error
            index += 1
            time_s = _time(frame, stream, index / rate)
            if time_s >= end:
                break
            if index % every or time_s < start:
                continue
            check_size(frame.width, frame.height, name=path, max_pixels=max_pixels)
            yield VideoFrame(rgb=_upright(frame, stream), index=index, time_s=time_s)
            given += 1
            if given == max_frames:
                break
    if index < 0:
        raise InputError(f"{path}: no frame of this video can be decoded")


def _time(frame: AvFrame, stream: VideoStream, fallback: float) -> float:
    if frame.pts is None or frame.time_base is None:
        return fallback
    return float((frame.pts - (stream.start_time or 0)) * frame.time_base)


def _upright(frame: AvFrame, stream: VideoStream) -> UInt8[np.ndarray, "H W 3"]:
    aspect = stream.sample_aspect_ratio
    if aspect and aspect != 1:
        frame = frame.reformat(width=round(frame.width * float(aspect)), height=frame.height, format="rgb24")
    rgb = frame.to_ndarray(format="rgb24")
    return np.array(np.rot90(rgb, k=round(_rotation_deg(frame) / 90) % 4), order="C")


def _rotation_deg(frame: Any) -> float:
    """Degrees, counter-clockwise, that bring a frame upright: what phones write instead of turning the pixels."""
    if hasattr(frame, "rotation"):  # PyAV 15 and newer
        return frame.rotation
    for data in frame.side_data:
        if data.type.name == "DISPLAYMATRIX":  # 3×3, fixed point, the first row (cos, sin, …) of the inverse turn
            cosine, sine = np.frombuffer(data, dtype="<i4")[:2]
            return -math.degrees(math.atan2(sine, cosine))
    return 0.0


@contextmanager
def _opened(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    av = _import_av(path)
    if path.is_dir():
        raise InputError(f"{path}: is a folder, not a video")
    if not path.exists():
        raise InputError(f"{path}: no such file")
    try:
        if path.stat().st_size == 0:
            raise InputError(f"{path}: the file is empty")
        # As a file, never as the address of something in a network.
        container = av.open(f"file:{path}", mode="r")
    except (av.FFmpegError, OSError, ValueError) as error:
        raise InputError(f"{path}: not a video that can be read ({_cause(error)})") from error
    with container:
        if not container.streams.video:
            raise InputError(f"{path}: has no pictures in it, only sound or data")
        stream = container.streams.video[0]
        if stream.codec_context is None:  # old PyAV crashes on such a stream
            raise InputError(f"{path}: not a video that can be read (no decoder for it)")
        stream.codec_context.thread_type = "AUTO"
        yield container, stream


def _import_av(path: Path) -> Any:
    try:
        import av
    except ImportError:
        raise InputError(f"{path}: videos need PyAV: pip install 'metrichmsr[video]'") from None
    return av


def _cause(error: BaseException) -> str:
    return " ".join(str(getattr(error, "strerror", None) or error).split())
