"""Run the runbook: execute the plan's notebooks with papermill, show each check, and return a verdict.

Status comes from `events.jsonl` and `results/<step>.json`, which notebooks and runner write, and never from the
metadata that papermill writes.
"""
