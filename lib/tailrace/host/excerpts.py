"""Excerpts of a log that are bounded, whatever was written into it: read from its end, and harmless to a terminal."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import repeat
from pathlib import Path
from typing import BinaryIO

LINE_BYTES = 500
"""A longer line is cut, and says how long it was."""
EXCERPT_BYTES = 4_000
READ_BYTES = 1 << 20
"""No more than this is read at a time, however large the log is."""
# Sequences that move a cursor, set a colour or a title (ECMA-48: CSI, OSC, and the escapes of two characters).
_ESCAPES = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[PX^_][^\x1b]*(?:\x1b\\)?|[ -/]*[0-~])"
)
# Controls (C0, C1), line separators, what changes the direction of text (UAX 9), and halves of a character.
_CONTROL = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)


def harmless(text: str) -> str:
    """Return `text` without escape sequences, and with any other control character but tab and newline made visible."""
    return _CONTROL.sub(_visible, _ESCAPES.sub("", text.replace("\r\n", "\n")))


def harmless_json(text: str) -> str:
    """Return a document of JSON with every control character but tab and newline escaped, as JSON has it."""
    return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _visible(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def shortened(text: str, limit_bytes: int, whole_bytes: int | None = None) -> str:
    """Return `text`, cut after `limit_bytes` with its whole size: "… (5,000,000 bytes)"; `whole_bytes` if known."""
    encoded = text.encode("utf-8", "replace")
    whole = len(encoded) if whole_bytes is None else whole_bytes
    if whole <= limit_bytes:
        return text
    return f"{encoded[:limit_bytes].decode('utf-8', 'ignore')} … ({whole:,} bytes)"


def of_text(text: str, count: int, limit_bytes: int = EXCERPT_BYTES) -> str:
    """Return the last `count` lines of `text` that fit into `limit_bytes`, each harmless, and cut to `LINE_BYTES`."""
    return _joined([shortened(line, LINE_BYTES) for line in text.splitlines()[-count:]], limit_bytes)


def tail(path: Path, count: int, limit_bytes: int = EXCERPT_BYTES) -> str:
    """Return the last lines of the file at `path`, bounded as `of_text` does; "" when there is none.

    At most the last `READ_BYTES` are kept, and the whole size of a line that begins before them is told.
    """
    try:
        with path.open("rb") as file:
            begin = max(0, file.seek(0, 2) - READ_BYTES)
            file.seek(begin)
            lines = file.read(READ_BYTES).split(b"\n")
            if not lines[-1]:
                lines.pop()
            texts = [line[: 2 * LINE_BYTES] for line in lines[-count:]]
            sizes = [len(line) for line in lines[-count:]]
            if begin and len(lines) <= count:
                start = _start_of_line(file, begin)
                sizes[0] += begin - start
                file.seek(start)
                texts[0] = file.read(2 * LINE_BYTES)
    except OSError:
        return ""
    decoded = [text.decode("utf-8", "replace").removesuffix("\r") for text in texts]
    return _joined([shortened(*each) for each in zip(decoded, repeat(LINE_BYTES), sizes, strict=False)], limit_bytes)


def with_source(source: str, excerpt: str) -> str:
    """Return `excerpt` below the path, or the command, where the whole log is."""
    return f"{source}:\n{excerpt}" if excerpt.strip() else f"{source} is empty"


def _joined(lines: Sequence[str], limit_bytes: int) -> str:
    """Return as many of the last `lines` as fit, but one at least."""
    kept: list[str] = []
    for line in map(harmless, reversed(lines)):
        limit_bytes -= len(line.encode("utf-8", "replace")) + 1
        if limit_bytes < 0 and kept:
            break
        kept.append(line)
    return "\n".join(reversed(kept))


def _start_of_line(file: BinaryIO, offset: int) -> int:
    """Return where the line begins that goes on at `offset`; the file is read backwards, a piece at a time."""
    while offset > 0:
        begin = max(0, offset - READ_BYTES)
        file.seek(begin)
        newline = file.read(offset - begin).rfind(b"\n")
        if newline >= 0:
            return begin + newline + 1
        offset = begin
    return 0
