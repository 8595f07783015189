"""Pages that no file in docs/ holds: Markdown from elsewhere in the repository, the examples, the Python API."""

from __future__ import annotations

import ast
import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, os.path.dirname(__file__))
from api_pages import PACKAGES, package_page
from site_map import ROOT, pages_outside


def on_files(files: Any, *, config: Any) -> Any:
    """MkDocs' hook: the files of the site."""
    from mkdocs.structure.files import File

    def add(page: str, text: str) -> None:
        files.append(File.generated(config, page, content=text))

    for path, page in pages_outside().items():
        add(page, (ROOT / path).read_text(encoding="utf-8"))
    add("examples.md", examples_page(ROOT / "examples"))
    for package in PACKAGES:
        add(f"api/{package}.md", package_page(package))
    return files


def examples_page(folder: Path) -> str:
    """Every example with what its docstring says, and its code."""
    parts = [
        "# Examples",
        "Short scripts in the folder `examples/`, each for one question. All of them take the photo that comes along, "
        "or yours, and write into the folder given by `--out`. They run in the tests. `tour.ipynb` walks through the "
        "first five with pictures.",
    ]
    for path in sorted(folder.glob("[0-9]*.py")):
        code = path.read_text(encoding="utf-8")
        title, _, rest = (ast.get_docstring(ast.parse(code)) or path.name).partition("\n")
        body = "\n".join(_as_markdown(rest.strip("\n").splitlines()))
        without_docstring = code.split('"""', 2)[2].strip("\n")
        parts += [f"## {path.name}", title, body, f'```python title="examples/{path.name}"\n{without_docstring}\n```']
    return "\n\n".join(parts) + "\n"


def _as_markdown(lines: list[str]) -> list[str]:
    """Indented commands of a docstring as fenced code."""
    made: list[str] = []
    for before, line in zip(["", *lines], lines, strict=False):
        indented, was = line.startswith("    "), before.startswith("    ")
        if indented != was:
            made.append("```sh" if indented else "```")
        made.append(line[4:] if indented else line)
    return [*made, "```"] if lines and lines[-1].startswith("    ") else made
