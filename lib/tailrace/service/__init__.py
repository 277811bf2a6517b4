"""The deployed service: an ASGI app that forwards OpenAI-compatible calls through the resilient client.

The environment is its only configuration (`settings`). It writes no files but the cache's. It speaks HTTP, prints one
line on stdout when it listens, and logs JSON lines on stderr.
"""

from __future__ import annotations

from tailrace.service.settings import Settings

__all__ = ["Settings"]
