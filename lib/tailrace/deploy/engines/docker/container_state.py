"""How a container stands, in one line, and its share of the CPU while it starts."""

from __future__ import annotations

from typing import Any

from tailrace.deploy.images import dockerd
from tailrace.host import priority

NORMAL_SHARE = 1024


def share(nice: int) -> int:
    """Return the CPU share of a container that is to have the weight of that nice value."""
    return round(NORMAL_SHARE * priority.weight(nice))


def restore_share(container: Any) -> str:
    """Give the container the normal share again, and return a fact; "" when it has it."""
    low = container.attrs["HostConfig"]["CpuShares"]
    if low in (0, NORMAL_SHARE):
        return ""
    with dockerd.translated(container.name):
        container.update(cpu_shares=NORMAL_SHARE)
    return f"normal CPU share again, after a start at {low} of {NORMAL_SHARE}"


def described(attributes: dict[str, Any]) -> str:
    """Return "running", "restarting, restarts 5, last exit: killed by signal 9", …"""
    state, restarts = attributes["State"], attributes["RestartCount"]
    code, ended = state["ExitCode"], state["Status"] not in ("running", "paused")
    how = "" if not ended else f"killed by signal {code - 128}" if code > 128 else f"left with {code}"
    how += ", out of memory" if ended and state.get("OOMKilled") else ""
    facts = (state["Status"], f"restarts {restarts}" if restarts else "", f"last exit: {how}" if how else "")
    return ", ".join(filter(None, facts))
