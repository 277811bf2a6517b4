"""Waiting for the last request of a colour that gets no new ones."""

from __future__ import annotations

import time

from tailrace.deploy.transition import Transition

READS = 3
READ_EVERY_S = 0.05


def drained(t: Transition, colour: str) -> str:
    """Wait until `colour` has nothing in flight and its total stands still; past the deadline, count what is cut."""
    started = time.monotonic()
    same, total = 0, -1
    while True:
        now = t.edge.counters().colours[colour]
        same = same + 1 if now.active == 0 and now.total == total else 0
        total, waited_s = now.total, time.monotonic() - started
        if same >= READS:
            return f"{colour} idle after {waited_s:.2f} s, {total} requests in all"
        if waited_s > t.profile.rollout.drain_timeout_s:
            t.cut += now.active
            return f"{colour} still had {now.active} requests after {waited_s:.1f} s: cut"
        time.sleep(READ_EVERY_S)
