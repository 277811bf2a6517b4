"""Hooks that tell others what the client did. Each writes the fields of a `Call`, and nothing else."""

from tailrace.client.hooks.logs import json_log, structured

__all__ = ["json_log", "structured"]
