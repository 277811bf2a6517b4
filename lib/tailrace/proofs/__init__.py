"""The questions of the runbook that can fail: each looks at evidence and decides checks; none touches a notebook."""

from tailrace.proofs import checklist, client, health, release, switching

__all__ = ["checklist", "client", "health", "release", "switching"]
