"""Photos, folders and videos in; upright 8-bit RGB out, one picture at a time.

| module | concept |
| --- | --- |
| :mod:`~metrichmsr.images.photo` | :class:`Photo`, what every reader gives |
| :mod:`~metrichmsr.images.reading` | a file → Photo: limits, errors, rotation |
| :mod:`~metrichmsr.images.pixels` | any pixel format → 8-bit sRGB |
| :mod:`~metrichmsr.images.exif_tags` | the EXIF tags that tell a focal length |
| :mod:`~metrichmsr.images.arrays` | a NumPy array → Photo |
| :mod:`~metrichmsr.images.video` | a video → its frames, as a stream |
| :mod:`~metrichmsr.images.media` | what is an image, what is a video |
| :mod:`~metrichmsr.images.inputs` | what the user named → pictures, as a stream |
| :mod:`~metrichmsr.images.natural_order` | ``walk_2`` before ``walk_10`` |
| :mod:`~metrichmsr.images.stems` | names of result folders, none twice |
"""

from metrichmsr.images.arrays import from_array
from metrichmsr.images.exif_tags import ExifTags
from metrichmsr.images.inputs import InputItem, count_inputs, iter_inputs
from metrichmsr.images.photo import MAX_PIXELS, MIN_SIDE, Photo
from metrichmsr.images.reading import read_image
from metrichmsr.images.stems import StemNamer, unique_stems
from metrichmsr.images.video import VideoFrame, count_frames, iter_frames

__all__ = [
    "MAX_PIXELS",
    "MIN_SIDE",
    "ExifTags",
    "InputItem",
    "Photo",
    "StemNamer",
    "VideoFrame",
    "count_frames",
    "count_inputs",
    "from_array",
    "iter_frames",
    "iter_inputs",
    "read_image",
    "unique_stems",
]
