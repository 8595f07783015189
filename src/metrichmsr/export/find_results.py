"""Where the result folders are: whatever takes results as arguments asks here."""

from __future__ import annotations

from pathlib import Path

from metrichmsr.errors import InputError
from metrichmsr.images.natural_order import natural

RESULT = "result.json"
"""Makes a folder a result's."""


def find_result_folders(path: str | Path) -> list[Path]:
    """The results that a path stands for.

    Args:
        path: a result's folder or its ``result.json``, or a folder of results, as ``recover --out`` fills it.

    Returns:
        Their folders, in natural order of names; hidden ones (unfinished) are left out.

    Raises:
        InputError: there is nothing, or no result; names the path.
    """
    path = Path(path)
    if path.is_dir():
        if (path / RESULT).is_file():
            return [path]
        inside = [file.parent for file in path.glob(f"*/{RESULT}") if not file.parent.name.startswith(".")]
        if not inside:
            raise InputError(
                f"{path}: no result in this folder (no {RESULT}, neither here nor one level below); "
                "make one with: metrichmsr recover PHOTO --out FOLDER"
            )
        return sorted(inside, key=lambda folder: natural(folder.name))
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    if path.name != RESULT:
        raise InputError(f"{path}: not a result; give its folder, or the {RESULT} in it")
    return [path.parent]
