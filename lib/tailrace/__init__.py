"""tailrace: a runbook that executes.

The names below are the resilient client's. They are imported when they are first asked for: the SDK under them
takes a second, which a load generator or a simulator must not pay.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tailrace.client import (
        AIConfig,
        AsyncOpenAI,
        Breaker,
        Cache,
        Fallback,
        Guard,
        Limits,
        Memory,
        OpenAI,
        Policy,
        Price,
        Retry,
        Spend,
        Sqlite,
        Target,
        aask,
        ask,
        async_transport,
        limits,
        transport,
        untrusted,
    )

__version__ = "0.1.0"

__all__ = [
    "AIConfig",
    "AsyncOpenAI",
    "Breaker",
    "Cache",
    "Fallback",
    "Guard",
    "Limits",
    "Memory",
    "OpenAI",
    "Policy",
    "Price",
    "Retry",
    "Spend",
    "Sqlite",
    "Target",
    "aask",
    "ask",
    "async_transport",
    "limits",
    "transport",
    "untrusted",
]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'tailrace' has no attribute {name!r}")
    return getattr(import_module("tailrace.client"), name)
