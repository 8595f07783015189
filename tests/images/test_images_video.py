"""Videos as streams: order, times, rotation, damage; and their place among other inputs."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from metrichmsr.errors import InputError, UsageError
from metrichmsr.images import count_frames, count_inputs, iter_frames, iter_inputs

av = pytest.importorskip("av")

RATE = 10
LEVELS = [20 + 8 * i for i in range(20)]  # frame i is this grey, with a white patch top left


def write_video(
    path: Path,
    *,
    width: int = 96,
    height: int = 64,
    frames: int = 20,
    rotation: int = 0,
    aspect: tuple[int, int] = (1, 1),
) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.bit_rate = 4_000_000
        if aspect != (1, 1):
            from fractions import Fraction

            stream.codec_context.sample_aspect_ratio = Fraction(*aspect)
        if rotation:
            stream.set_display_rotation(rotation)
        for i in range(frames):
            rgb = np.full((height, width, 3), LEVELS[i % len(LEVELS)], np.uint8)
            rgb[: height // 3, : width // 3] = 255
            for packet in stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    return write_video(tmp_path_factory.mktemp("video") / "clip.mp4")


def level(rgb: np.ndarray) -> float:
    """Grey of the lower half, away from the patch."""
    return float(rgb[rgb.shape[0] // 2 :, rgb.shape[1] // 2 :].mean())


def test_every_frame_in_order_with_its_time(clip):
    frames = list(iter_frames(clip))
    assert [frame.index for frame in frames] == list(range(20))
    np.testing.assert_allclose([frame.time_s for frame in frames], np.arange(20) / RATE, atol=1e-6)
    np.testing.assert_allclose([level(frame.rgb) for frame in frames], LEVELS, atol=4)
    assert frames[0].rgb.shape == (64, 96, 3)
    assert frames[0].rgb.dtype == np.uint8
    assert frames[0].rgb.flags.writeable
    assert count_frames(clip) == 20


@pytest.mark.parametrize(
    ("options", "indices"),
    [
        ({"every": 6}, [0, 6, 12, 18]),
        ({"start": 1.5}, [15, 16, 17, 18, 19]),
        ({"end": 0.3}, [0, 1, 2]),
        ({"start": 0.5, "end": 0.8}, [5, 6, 7]),
        ({"max_frames": 2}, [0, 1]),
        ({"every": 3, "start": 0.4, "max_frames": 2}, [6, 9]),
        ({"start": 99.0}, []),
    ],
)
def test_parts_of_a_video(clip, options, indices):
    frames = list(iter_frames(clip, **options))
    assert [frame.index for frame in frames] == indices
    np.testing.assert_allclose([level(frame.rgb) for frame in frames], [LEVELS[i] for i in indices], atol=4)


def test_frames_come_as_a_stream(clip):
    stream = iter_frames(clip)
    assert next(stream).index == 0
    stream.close()  # and the file with it


@pytest.mark.skipif(not hasattr(av.video.stream.VideoStream, "set_display_rotation"), reason="PyAV cannot write it")
@pytest.mark.parametrize(
    ("rotation", "shape", "corner"), [(90, (96, 64), "bl"), (-90, (96, 64), "tr"), (180, (64, 96), "br")]
)
def test_rotation_metadata_is_honoured(tmp_path, rotation, shape, corner):
    """The stored patch is top left; a display matrix that turns by 90° counter-clockwise shows it bottom left."""
    frame = next(iter_frames(write_video(tmp_path / "turned.mp4", rotation=rotation)))
    assert frame.rgb.shape[:2] == shape
    h, w = shape
    corners = {"tl": (4, 4), "tr": (4, w - 5), "bl": (h - 5, 4), "br": (h - 5, w - 5)}
    bright = [name for name, (row, column) in corners.items() if frame.rgb[row, column].min() > 200]
    assert bright == [corner]


def test_pixels_that_are_not_square_are_made_so(tmp_path):
    frame = next(iter_frames(write_video(tmp_path / "wide.mkv", aspect=(4, 3))))
    assert frame.rgb.shape == (64, 128, 3)


def fails(path, **options) -> str:
    with pytest.raises(InputError) as caught:
        list(iter_frames(path, **options))
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


def test_what_is_no_video(tmp_path, clip):
    assert "no such file" in fails(tmp_path / "missing.mp4")
    assert "is a folder" in fails(tmp_path)
    (tmp_path / "empty.mp4").touch()
    assert "is empty" in fails(tmp_path / "empty.mp4")
    (tmp_path / "text.mp4").write_text("no video at all")
    assert "not a video" in fails(tmp_path / "text.mp4")
    # The index of an MP4 stands at its end.
    (tmp_path / "cut.mp4").write_bytes(clip.read_bytes()[:-600])
    assert "not a video that can be read" in fails(tmp_path / "cut.mp4")
    assert "above the limit" in fails(clip, max_pixels=1000)


def test_sound_alone_is_no_video(tmp_path):
    path = tmp_path / "sound.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        for packet in [*stream.encode(frame), *stream.encode()]:
            container.mux(packet)
    assert "only sound" in fails(path)


def test_options_that_make_no_sense(clip):
    for options in ({"every": 0}, {"max_frames": 0}, {"start": 2.0, "end": 1.0}):
        with pytest.raises(UsageError):
            iter_frames(clip, **options)


def test_without_pyav_the_message_says_how_to_get_it(clip, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    assert "pip install 'metrichmsr[video]'" in fails(clip)


def test_videos_among_the_inputs(tmp_path, clip):
    from PIL import Image

    folder = tmp_path / "mixed"
    folder.mkdir()
    Image.new("RGB", (32, 24)).save(folder / "clip.png")
    (folder / "clip.mp4").write_bytes(clip.read_bytes())
    (folder / "broken.mp4").write_text("no video")
    items = list(iter_inputs([folder], every=8))
    assert [(item.stem, item.frame) for item in items] == [
        ("broken", None),
        ("clip_000000", 0),
        ("clip_000008", 8),
        ("clip_000016", 16),
        ("clip", None),
    ]
    assert "not a video" in str(items[0].error)
    photo = items[2].read()
    assert photo.path == folder / "clip.mp4"
    assert level(photo.rgb) == pytest.approx(LEVELS[8], abs=4)
    assert count_inputs([folder], every=8) == 5
    assert count_inputs([folder], every=8, max_frames=2) == 4


def test_memory_does_not_grow_with_the_video(tmp_path):
    import tracemalloc

    def peak(frames: int) -> int:
        path = write_video(tmp_path / f"{frames}.mp4", width=320, height=240, frames=frames)
        next(iter_frames(path))
        tracemalloc.start()
        for item in iter_inputs([path]):
            item.read()
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    assert peak(60) < peak(10) + 320 * 240 * 3


def test_two_videos_of_the_same_name_keep_their_frames_apart(tmp_path, clip):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "clip.mp4").write_bytes(clip.read_bytes())
    items = iter_inputs([tmp_path / "a", tmp_path / "b"], every=10)
    assert [item.stem for item in items] == ["clip_000000", "clip_000010", "clip_2_000000", "clip_2_000010"]


def test_damage_inside_a_video_comes_after_its_good_frames(tmp_path, monkeypatch, clip):
    """FFmpeg conceals most damage; what it gives up on must not cost the frames before."""
    frames = list(iter_frames(clip, max_frames=3))

    def damaged(*_args, **_kwargs):
        yield from frames
        raise InputError(f"{clip}: damaged after frame 2 (Invalid data found when processing input)")

    monkeypatch.setattr("metrichmsr.images.inputs.iter_frames", damaged)
    items = list(iter_inputs([clip]))
    assert [item.frame for item in items] == [0, 1, 2, None]
    with pytest.raises(InputError, match="damaged after frame 2"):
        items[3].read()
