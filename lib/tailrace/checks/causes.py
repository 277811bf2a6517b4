"""The rules that name a cause: each looks at the circumstances of what went wrong, and says what it found, if it did.

A rule names only what was sampled. Its advice names a setting only where the profile has that setting; else it says
what there is instead. `RULES` is the table: every rule has a test with planted evidence, and one without the cause.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from tailrace.checks.circumstances import Circumstances, seconds
from tailrace.host.machine import MACHINE
from tailrace.numbers import number, percent

MOST = 0.8
"""The share of the time that counts as most of it."""
LARGE_PART = 0.4
"""The share of all processors from which on one program is named as the one that took them."""
THROTTLED, STOLEN, STALLED = 0.1, 0.1, 0.2
"""Shares of the time from which on a limit, a hypervisor, or a wait for memory or disk is worth a word."""
LITTLE_MEMORY = 0.05
FULL_CACHE = 0.95


@dataclass(frozen=True)
class Cause:
    """What was found, and what to do about it; `advice` may be empty."""

    fact: str
    advice: str = ""


Rule = Callable[[Circumstances], Cause | None]


def unhealthy_instance(seen: Circumstances) -> Cause | None:
    """The edge found an instance unhealthy that it had found healthy before: it hung, or did not get to answer."""
    facts = [
        f"the edge's health check of {name} failed for {seconds(span_s)}" for name, span_s in seen.unhealthy().items()
    ]
    return Cause(" and ".join(facts)) if facts else None


def processors_taken(seen: Circumstances) -> Cause | None:
    """All processors were busy, and one group of processes used most of them."""
    busy, groups = seen.busy(), seen.groups()
    if not busy >= MOST:
        return None
    every = "both cores were" if seen.cores == 2 else f"all {seen.cores} cores were" if seen.cores > 1 else "it was"
    name, used = next(iter(groups.items()), ("", 0.0))
    fact = f"{every} busy for {percent(busy)} of that time"
    if used < LARGE_PART * seen.cores:
        most = ", ".join(f"{number(cores)} of {seen.cores} by {program}" for program, cores in [*groups.items()][:2])
        return Cause(fact, f"No single program used most of them; the largest parts: {most}" if most else "")
    fact += f", {number(used)} of {seen.cores} of them by {name}"
    if name == "this run":
        return Cause(
            f"{fact}: the load generator took the processor",
            "Send less, or generate the load on another machine",
        )
    if _is_new(seen, name):
        return Cause(f"{fact}: the new release's start took the old one's processor", _less(seen))
    if name.startswith(("blue", "green")):
        return Cause(f"{fact}: the service was at its limit", "Send less, or give it more processors")
    return Cause(f"{fact}, which is no part of the service", f"Run {name} elsewhere")


def throttled(seen: Circumstances) -> Cause | None:
    """A control group was held back by its own processor limit."""
    held = {name: share for name, share in seen.throttled().items() if share >= THROTTLED}
    if not held:
        return None
    name, share = next(iter(held.items()))
    name = "this run's own control group" if name == MACHINE else name
    now = f" (now {number(seen.limits.cpus)})" if seen.limits.cpus else ""
    advice = f"Raise limits.cpus{now}" if now else "Raise the processor limit of its control group"
    return Cause(f"{name} was held back by its processor limit for {percent(share)} of that time", advice)


def little_memory(seen: Circumstances) -> Cause | None:
    """The machine had hardly any memory left, or programs waited for memory."""
    used, total, stalled = seen.mean("memory_mb"), seen.mean("of_memory_mb"), seen.mean("memory_pressure")
    left = 1 - used / total if total else math.nan
    if not (left < LITTLE_MEMORY or stalled >= STALLED):
        return None
    waited = f"; programs waited for memory {percent(stalled)} of that time" if stalled >= STALLED else ""
    now = f"limits.memory_mb is {seen.limits.memory_mb}" if seen.limits.memory_mb else ""
    return Cause(f"{percent(max(left, 0.0))} of the memory was left{waited}", now and f"Look at the service's: {now}")


def slow_disk(seen: Circumstances) -> Cause | None:
    """Programs waited for the disk."""
    share = seen.mean("io_pressure")
    return Cause(f"programs waited for the disk {percent(share)} of that time") if share >= STALLED else None


def stolen(seen: Circumstances) -> Cause | None:
    """The hypervisor gave the machine's processors to others."""
    share = seen.mean("stolen")
    fact = f"the hypervisor gave {percent(share)} of the processors to other machines"
    return Cause(fact, "Measure on a machine of your own") if share >= STOLEN else None


