"""Why a check failed: the failed or slow requests explained by what was sampled beside them, with a figure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tailrace.checks import explanation
from tailrace.checks.circumstances import Limits
from tailrace.checks.explanation import Explanation
from tailrace.deploy.engines import choice
from tailrace.profile import Profile

if TYPE_CHECKING:
    from tailrace.notebook.step import Step


def failures(step: Step, records: str, since_ns: int = 0) -> str:
    """Return why requests of the frame `records` failed, of those due from `since_ns` on; "" when none failed."""
    rows = step.frame(records)
    found = explanation.failures(rows[rows["intended_ns"] >= since_ns], step.samples(records), limits(step.profile))
    return _told(step, records, "failed requests", found, {})


def slowness(step: Step, records: str, limits_ms: Mapping[str, float]) -> str:
    """Return why requests of the frame `records` were beyond these limits, by measure; "" when none was."""
    found = explanation.slowness(step.frame(records), limits_ms, step.samples(records), limits(step.profile))
    return _told(step, records, "slow requests", found, {"limits_ms": dict(limits_ms)})


def limits(profile: Profile) -> Limits:
    """Return the settings that an advice may name; an engine without containers enforces no limits of resources."""
    enforced = "images" not in choice.lacks(profile)
    cpus, memory_mb = (profile.limits.cpus, profile.limits.memory_mb) if enforced else (None, None)
    return Limits(profile.engine, cpus, memory_mb, profile.rollout.drain_timeout_s)


def _told(step: Step, records: str, what: str, found: Explanation | None, options: Mapping[str, Any]) -> str:
    """Return the text, after it is in the result of the step, with its figure: once, however many checks it is for."""
    if found is None:
        return ""
    told, name = step.result.facts.get("why", {}), f"{what} of {records}"
    if name not in told:
        step.record_facts(why={**told, name: found.document()})
        step_name, _, _ = records.rpartition("/")
        sampled = {n: f"{step_name}/{n}" for n in ("machine", "edge", "marks")} if step_name else {}
        phase = records.partition(":")[2] or records
        caption = f"{what.capitalize()} of “{phase}”: when, how the edge found each slot, and who used the processors."
        step.figure("failures", caption, records=records, **sampled, **options)
    return found.text
