"""The formats of published traces: their columns and units. A file is of a format when it has all of its columns.

    azure      TIMESTAMP, ContextTokens, GeneratedTokens                      2023 and 2024; time stamps, with offsets
    burstgpt   Timestamp, Request tokens, Response tokens                     seconds
    qwen       chat_id, timestamp, input_length, output_length, hash_ids      seconds; blocks of 16 tokens
    mooncake   timestamp, input_length, output_length, maybe hash_ids         milliseconds; blocks of 512 tokens

Azure: Patel et al., Splitwise, ISCA 2024, and Stojkovic et al., DynamoLLM, HPCA 2025. BurstGPT: Wang et al., 2024.
Qwen-Bailian: Wang et al., KVCache in the wild, ATC 2025. Mooncake: Qin et al., FAST 2025.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Final, Literal

FormatName = Literal["azure", "burstgpt", "qwen", "mooncake"]
MOST_TOKENS: Final = 100_000_000
_MOST_SECONDS: Final = 1e10


@dataclass(frozen=True)
class Format:
    """The columns of one format. `seconds` reads a time; it raises ValueError with what it expected."""

    name: FormatName
    title: str
    at: str
    in_tok: str
    out_tok: str
    seconds: Callable[[Any], float]
    block_tok: int = 0
    """Tokens of one block of `hash_ids`; 0 for a format without blocks."""
    chat: str = ""
    parent: str = ""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it cannot do without."""
        return tuple(name for name in (self.at, self.in_tok, self.out_tok, self.chat) if name)


def _stamp(value: Any) -> float:
    """Return seconds since the epoch; a stamp without an offset is in UTC."""
    try:
        at = value if isinstance(value, dt.datetime) else dt.datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise ValueError("a time stamp like 2024-05-10 00:00:00.009930+00:00") from None
    return (at if at.tzinfo else at.replace(tzinfo=dt.UTC)).timestamp()


def _seconds(value: Any) -> float:
    number = _number(value)
    if number is None or not 0 <= number <= _MOST_SECONDS:
        raise ValueError("seconds, a number of at least 0")
    return number


def _milliseconds(value: Any) -> float:
    number = _number(value)
    if number is None or not 0 <= number <= _MOST_SECONDS * 1e3 or number != int(number):
        raise ValueError(
            "milliseconds, a whole number of at least 0 (Mooncake counts in them; Qwen's seconds come with chat_id)"
        )
    return number / 1e3


def _number(value: Any) -> float | None:
    """Return the number, or None: text is no number in a file that has numbers."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


FORMATS: Final = (
    Format("azure", "Azure (time stamps)", "TIMESTAMP", "ContextTokens", "GeneratedTokens", _stamp),
    Format("burstgpt", "BurstGPT (seconds)", "Timestamp", "Request tokens", "Response tokens", _seconds),
    Format(
        "qwen",
        "Qwen-Bailian (seconds, blocks of 16 tokens)",
        "timestamp",
        "input_length",
        "output_length",
        _seconds,
        16,
        "chat_id",
        "parent_chat_id",
    ),
    Format(
        "mooncake",
        "Mooncake (milliseconds, blocks of 512 tokens)",
        "timestamp",
        "input_length",
        "output_length",
        _milliseconds,
        512,
    ),
)


def recognise(columns: Collection[str]) -> Format:
    """Return the format with these columns; ValueError, with what each would need, when there is none."""
    for one in FORMATS:
        if set(one.columns) <= set(columns):
            return one
    raise ValueError(" or ".join(f"{', '.join(one.columns)} ({one.title})" for one in FORMATS))
