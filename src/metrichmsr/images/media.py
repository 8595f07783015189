"""What is an image and what is a video: by name in folders, by content where a file was named."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

Kind = Literal["image", "video"]

IMAGE_SUFFIXES = frozenset(
    (
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".mpo",
        ".png",
        ".webp",
        ".tif",
        ".tiff",
        ".heic",
        ".heif",
        ".hif",
        ".avif",
        ".bmp",
        ".gif",
        ".jp2",
        ".ppm",
        ".pgm",
    )
)
VIDEO_SUFFIXES = frozenset(
    (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".mts", ".m2ts", ".wmv", ".flv", ".3gp", ".ogv")
)
RAW_SUFFIXES = frozenset(
    (
        ".dng",
        ".cr2",
        ".cr3",
        ".nef",
        ".nrw",
        ".arw",
        ".srf",
        ".sr2",
        ".raf",
        ".orf",
        ".rw2",
        ".pef",
        ".srw",
        ".3fr",
        ".iiq",
    )
)
"""Camera RAW files: TIFFs by their first bytes, with a thumbnail where a TIFF has its picture."""

_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"mif2", b"msf1", b"avif", b"avis"}
_QUICKTIME_ATOMS = {b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"}
_IMAGE_MAGIC = (
    b"\xff\xd8\xff",  # JPEG
    b"\x89PNG\r\n\x1a\n",
    b"GIF8",
    b"BM",
    b"II*\0",  # TIFF, and its two siblings
    b"MM\0*",
    b"II+\0",
    b"MM\0+",
    b"\0\0\0\x0cjP  \r\n\x87\n",  # JPEG 2000
    b"\xffO\xffQ",
    b"P5",
    b"P6",
)
_VIDEO_MAGIC = (
    b"\x1aE\xdf\xa3",  # Matroska, WebM
    b"FLV\x01",
    b"0&\xb2u\x8ef\xcf\x11",  # ASF, WMV
    b"\0\0\x01\xba",  # MPEG program stream
    b"\0\0\x01\xb3",  # MPEG video
    b"OggS",
)


def sniff(head: bytes) -> Kind | None:
    """Kind of a file from its first 512 bytes; None where they tell nothing."""
    if head[4:8] == b"ftyp":
        return "image" if head[8:12] in _HEIF_BRANDS else "video"
    if head[4:8] in _QUICKTIME_ATOMS:
        return "video"
    if head[:4] == b"RIFF":
        return {b"WEBP": "image", b"AVI ": "video"}.get(head[8:12])  # pyright: ignore[reportReturnType]
    if head.startswith(_IMAGE_MAGIC):
        return "image"
    if head.startswith(_VIDEO_MAGIC):
        return "video"
    # MPEG transport stream: a sync byte every 188 bytes, after 4 bytes of time stamp in camcorder files.
    if any(len(head) > start + 376 and head[start : start + 377 : 188] == b"GGG" for start in (0, 4)):
        return "video"
    return None


def kind_by_name(path: Path) -> Kind | None:
    """Kind of a file from its suffix; None where it is neither."""
    suffix = path.suffix.lower()
    if suffix in VIDEO_SUFFIXES:
        return "video"
    return "image" if suffix in IMAGE_SUFFIXES else None


def kind_of_file(path: Path) -> Kind | None:
    """Kind of a file from its content, else from its suffix; what cannot be opened goes by its suffix."""
    try:
        with path.open("rb") as file:
            found = sniff(file.read(512))
    except (OSError, ValueError):
        found = None
    return found or kind_by_name(path)
