"""Hooks that report calls and attempts to logs, metrics and traces: the fields of their rows, and nothing else."""

from tailrace.client.hooks.logs import json_log, structured

__all__ = ["json_log", "structured"]
