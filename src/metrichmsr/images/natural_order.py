"""The order in which people number files: ``walk_2`` before ``walk_10``."""

from __future__ import annotations

import re


def natural(name: str) -> tuple[list[tuple[int, int, str]], str]:
    """Sort key that orders numbers inside names by value; names that differ in case only have one order too."""
    parts = re.split(r"(\d+)", name.casefold())
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part], name
