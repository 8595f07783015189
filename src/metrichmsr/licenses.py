"""The verb ``licenses``: under which terms each part comes.

Nothing is retyped here that is stated elsewhere: shipped weights are read from their cards, dependencies from their
own installed metadata.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageMetadata, PackageNotFoundError, metadata, requires

from metrichmsr.weights import list_weights


@dataclass(frozen=True)
class Component:
    """A part and its terms."""

    group: str
    """``package``, ``shipped``, ``dependency`` (installed with the package), ``optional``, ``models``, ``yours``."""
    name: str
    licence: str
    note: str = ""


# Depth models of others that can be used where the user has installed them (docs/depth.md). Terms as their repositories
# and model pages stated them in November 2026; weights can have other terms than the code.
_MODELS = tuple(
    Component("models", name, licence, note)
    for name, licence, note in (
        ("MapAnything", "Apache-2.0", "code and facebook/map-anything-apache; facebook/map-anything: CC BY-NC 4.0"),
        ("MoGe-2", "MIT", "code; its DINOv2 part Apache-2.0; weights: see their pages"),
        ("Depth Anything V2 Small", "Apache-2.0", ""),
        ("Depth Anything V2 Base, Large, Giant", "CC BY-NC 4.0", "as its repository says; not for commerce"),
        ("Depth Pro", "Apple's model licence for research (apple-amlr)", "weights apple/DepthPro-hf; not for commerce"),
        ("ZoeDepth", "not verified", "see the page of the model"),
        ("Depth Anything 3", "Apache-2.0", "code, DA3METRIC-LARGE, DA3MONO-LARGE, DA3-BASE, DA3-SMALL"),
        ("Depth Anything 3 Large, Giant, Nested", "CC BY-NC 4.0", "not for commerce"),
    )
)

# Files only the user can get, and that never come with this package.
_YOURS = (
    Component(
        "yours",
        "SMPL, SMPL-H, SMPL-X files",
        "Max Planck Society's own licence",
        "non-commercial research unless bought; register at smpl.is.tue.mpg.de, mano.is.tue.mpg.de, "
        "smpl-x.is.tue.mpg.de",
    ),
)


def components() -> tuple[Component, ...]:
    """Every part of this installation, in the order it is printed."""
    return (
        Component("package", "metrichmsr", _stated_licence("metrichmsr") or "Apache-2.0", "code and documentation"),
        *(
            Component("shipped", weights.name, weights.licence or "not stated: its card is missing")
            for weights in list_weights()
        ),
        *_dependencies(),
        *_MODELS,
        *_YOURS,
    )


def as_text(parts: Sequence[Component]) -> str:
    """A table for reading."""
    titles = {
        "package": "this package",
        "shipped": "data shipped with it (details: the cards beside the files)",
        "dependency": "what it needs (as their packages state)",
        "optional": "what it can use where installed",
        "models": "depth models it can use where you install them (none is shipped; docs/depth.md)",
        "yours": "what you may bring",
    }
    width = max(len(part.name) for part in parts)
    lines: list[str] = []
    for group, title in titles.items():
        rows = [part for part in parts if part.group == group]
        if rows:
            lines += ["", title] if lines else [title]
            lines += [f"  {part.name:<{width}}  {part.licence}" + f" ({part.note})" * bool(part.note) for part in rows]
    return "\n".join(lines)


def as_json(parts: Sequence[Component]) -> str:
    """A list for programs: group, name, licence, note."""
    return json.dumps([dataclasses.asdict(part) for part in parts], indent=1, ensure_ascii=False)


def _dependencies() -> Iterator[Component]:
    try:
        stated = requires("metrichmsr") or []
    except PackageNotFoundError:  # a source tree on the path, not installed
        return
    seen = set()
    development = re.compile(r"extra == .(dev|parity)")
    for requirement in sorted(stated, key=lambda line: ("extra" in line, line)):
        match = re.match(r"[\w.-]+", requirement)
        if match is None or match.group() in seen or development.search(requirement):
            continue
        seen.add(match.group())
        licence = _stated_licence(match.group())
        if "extra" in requirement:
            yield Component("optional", match.group(), licence or "not installed")
        else:
            yield Component("dependency", match.group(), licence or "not installed")


def _stated_licence(name: str) -> str | None:
    try:
        return _licence_of(metadata(name))
    except PackageNotFoundError:
        return None


def _licence_of(about: PackageMetadata) -> str:
    # Newest statement first: PEP 639's expression, classifiers, then free text, of which the first line names it.
    if "License-Expression" in about:
        return about["License-Expression"]
    classifiers = [line for line in about.get_all("Classifier") or [] if line.startswith("License :: OSI Approved :: ")]
    if classifiers:
        return ", ".join(line.rpartition(" :: ")[2] for line in classifiers)
    text = about["License"].strip() if "License" in about else ""
    return text.splitlines()[0] if text else "see its own files"
