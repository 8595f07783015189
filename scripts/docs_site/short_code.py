"""Short code is not broken between lines: `--fov` stays whole, long names may still break in narrow tables."""

from __future__ import annotations

import re
from typing import Any

_SHORT = re.compile(r"<code>([^<>]{1,24})</code>")


def on_page_content(html: str, *, page: Any, config: Any, files: Any) -> str:
    """MkDocs' hook: the page as HTML."""
    return _SHORT.sub(r'<code class="short">\1</code>', html)
