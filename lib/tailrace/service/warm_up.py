"""What libraries load when they first need it, loaded at the start of the process.

Inside a call an import takes descriptors and time that a busy service may not have, and can cost a paid answer.
"""

from __future__ import annotations

import importlib
from typing import Final

from tailrace.client.call.prices import Prices
from tailrace.protocol.usage import Usage

LATE: Final = ("encodings.idna", "stringprep", "uvicorn.lifespan.off")
"""Modules that are imported by name: to look up a provider's address, and to serve."""


def warm_up(provider_url: str, model: str) -> None:
    """Import what the first calls would import, and read the table of prices."""
    for name in LATE:
        importlib.import_module(name)
    prices = Prices()
    for each in (model, "gpt-4o-mini", "a model without a price"):
        prices.cost_usd(each, provider_url, Usage(True, 1, 1))
