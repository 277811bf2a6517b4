"""Clean up after killed runs: find what they left by their records, end it, and report each thing in a sentence."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from tailrace.profile import Profile
from tailrace.run import documents, events
from tailrace.run.folder import RunDir
from tailrace.runner.session import Session
from tailrace.verdict import INCONCLUSIVE

KILLED = "killed before its end"
SESSIONS = {"kernel_started": "the kernel of {step}", "fork_server_started": "the fork server"}


def sweep(root: Path, profile: Profile, killed: Sequence[RunDir]) -> Iterator[str]:
    """End all that the runs `killed` left, and yield a sentence for each thing. The caller holds the run lock."""
    yield from clean_up_killed_runs(root, profile, killed)
    yield from tear_down(profile, root)


def clean_up_killed_runs(root: Path, profile: Profile, killed: Sequence[RunDir]) -> Iterator[str]:
    """End the kernels of killed runs, and their deployments if of other profiles; mark these runs as killed."""
    for run in killed:
        yield f"run {run.id} was killed before its end; cleaning up after it"
        yield from _end_sessions(run)
        if (other := profile_of(run)) is not None and other.name != profile.name:
            yield from tear_down(other, root)
        _mark_killed(run)
    for file in (root / ".tailrace" / "kernels").glob("kernel-*"):
        file.unlink(missing_ok=True)


def tear_down(profile: Profile, root: Path) -> Iterator[str]:
    """Stop the deployment of `profile`, unless it is meant to stay, and yield a sentence with what was stopped."""
    from tailrace.testbed import stack

    if profile.teardown == "always" and (stopped := stack.down(profile, root)):
        yield f"stopped what was left of {profile.name}: {', '.join(stopped)}"


def _end_sessions(run: RunDir) -> Iterator[str]:
    for event in events.read(run.path):
        if event.event in SESSIONS and (count := Session(event.fields["pid"], event.fields["started"]).end()):
            name = SESSIONS[event.event].format_map(event.fields)
            yield f"ended {name} ({'1 process' if count == 1 else f'{count} processes'})"


def profile_of(run: RunDir) -> Profile | None:
    """Return the profile of a run as far as it says what runs and where; None when it cannot be read.

    Without the policy: what is written down has every default, and with the variables of the service that would say the
    same twice, which a profile may not.
    """
    document = documents.profile(run.path)
    document.pop("policy", None)
    try:
        return Profile.model_validate_json(json.dumps(document))
    except ValueError:
        return None


def _mark_killed(run: RunDir) -> None:
    """Write an end into run.json, at the time of the last event."""
    run.reserve.unlink(missing_ok=True)
    written = events.read(run.path)
    record = run.read()
    finished_at = written[-1].at if written else record.started_at
    end = {"verdict": INCONCLUSIVE, "reason": KILLED, "finished_at": finished_at}
    run.write(record.model_copy(update=end))
    events.append(run.path, "run_finished", verdict=INCONCLUSIVE, reason=KILLED)
