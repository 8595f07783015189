"""Text on pictures: the font, and labels that keep out of each other's way."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

from PIL import ImageDraw, ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
Box = tuple[float, float, float, float]
"""left, top, right, bottom in pixels."""

_PADDING = 4
_LABEL_FILL = (18, 20, 24, 185)


@lru_cache
def font(size_px: int) -> Font:
    """The font that comes with Pillow, so that no file has to be found. It knows Latin-1 but neither − nor ×."""
    return ImageFont.load_default(size_px)


def text_size(text: str, face: Font) -> tuple[int, int]:
    """Width of a line and height of any line, pixels."""
    left, _, right, _ = face.getbbox(text)
    _, top, _, bottom = face.getbbox("Ágj|")
    return round(right - left) + 1, round(bottom - top) + 1


def draw_line(draw: ImageDraw.ImageDraw, xy: tuple[float, float], text: str, face: Font, color: str) -> None:
    """One line of text; ``xy`` is the top left corner of its box (see :func:`text_size`)."""
    left, _, _, _ = face.getbbox(text)
    _, top, _, _ = face.getbbox("Ágj|")
    draw.text((xy[0] - left, xy[1] - top), text, font=face, fill=color)


def wrap(text: str, face: Font, width: int) -> list[str]:
    """Lines no wider than ``width`` pixels (a single word may be), broken at spaces."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and text_size(longer, face)[0] <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def overlap(a: Box, b: Box) -> bool:
    """Whether two boxes share any area."""
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


class Labels:
    """Boxes of text beside things in a picture: none over another, nor over what is to stay in sight."""

    def __init__(
        self, draw: ImageDraw.ImageDraw, width: int, height: int, *, size_px: int, in_sight: Iterable[Box] = ()
    ) -> None:
        self._draw = draw
        self._width, self._height = width, height
        self._font = font(size_px)
        self._taken = list(in_sight)

    def add(self, thing: Box, color: tuple[int, int, int], texts: Sequence[Sequence[str]]) -> None:
        """Label ``thing`` with the first of ``texts`` (sequences of lines) that finds room: above it, else around.

        Where none does, the last one is put above, over what is there: better a crowded label than a lost one.
        """
        for lines in texts:
            for box in self._places(thing, self._size(lines)):
                if not any(overlap(box, other) for other in self._taken):
                    self._put(box, color, lines)
                    return
        self._put(self._places(thing, self._size(texts[-1]))[0], color, texts[-1])

    def _size(self, lines: Sequence[str]) -> tuple[int, int]:
        sizes = [text_size(line, self._font) for line in lines]
        return max(w for w, _ in sizes) + 3 * _PADDING, sum(h for _, h in sizes) + 2 * _PADDING

    def _places(self, thing: Box, size: tuple[int, int]) -> list[Box]:
        """Boxes of the given size in order of preference, all inside the picture."""
        left, top, right, bottom = thing
        width, height = size
        middle, gap = (left + right - width) / 2, 4
        above, beside = top - height - gap, top + 0.1 * (bottom - top)
        lower = [top + share * (bottom - top) for share in (0.3, 0.45, 0.6, 0.75)]
        corners = [
            (middle, above),
            (right + gap, beside),
            (left - width - gap, beside),
            (right - width / 2, above),
            (left - width / 2, above),
            *((middle, y) for y in lower),
            (middle, bottom + gap),
            (middle, above - height - gap),
        ]
        inside = [
            (min(max(x, 2), self._width - width - 3), min(max(y, 2), self._height - height - 3)) for x, y in corners
        ]
        return [(x, y, x + width, y + height) for x, y in inside]

    def _put(self, box: Box, color: tuple[int, int, int], lines: Sequence[str]) -> None:
        self._taken.append(box)
        left, top, _, bottom = box
        self._draw.rectangle(box, fill=_LABEL_FILL)
        self._draw.rectangle((left, top, left + _PADDING - 1, bottom), fill=color)
        y = top + _PADDING
        for line in lines:
            draw_line(self._draw, (left + 2 * _PADDING, y), line, self._font, "white")
            y += text_size(line, self._font)[1]
