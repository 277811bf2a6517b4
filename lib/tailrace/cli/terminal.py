"""What a command prints: every text goes through here, because parts of it were written by others.

A label, a model, a log or a provider's refusal may hold a secret, or escapes that act on the terminal. The secrets that
are known are those of the environment, and those that the profile of the command names.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from tailrace.masking import Mask

LINE_BYTES: Final = 32_768
"""A longer line is cut, and says how long it was."""
_NAMES: Final = "tailrace.secrets"
_MASK: Final = "tailrace.mask"


def know(names: Iterable[str]) -> None:
    """Mask the values of these environment variables, too, in all that this command prints."""
    if context := click.get_current_context(silent=True):
        context.meta.setdefault(_NAMES, set()).update(names)
        context.meta.pop(_MASK, None)


def say(text: str, err: bool = False) -> None:
    """Print `text`: masked, without escapes, and no line longer than `LINE_BYTES`."""
    click.echo(shown(text), err=err)


def shown(text: str) -> str:
    """Return `text` as `say` prints it."""
    from tailrace.host import excerpts

    lines = _mask()(excerpts.harmless(text)).split("\n")
    return "\n".join(excerpts.shortened(line, LINE_BYTES) for line in lines)


def document(content: Any) -> str:
    """Return JSON-able `content` as JSON, with its texts masked; what acts on a terminal is escaped as JSON has it."""
    import orjson

    from tailrace.host import excerpts

    masked = _mask().document(orjson.loads(orjson.dumps(content)))
    text = orjson.dumps(masked, option=orjson.OPT_INDENT_2).decode()
    return excerpts.harmless_json(text)


def print_exception(error: BaseException) -> None:
    """Print the traceback of a defect."""
    say("".join(traceback.format_exception(error)).rstrip(), err=True)


def _mask() -> Mask:
    from tailrace import masking

    context = click.get_current_context(silent=True)
    meta = context.meta if context else {}
    if _MASK not in meta:
        meta[_MASK] = masking.Mask.of(masking.known(os.environ, meta.get(_NAMES, ())))
    mask: Mask = meta[_MASK]
    return mask
