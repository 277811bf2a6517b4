"""tailrace: a runbook that executes."""

__version__ = "0.1.0"
