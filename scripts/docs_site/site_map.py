"""Which file of the repository is which page of the site."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

WEIGHTS = "src/metrichmsr/weights"


def pages_outside() -> dict[str, str]:
    """Markdown files outside docs/ that are pages too: path in the repository → page."""
    cards = sorted((ROOT / WEIGHTS).glob("*.md"))
    return {
        "RESULTS.md": "results.md",
        "examples/photos/README.md": "photos.md",
        **{f"{WEIGHTS}/{card.name}": f"weights/{card.name}" for card in cards},
    }


STANDS_FOR = {"README.md": "index.md", "examples": "examples.md"}
"""What has no page of its own, and the page that takes its place."""


def page_of(path: str) -> str | None:
    """The page that shows a file of the repository, or None."""
    if path.startswith("docs/"):
        return path.removeprefix("docs/") if (ROOT / path).exists() else None
    if path in STANDS_FOR:
        return STANDS_FOR[path]
    if path.startswith("examples/") and path.endswith((".py", ".ipynb")):
        return "examples.md"
    return pages_outside().get(path)


def source_of(page: str) -> str:
    """The file of the repository whose text a page shows; links in it are relative to that."""
    back = {page: path for path, page in pages_outside().items()}
    return back.get(page, f"docs/{page}")
