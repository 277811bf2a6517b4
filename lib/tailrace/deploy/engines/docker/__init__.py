"""The docker engine: instances and the edge are hardened containers."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tailrace.errors import PartMissing

if TYPE_CHECKING:
    from tailrace.deploy.engines import Capability, Engine
    from tailrace.profile import Profile

LACKS: Mapping[Capability, str] = {
    "edge handover": "an edge in a container cannot hand its connections on: what is in flight would be cut, and "
    "nothing answered for a moment",
    "earlier logs": "Docker removes the log of a container with the container",
    "edge changes": "a container that runs can neither publish another address nor get other files",
}


def create(profile: Profile, home: Path, fault: Callable[[str], None]) -> Engine:
    """Return the engine with its wheels and archives in `home`; raises PartMissing without the docker package."""
    if importlib.util.find_spec("docker") is None:
        raise PartMissing("engine docker: the docker package is not installed here; type: make setup")
    from tailrace.deploy.engines.docker.engine import DockerEngine  # only here: the SDK takes a while to import

    return DockerEngine(home, profile.limits)
