"""How a container stands, in one line, from what Docker knows of it."""

from __future__ import annotations

from typing import Any


def described(attributes: dict[str, Any]) -> str:
    """Return "running", "restarting, restarts 5, last exit: killed by signal 9", …"""
    state, restarts = attributes["State"], attributes["RestartCount"]
    code, ended = state["ExitCode"], state["Status"] not in ("running", "paused")
    how = "" if not ended else f"killed by signal {code - 128}" if code > 128 else f"left with {code}"
    how += ", out of memory" if ended and state.get("OOMKilled") else ""
    facts = (state["Status"], f"restarts {restarts}" if restarts else "", f"last exit: {how}" if how else "")
    return ", ".join(filter(None, facts))
