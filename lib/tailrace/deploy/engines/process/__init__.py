"""The embedded engine: instances and the edge are detached processes of this machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tailrace.deploy.engines import Capability, Engine
    from tailrace.profile import Profile

LACKS: Mapping[Capability, str] = {"images": "instances are processes of this machine, not containers"}


def create(profile: Profile, home: Path, fault: Callable[[str], None]) -> Engine:
    """Return the engine with its releases and records in `home`."""
    from tailrace.deploy.engines.process.engine import ProcessEngine

    limits = {name: getattr(profile.limits, name) for name in sorted(profile.limits.model_fields_set)}
    return ProcessEngine(home, fault, limits)
