"""The narrative of a notebook for the page: title, introduction and sources, never outputs."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from markdown_it import MarkdownIt
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

_HEADING: Final = re.compile(r"^#\s+(.+?)\s*$", re.MULTILINE)


@dataclass(frozen=True)
class Notebook:
    """`intro` and `cells` are HTML; the cells are prose and highlighted code, in the order of the notebook."""

    title: str
    intro: str
    cells: tuple[str, ...]


def read(path: Path) -> Notebook:
    """Return the notebook at `path`; an empty one when it is missing or damaged."""
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        sources = [(str(cell["cell_type"]), _source(cell)) for cell in cells if not _inserted(cell)]
    except (OSError, ValueError, KeyError, TypeError):
        return Notebook("", "", ())
    first = sources[0][1] if sources and sources[0][0] == "markdown" else ""
    heading = _HEADING.search(first)
    rest = sources[1:] if first else sources
    shown = tuple(_prose(text) if kind == "markdown" else _code(text) for kind, text in rest if text.strip())
    return Notebook(heading[1] if heading else "", _prose(_HEADING.sub("", first, count=1)), shown)


def _inserted(cell: dict[str, Any]) -> bool:
    """Whether papermill inserted the cell to point at an error, which the page reports elsewhere."""
    return "papermill-error-cell-tag" in cell.get("metadata", {}).get("tags", [])


def _source(cell: dict[str, Any]) -> str:
    source = cell["source"]
    return source if isinstance(source, str) else "".join(source)


def _code(source: str) -> str:
    formatter = HtmlFormatter(nowrap=True)
    return f"<pre><code>{highlight(source, PythonLexer(), formatter).rstrip()}</code></pre>"


def _prose(source: str) -> str:
    """Render Markdown as HTML: raw HTML as text, a link as its words, an image as its description."""
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    for rule in ("link_open", "link_close"):
        parser.add_render_rule(rule, lambda *_: "")
    parser.add_render_rule("image", lambda self, tokens, index, *_: str(tokens[index].content))
    rendered = str(parser.render(source))
    # The page uses h1 and h2 itself, so headings within a step begin at h3.
    return re.sub(r"<(/?)h([1-4])>", lambda m: f"<{m[1]}h{int(m[2]) + 2}>", rendered)
