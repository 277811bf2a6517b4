"""Hooks that report calls to logs, metrics and traces. Each writes the fields of a `Call`, and nothing else."""

from tailrace.client.hooks.logs import json_log, structured

__all__ = ["json_log", "structured"]
