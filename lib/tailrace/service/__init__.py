"""The deployed service: an ASGI app that forwards OpenAI-compatible calls through the resilient client.

Its only configuration is the environment (`settings`). It keeps no files but the cache's, and speaks over
HTTP, one line on stdout when it listens, and JSON lines on stderr.
"""

from __future__ import annotations

from tailrace.service.settings import Settings

__all__ = ["Settings"]
