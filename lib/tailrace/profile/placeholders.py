"""The placeholders in the words of a command, which an engine fills in."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from tailrace.profile.mistakes import near

KNOWN: Final = ("port", "host", "python")
_PLACEHOLDER: Final = re.compile(r"(?<![$%{])\{([A-Za-z_][A-Za-z0-9_]*)\}(?!\})")
"""A name in braces. `${NAME}`, `%{name}` and `{{name}}` are of shells, curl and templates, and pass as they are."""


def mistake(words: Sequence[str]) -> str:
    """Return what is wrong with the placeholders in `words`, and what to write; "" when nothing is."""
    unknown = ((word, name) for word in words for name in _PLACEHOLDER.findall(word) if name not in KNOWN)
    for word, name in unknown:
        known = [f"{{{one}}}" for one in KNOWN]
        hint = near(f"{{{name}}}", known) or "."
        return (
            f"the placeholder {{{name}}} in {word!r} is not known; expected {', '.join(known)}{hint} What the program "
            f"itself shall get in braces, a shell can make of a variable: sh -c '… ${{{name}}}'"
        )
    return ""
