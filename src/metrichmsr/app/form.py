"""What the user says on the page, and the options of the recovery that follow from it.

Nothing typed here is ever taken for a path: :class:`~metrichmsr.recover.RecoverOptions` would read a file that its
``height`` names, so statures are read here, number by number.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, get_args

from metrichmsr.errors import UsageError
from metrichmsr.recover import RecoverOptions, parse_heights

FocalKind = Literal["unknown", "pixels", "35mm", "fov"]
Who = Literal["anybody", "adults", "children"]

_FOCAL_OPTION: Mapping[FocalKind, str] = {"pixels": "focal_px", "35mm": "focal_35mm", "fov": "fov"}

_NUMBER = r"\d{1,3}(?:[.,]\d{1,4})?"
_ONE = re.compile(rf"\s*({_NUMBER})\s*(m|cm)?\s*", re.ASCII | re.IGNORECASE)
_BY_ID = re.compile(rf"\s*(\d{{1,4}})\s*[:=]\s*({_NUMBER})\s*(m|cm)?\s*", re.ASCII | re.IGNORECASE)
# Between people: a comma, a semicolon or a line; a comma within a number has no blank behind it.
_BETWEEN = re.compile(r";|\n|,(?=\s*\d+\s*[:=])")


@dataclass(frozen=True)
class Form:
    """The page's fields as they were left."""

    people: str = "anybody"
    """Who is in the picture: ``anybody``, ``adults`` or ``children``."""
    statures: str = ""
    """Known statures: nothing, one number, or ``0: 1.82, 1: 1.65`` by number of the person."""
    focal_kind: str = "unknown"
    """How the focal length is told: ``unknown``, ``pixels``, ``35mm`` or ``fov``."""
    focal_value: float | None = None
    """Pixels, millimetres or degrees."""
    depth: bool = True
    """Whether the surroundings are wanted."""
    faces: bool = True
    """Whether faces may tell of stature and build."""

    def options(self, base: RecoverOptions) -> RecoverOptions:
        """The options of this recovery: ``base`` with what the page says.

        Raises:
            UsageError: a field makes no sense.
        """
        if self.people not in get_args(Who):
            raise UsageError("who is in the picture: choose anybody, adults or children")
        changes: dict[str, object] = {"people": self.people, "height": read_statures(self.statures)}
        if self.focal_kind != "unknown":
            changes |= {"focal_px": None, "focal_35mm": None, "fov": None, "intrinsics": None}
            changes[self._focal_option()] = self._focal()
        if not self.depth:
            changes["depth"] = "none"
        if not self.faces:
            changes["faces"] = False
        options = replace(base, **changes)  # pyright: ignore[reportArgumentType]
        from metrichmsr.calibration.options import check_options  # late: its neighbours need torch

        check_options(options)
        return options

    def _focal_option(self) -> str:
        for kind, option in _FOCAL_OPTION.items():
            if self.focal_kind == kind:
                return option
        raise UsageError("focal length: choose not known, pixels, 35 mm equivalent or field of view")

    def _focal(self) -> float:
        value = self.focal_value
        if value is None:
            raise UsageError("focal length: give its value, or choose 'not known'")
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise UsageError("focal length: its value must be a number")
        return float(value)


def read_statures(text: str) -> str | None:
    """Statures as typed, in the form that the recovery takes: metres, or JSON of metres by number of the person.

    Metres (``1.82``, ``1,82 m``) or centimetres (``182 cm``); for several people ``0: 1.82, 1: 165 cm``.

    Raises:
        UsageError: it is neither, or no human is so tall.
    """
    if not isinstance(text, str) or len(text) > 2000:
        raise UsageError("known stature: not a text of this length")
    if not text.strip():
        return None
    if one := _ONE.fullmatch(text):
        height = f"{_metres(one[1], one[2]):g}"
    else:
        by_id: dict[str, float] = {}
        for part in [part for part in _BETWEEN.split(text) if part.strip(" ,")] or [text]:
            found = _BY_ID.fullmatch(part.strip(" ,"))
            if found is None:
                raise UsageError(
                    f"known stature: cannot read {part.strip()[:40]!r}; write metres, as in 1.82, or by the number "
                    "of the person, as in 0: 1.82, 1: 1.65"
                )
            person = str(int(found[1]))
            if person in by_id:
                raise UsageError(f"known stature: person {person} is named twice")
            by_id[person] = _metres(found[2], found[3])
        height = json.dumps(by_id)
    parse_heights(height)
    return height


def _metres(number: str, unit: str | None) -> float:
    value = float(number.replace(",", "."))
    return value / 100 if (unit or "").lower() == "cm" else value
