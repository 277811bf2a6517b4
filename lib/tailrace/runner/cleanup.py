"""What a killed run left behind: found by the records that it made, ended, and said."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tailrace.profile import Profile
from tailrace.run import events
from tailrace.run.folder import RunDir
from tailrace.runner import history
from tailrace.runner.kernel import Started
from tailrace.testbed import stack

KILLED = "killed before its end"


def sweep(root: Path, profile: Profile) -> Iterator[str]:
    """End what earlier runs left, and yield a sentence for each thing found. The caller holds the run lock."""
    yield from after_killed(root, profile)
    yield from torn_down(profile, root)


def after_killed(root: Path, profile: Profile) -> Iterator[str]:
    """End the kernels of killed runs, and the deployments of those with another profile; mark the runs as killed."""
    for run in history.unfinished(root):
        yield f"run {run.id} was killed before its end; cleaning up after it"
        yield from _kernels(run)
        if (left := _profile_of(run)) is not None and left.name != profile.name:
            yield from torn_down(left, root)
        _mark(run)
    for file in (root / ".tailrace" / "kernels").glob("kernel-*"):
        file.unlink(missing_ok=True)


def torn_down(profile: Profile, root: Path) -> Iterator[str]:
    """Stop the deployment of `profile`, unless it is there to stay, and yield a sentence with what was stopped."""
    if profile.teardown == "always" and (stopped := stack.down(profile, root)):
        yield f"stopped what was left of {profile.name}: {', '.join(stopped)}"


def _kernels(run: RunDir) -> Iterator[str]:
    for event in events.read(run.path):
        if event.event not in ("kernel_started", "fork_server_started"):
            continue
        process = Started(event.fields["pid"], event.fields["started"])
        if count := process.end():
            name = f"the kernel of {event.fields['step']}" if "step" in event.fields else "the fork server"
            yield f"ended {name} ({_processes(count)})"


def _processes(count: int) -> str:
    return "1 process" if count == 1 else f"{count} processes"


def _profile_of(run: RunDir) -> Profile | None:
    try:
        return Profile.model_validate_json(run.profile.read_bytes())
    except (OSError, ValueError):
        return None


def _mark(run: RunDir) -> None:
    """Write into run.json that the run did not end by itself, with the time of its last event as its end."""
    seen = events.read(run.path)
    record = run.read()
    end = {"verdict": "INCONCLUSIVE", "reason": KILLED, "finished_at": seen[-1].at if seen else record.started_at}
    run.write(record.model_copy(update=end))
    events.append(run.path, "run_finished", verdict="INCONCLUSIVE", reason=KILLED)
