"""From evidence to checks: each function takes records, frames or facts, and decides; none acts."""

from tailrace.checks import artefacts, checklist, client, explanation, health, release, stretches, switching

__all__ = ["artefacts", "checklist", "client", "explanation", "health", "release", "stretches", "switching"]