def connection_refused(seen: Circumstances) -> Cause | None:
    """The instance did not accept connections of the edge."""
    count = seen.flagged("connect_failed")
    if not count or seen.flagged("none_healthy") > count:
        return None
    return Cause(f"the instance refused {count:,} connections of the edge", "See its log: did it crash, or restart?")


def connection_broken(seen: Circumstances) -> Cause | None:
    """The instance closed connections while requests were on them."""
    count = seen.flagged("broken")
    if not count:
        return None
    fact = f"the instance closed {count:,} connections with requests on them"
    if "drained" in seen.between() and seen.limits.drain_timeout_s:
        return Cause(
            f"{fact}: they had not ended at the deadline of the drain",
            f"Raise rollout.drain_timeout_s (now {seen.limits.drain_timeout_s:g})",
        )
    return Cause(fact, "It was killed, or crashed: see its log")


def edge_gave_up(seen: Circumstances) -> Cause | None:
    """The edge waited too long for an answer, or had too many requests waiting."""
    late, many = seen.flagged("timed_out"), seen.flagged("overflowed")
    if late:
        return Cause(f"the edge waited too long for {late:,} answers")
    return Cause(f"the edge had no room for {many:,} more requests") if many else None


def edge_unreachable(seen: Circumstances) -> Cause | None:
    """Nobody accepted the connections of the load generator."""
    count = seen.classes().get("connect", 0)
    fact = f"nothing accepted connections at the address of the service ({count:,} times)"
    return Cause(fact, "Does it run there? See `tailrace status`") if count else None


def server_queue(seen: Circumstances) -> Cause | None:
    """By its own metrics the server had requests waiting, or its key-value cache was full."""
    waiting, running, cache = (seen.server_max(name) for name in ("waiting", "running", "cache_use"))
    full = cache >= FULL_CACHE
    if not (waiting >= 1 and waiting >= 0.1 * (running if running == running else 0)) and not full:
        return None
    facts = [f"up to {waiting:,.0f} requests waited in the server's own queue"] if waiting >= 1 else []
    facts += [f"its key-value cache was {percent(cache)} full"] if full else []
    return Cause(", and ".join(facts), "Send less, or start it with room for more requests at once")


def answered_by_service(seen: Circumstances) -> Cause | None:
    """The service itself answered with an error."""
    statuses = {name: n for name, n in seen.classes().items() if name.isdigit()}
    made = sum(statuses.values()) - seen.by_edge()
    if made <= 0 or not (seen.edge_known or set(statuses) - {"502", "503", "504"}):
        return None
    return Cause("the service itself answered with these errors", "See its log, and that of what it calls")


RULES: tuple[Rule, ...] = (
    unhealthy_instance,
    processors_taken,
    throttled,
    little_memory,
    slow_disk,
    stolen,
    connection_refused,
    connection_broken,
    edge_gave_up,
    edge_unreachable,
    server_queue,
    answered_by_service,
)
"""The table, in the order in which the causes are told."""


def find(seen: Circumstances, rules: tuple[Rule, ...] = RULES) -> list[Cause]:
    """Return every cause that a rule finds."""
    return [cause for rule in rules if (cause := rule(seen))]


def _is_new(seen: Circumstances, name: str) -> bool:
    """Whether `name` is the instance of the release that was starting: not the colour that answered until then."""
    served = seen.records.loc[seen.records["colour"] != "", "colour"]
    old = served.iloc[0] if len(served) else ""
    return seen.before_ready and name.startswith(("blue", "green")) and not (old and name.startswith(old))


def _less(seen: Circumstances) -> str:
    if seen.limits.cpus:
        return f"Give it less: limits.cpus is {number(seen.limits.cpus)}"
    return (
        "Have it start with fewer threads or at a lower priority (rollout.start_nice), or set limits.cpus: "
        "`status` says whether it is enforced here"
    )
