"""Links that work in the repository work on the site: to pages that moved, and to files that are no pages.

A link to a file of which the site has no page goes to the repository, where mkdocs.yml names one (repo_url), and else
becomes plain text. `<!-- README: Title -->` is replaced by that section of README.md, so that nothing is said twice.
"""

from __future__ import annotations

import os
import posixpath
import re
import sys
from typing import Any

sys.path.insert(0, os.path.dirname(__file__))
from site_map import ROOT, page_of, source_of

_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
_SECTION = re.compile(r"<!-- README: (.+?) -->")


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Any) -> str:
    """MkDocs' hook: the text of a page before it is rendered."""
    here = page.file.src_uri
    text = rewritten(markdown, here, source_of(here), config.repo_url)
    return _SECTION.sub(lambda found: rewritten(readme_section(found[1]), here, "README.md", config.repo_url), text)


def rewritten(text: str, page: str, source: str, repo_url: str | None = None) -> str:
    """Text of the file `source` with its links as the page `page` needs them; code is left alone."""

    def link(found: re.Match[str]) -> str:
        picture, label, target = found.groups()
        path, _, anchor = target.partition("#")
        if not path or re.match(r"[a-z]+:", target):
            return found[0]
        wanted = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        there = page_of(wanted)
        if there is not None:
            relative = posixpath.relpath(there, posixpath.dirname(page) or ".")
            return f"{picture}[{label}]({relative}{'#' + anchor if anchor else ''})"
        if not (ROOT / wanted).exists():
            return found[0]  # a broken link: MkDocs shall say so
        return f"{picture}[{label}]({repo_url.rstrip('/')}/blob/main/{wanted})" if repo_url else label

    # Labels may hold code, so that whole links are looked at, and only fences and code outside links are left out.
    parts = re.split(r"(^```.*?^```)", text, flags=re.MULTILINE | re.DOTALL)
    return "".join(part if part.startswith("```") else _LINK.sub(link, part) for part in parts)


def readme_section(title: str) -> str:
    """The text below a second-level heading of README.md.

    Raises:
        ValueError: there is no such heading.
    """
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", readme, re.MULTILINE | re.DOTALL)
    if found is None:
        raise ValueError(f"README.md has no section {title!r}")
    return found[1].strip()
