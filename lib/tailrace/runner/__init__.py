"""Runs the runbook: the plan's notebooks through papermill, each check shown as it is decided, and a verdict.

Status comes from `events.jsonl` and `results/<step>.json`, which notebooks and runner write; papermill's own
metadata is not asked.
"""

from tailrace.runner.display import Display
from tailrace.runner.parameters import Override
from tailrace.runner.run import Request, down, prepare, run

__all__ = ["Display", "Override", "Request", "down", "prepare", "run"]
