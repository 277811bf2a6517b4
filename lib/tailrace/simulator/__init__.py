"""A simulated OpenAI-compatible provider: deterministic responses, lognormal latency, scripted faults, dialects.

    tailrace simulate --port 8100 --fault kind=rate_limit,probability=0.02

Responses depend on the whole request, credential included, so that a wrong cache hit is visible. Nothing here
understands a prompt; tokens are counted by one documented rule (`tailrace.simulator.tokens`).

The names below are imported on first use: the help of `tailrace simulate` must not wait for them.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tailrace.simulator.dialect import Dialect
    from tailrace.simulator.faults import Fault
    from tailrace.simulator.latency import Latency
    from tailrace.simulator.server import Server, listening
    from tailrace.simulator.settings import Settings

__all__ = ["Dialect", "Fault", "Latency", "Server", "Settings", "listening"]

_MODULES = {
    "Dialect": "dialect", "Fault": "faults", "Latency": "latency", "Server": "server", "Settings": "settings",
    "listening": "server",
}  # fmt: skip


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module 'tailrace.simulator' has no attribute {name!r}")
    return getattr(import_module(f"tailrace.simulator.{_MODULES[name]}"), name)
