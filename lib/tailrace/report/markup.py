"""Tables and verdicts as HTML. All text is escaped here."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from typing import Any, Final

import pandas as pd

from tailrace.host import excerpts
from tailrace.verdict import INCONCLUSIVE, SIGNS, STATES, State

MOST_ROWS: Final = 200
"""Of one table: a service may invent colours and releases, and each would be a row."""
_NUMBER: Final = re.compile(r"(?P<value>n/a|∞|[-−+]?\d[\d,]*(?:\.\d+)?(?: ?%)?)(?: (?P<range>\[.*\]|\(needs .*\)))?")


class Mark(str):
    """A verdict that a table shows as its sign, with the word for screen readers."""


def mark(verdict: str) -> Mark:
    return Mark(verdict)


def escaped(text: str) -> str:
    """Return `text` as HTML shows it, without what acts on whoever reads it: escapes, and changes of direction."""
    return html.escape(excerpts.harmless(text))


def badge(verdict: str) -> str:
    """Return a verdict as a badge: sign and word."""
    known: State = next((state for state in STATES if state == verdict), INCONCLUSIVE)
    return f'<span class="badge" data-verdict="{known}">{SIGNS[known]} {escaped(verdict)}</span>'


def sign(verdict: str) -> str:
    """Return a verdict as its sign, with the word for screen readers and as a tooltip."""
    known: State = next((state for state in STATES if state == verdict), INCONCLUSIVE)
    named = f'role="img" aria-label="{known}" title="{known}"'
    return f'<span class="sign" data-verdict="{known}" {named}>{SIGNS[known]}</span>'


def why(check: Mapping[str, Any]) -> str:
    """Return why a check failed, as a paragraph; empty where that is not known."""
    text = str(check.get("why") or "")
    return f'<p class="why"><b>Why:</b> {escaped(text)}</p>' if text else ""


def table(frame: pd.DataFrame, caption: str = "") -> str:
    """Return `frame` as an HTML table: columns of numbers aligned right, verdicts as badges.

    Beyond `MOST_ROWS` rows are left out, and counted in the caption.
    """
    if (left_out := len(frame) - MOST_ROWS) > 0:
        frame = frame.head(MOST_ROWS)
        caption = f"{caption} The first {MOST_ROWS} rows; {left_out:,} more are left out.".lstrip()
    names = [str(name) for name in frame.columns]
    right = [_numeric(frame[name]) for name in frame.columns]
    head = "".join(f'<th scope="col"{_side(r)}>{escaped(n)}</th>' for n, r in zip(names, right, strict=True))
    rows = frame.itertuples(index=False, name=None)
    body = "".join(f"<tr>{''.join(_cell(v, r) for v, r in zip(row, right, strict=True))}</tr>" for row in rows)
    title = f"<caption>{escaped(caption)}</caption>" if caption else ""
    dense = ' class="dense"' if len(names) > 9 else ""
    return f'<div class="wide"><table{dense}>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _cell(value: Any, right: bool) -> str:
    if isinstance(value, Mark):
        return f"<td>{sign(value)}</td>"
    if value in STATES:
        return f"<td>{badge(value)}</td>"
    text = escaped(str(value))
    if right and (parts := _NUMBER.fullmatch(text)) and parts["range"]:
        text = f"{parts['value']} <small>{parts['range']}</small>"
    return f"<td{_side(right)}>{text}</td>"


def _side(right: bool) -> str:
    """Return the alignment of a cell: right by the page's style, left inline, because Lab aligns all cells right."""
    return ' class="r"' if right else ' style="text-align:left"'


def _numeric(column: pd.Series) -> bool:
    return bool(len(column)) and all(_NUMBER.fullmatch(str(value)) for value in column)
