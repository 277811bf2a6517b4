"""The questions of the runbook that can fail: each looks at evidence and decides checks; none touches a notebook."""

from tailrace.checks import artefacts, checklist, client, health, release, switching

__all__ = ["artefacts", "checklist", "client", "health", "release", "switching"]
