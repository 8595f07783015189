"""The site's hooks: links, navigation and API pages; and, slowly, that all of it builds without a warning."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts" / "docs_site"))
import api_pages  # noqa: E402
import generated_pages  # noqa: E402
import links  # noqa: E402
import navigation  # noqa: E402


@pytest.mark.parametrize(
    ("text", "page", "source", "wanted"),
    [
        ("[a](scene.md)", "index.md", "docs/index.md", "[a](scene.md)"),
        ("[a](../RESULTS.md#x)", "scene.md", "docs/scene.md", "[a](results.md#x)"),
        ("[a](docs/scene.md)", "results.md", "RESULTS.md", "[a](scene.md)"),
        ("[a](../README.md)", "scene.md", "docs/scene.md", "[a](index.md)"),
        ("[`a.py`](../examples/01_photo.py)", "scene.md", "docs/scene.md", "[`a.py`](examples.md)"),
        ("[`a`](../src/metrichmsr/hmr/stature.py)", "stature.md", "docs/stature.md", "`a`"),
        ("![a](images/measurements.jpg)", "m.md", "docs/m.md", "![a](images/measurements.jpg)"),
        ("[a](https://example.org/x.md)", "index.md", "docs/index.md", "[a](https://example.org/x.md)"),
        ("[a](nowhere.md)", "index.md", "docs/index.md", "[a](nowhere.md)"),
        ("```\n[a](../RESULTS.md)\n```", "index.md", "docs/index.md", "```\n[a](../RESULTS.md)\n```"),
    ],
)
def test_links(text: str, page: str, source: str, wanted: str) -> None:
    assert links.rewritten(text, page, source) == wanted


def test_links_go_to_the_repository_where_one_is_named() -> None:
    text = links.rewritten("[a](../NOTICE)", "index.md", "docs/index.md", "https://example.org/repo/")
    assert text == "[a](https://example.org/repo/blob/main/NOTICE)"


def test_the_start_page_finds_its_sections_in_the_readme() -> None:
    assert "| measured" in links.readme_section("How good is it")
    assert "Apache-2.0" in links.readme_section("Licences")
    with pytest.raises(ValueError, match="no section"):
        links.readme_section("No such thing")


def test_navigation_takes_what_is_there() -> None:
    nav = navigation.navigation(["index.md", "api/metrichmsr.recover.md", "api/metrichmsr.md", "brand_new.md"])
    assert nav == [
        {"Start": [{"MetricHMSR": "index.md"}]},
        {"Reference": [{"Python API": ["api/metrichmsr.md", "api/metrichmsr.recover.md"]}]},
        {"More": ["brand_new.md"]},
    ]


@pytest.mark.parametrize("package", api_pages.PACKAGES)
def test_every_public_name_has_its_docstring(package: str) -> None:
    module = __import__(package, fromlist=["__all__"])
    page = api_pages.package_page(package)
    for name in module.__all__:
        if not name.startswith("__"):
            assert f"\n## {name}\n" in page
    assert ":class:" not in page
    assert ":func:" not in page
    assert page.count("```") % 2 == 0


def test_docstrings_become_markdown() -> None:
    text = api_pages.markdown(
        "Does ``it``, see :func:`~a.b.c`.\n\nArgs:\n    x: first\n        and more.\n    *y: others.\n\nEnd."
    )
    assert text == "Does `it`, see `c`.\n\n\n**Args**\n\n- `x`: first\n  and more.\n- `*y`: others.\n\nEnd."


def test_examples_page_shows_every_example() -> None:
    page = generated_pages.examples_page(ROOT / "examples")
    for path in (ROOT / "examples").glob("*.py"):
        assert f"## {path.name}" in page
    assert page.count("```") % 2 == 0


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    pytest.importorskip("material")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    start = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "results.html" in start
    for tag in ('src="http', "fonts.googleapis"):
        assert tag not in start, "nothing is loaded from elsewhere"
