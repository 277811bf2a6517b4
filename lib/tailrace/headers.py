"""Names of the headers that more than one room writes or reads, in lower case."""

from __future__ import annotations

from typing import Final

OURS: Final = "x-tailrace-"
"""The prefix of the headers of the client and of the load generator."""

CACHE: Final = "x-tailrace-cache"
"""hit | miss | coalesced | stale | bypass"""
ATTEMPTS: Final = "x-tailrace-attempts"
BACKOFF: Final = "x-tailrace-backoff-us"
COST: Final = "x-tailrace-cost-microusd"
TENANT: Final = "x-tailrace-tenant"

MAINTENANCE: Final = "x-tailrace-maintenance"
"""on, where the edge answered with its maintenance page"""

COLOUR: Final = "x-colour"
"""The colour of the instance that answered."""
RELEASE: Final = "x-release"
"""The release of the instance that answered."""
GENERATION: Final = "x-generation"
"""The generation of the routes that the edge used for the request."""
