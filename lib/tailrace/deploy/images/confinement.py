"""What every container may do and use: no capabilities, no new privileges, a bounded share of the machine."""

from __future__ import annotations

from typing import Any, Final

from tailrace.profile import ResourceLimits

HARDENED: Final[dict[str, Any]] = {
    "read_only": True,
    "tmpfs": {"/tmp": "rw,noexec,nosuid,nodev,size=64m"},  # noqa: S108 (inside the container)
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges"],
}
"""How every container of ours is run."""


def limited(limits: ResourceLimits) -> dict[str, Any]:
    """Return the options of Docker with these limits."""
    return {
        "mem_limit": f"{limits.memory_mb}m",
        "nano_cpus": round(limits.cpus * 1e9),
        "pids_limit": limits.pids,
    }


PROOF: Final[dict[str, Any]] = {**HARDENED, **limited(ResourceLimits())}
"""How a container is run that proves something about its image, and ends."""
