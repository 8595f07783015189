"""Navigation of the site: the pages that exist, in the order of a newcomer's questions; new ones come last.

A page that is named here and does not exist is left out, one that exists and is not named goes to "More", so that
adding or removing a page never breaks the build.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import Any

sys.path.insert(0, os.path.dirname(__file__))

SECTIONS: dict[str, list[str]] = {
    "Start": ["index.md", "examples.md", "photos.md"],
    "Guides": [
        "calibration.md",
        "stature.md",
        "measurements.md",
        "people.md",
        "scene.md",
        "depth.md",
        "bodies.md",
        "app.md",
        "viewer.md",
        "report.md",
        "export.md",
        "explain.md",
        "onnx.md",
        "rendering.md",
    ],
    "Data and training": ["synthetic.md", "training.md", "weights/*"],
    "Evaluation": ["results.md", "evaluation-real.md"],
    "Reference": ["conventions.md", "architecture.md", "api/*"],
}
TITLES = {
    "index.md": "MetricHMSR",
    "photos.md": "The photos",
    "calibration.md": "The camera: where K comes from",
    "synthetic.md": "SynFocal: synthetic people",
    "results.md": "Results",
    "evaluation-real.md": "On real photos",
}


def navigation(pages: Iterable[str]) -> list[dict[str, Any]]:
    """MkDocs' `nav` of the pages that exist; `folder/*` is all that lies in a folder."""
    left = sorted(pages, key=lambda page: page.removesuffix(".md"))  # a package before its modules
    nav: list[dict[str, Any]] = []
    for section, names in SECTIONS.items():
        entries: list[Any] = []
        for name in names:
            folder = name.removesuffix("*")
            if name.endswith("*"):
                inside = [page for page in left if page.startswith(folder)]
                if inside:
                    entries.append({_FOLDERS[folder]: inside})
            else:
                inside = [page for page in left if page == name]
                entries += [{TITLES[page]: page} if page in TITLES else page for page in inside]
            left = [page for page in left if page not in inside]
        nav += [{section: entries}] if entries else []
    return [*nav, {"More": left}] if left else nav


_FOLDERS = {"weights/": "Cards of the weights", "api/": "Python API"}


def on_files(files: Any, *, config: Any) -> Any:
    """MkDocs' hook, after the one that adds pages."""
    config.nav = navigation(file.src_uri for file in files.documentation_pages())
    return files
