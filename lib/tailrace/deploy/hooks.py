"""Hooks: commands of the project that a rollout runs at fixed points, and what their failure means.

A hook is run at least once: a controller that dies in one runs it again when it is resumed, and says so.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Final, Literal

from tailrace import credentials
from tailrace.deploy import bake, hook_process
from tailrace.deploy.engines import INHERITED
from tailrace.deploy.hook_process import RunningCommand
from tailrace.deploy.release import filled
from tailrace.deploy.rollout import Rollout
from tailrace.errors import NotReady, RolledBack
from tailrace.host import excerpts, waiting
from tailrace.profile import Hook

Point = Literal["before_deploy", "after_switch", "on_rollback"]
FOLDER: Final = "hooks"
"""The folder of their logs, in that of the deployment."""


def before_deploy(rollout: Rollout) -> str:
    """Run the hook before anything is started; raises NotReady when its failure aborts the rollout."""
    hook = rollout.settings.hooks.before_deploy
    return _run(rollout, "before_deploy", hook, "prepared") if hook else "no hook"


def after_switch(rollout: Rollout) -> str:
    """Run the hook while the new colour has all traffic, and is watched; raises RolledBack when its failure aborts."""
    hook = rollout.settings.hooks.after_switch
    return _run(rollout, "after_switch", hook, "announced") if hook else "no hook"


def on_rollback(rollout: Rollout, why: str) -> None:
    """Run the hook after traffic has gone back; its failure is journalled, and stops nothing."""
    hook = rollout.settings.hooks.on_rollback
    of_ours = [entry for entry in rollout.journal.entries() if entry.transition == rollout.id]
    if not hook or any((entry.kind, entry.state) == ("reached", "on_rollback") for entry in of_ours):
        return
    rollout.intend("on_rollback")
    try:
        fact = _run(rollout, "on_rollback", hook, "on_rollback", why)
    except (Exception, KeyboardInterrupt) as error:
        fact = f"hook on_rollback failed: {error or type(error).__name__}"
    rollout.reached("on_rollback", fact)


def end_strays(folder: Path) -> list[str]:
    """End what a controller that died left of its hooks, in the folder of a deployment; return what that was."""
    return hook_process.end_strays(folder / FOLDER)


def _run(rollout: Rollout, point: Point, hook: Hook, state: str, why: str = "") -> str:
    """Run the hook and return how it ended; a failure is returned too where the profile ignores it."""
    command, attempt = filled(hook.command, python=sys.executable), _attempt(rollout, state)
    again = f", run {attempt} times because its controller died" if attempt > 1 else ""
    try:
        secrets = {name: os.environ[name] for name in hook.secrets}
        environment = _environment(rollout, point, attempt, why) | secrets
        log = rollout.folder / FOLDER / f"{rollout.id}-{point}.log"
        with hook_process.running(command, environment, rollout.folder.parent.parent, log) as running:
            _wait(rollout, point, running, hook.timeout_s)
            in_time, took_s = running.ended(), running.duration_s
        what = f"hook {point} ({excerpts.shortened(command[0], 200)})"
        if in_time and running.child.returncode == 0:
            return f"{what} done after {took_s:.1f} s{again}"
        how = f"ended with {running.status} after {took_s:.1f} s" if in_time else "did not end, and was ended"
        failure = f"{what} {how}; limit {hook.timeout_s:g} s{again}. {running.excerpt(secrets)}"
    except KeyError as error:
        failure = f"hook {point}: {error} is not set where tailrace runs; rollout.hooks.{point}.secrets names it"
    except OSError as error:
        where = rollout.folder.parent.parent
        failure = f"hook {point}: {command[0]} cannot be started in {where}: {error.strerror}; check the command"
    if hook.on_failure == "ignore":
        return f"{failure}\n{'A rollback goes on' if point == 'on_rollback' else 'Ignored, as its on_failure says'}"
    if point == "before_deploy":
        raise NotReady(f"{failure}\nTraffic was not touched")
    raise RolledBack(f"{failure}\nThe rollout goes back, as the on_failure of {point} says")


def _wait(rollout: Rollout, point: Point, running: RunningCommand, seconds: float) -> None:
    """Wait for the hook; raises RolledBack when the operator requests that, or the new colour breaks its gate."""
    deadline = time.monotonic() + seconds
    if point == "after_switch":
        bake.watch(rollout, seconds, side_by_side=False, is_over=running.ended)

    def over() -> bool:
        if point != "on_rollback" and rollout.operator_request() == "rollback":
            raise RolledBack(f"hook {point} was ended, and the rollout with it, by the operator")
        return running.ended()

    waiting.until(over, max(0.0, deadline - time.monotonic()), every_s=0.02)


def _attempt(rollout: Rollout, state: str) -> int:
    """Return how often this rollout has begun that state, this time included."""
    intents = [entry for entry in rollout.journal.entries() if entry.kind == "intent" and entry.state == state]
    return sum(entry.transition == rollout.id for entry in intents)


def _environment(rollout: Rollout, point: Point, attempt: int, why: str) -> dict[str, str]:
    inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
    return inherited | {
        "TAILRACE_HOOK": point,
        "TAILRACE_ATTEMPT": str(attempt),
        "TAILRACE_DEPLOYMENT": rollout.profile.name,
        "TAILRACE_ROLLOUT": rollout.id,
        "TAILRACE_VERB": rollout.verb,
        "TAILRACE_RELEASE": rollout.release.id,
        "TAILRACE_COLOUR": rollout.colour,
        "TAILRACE_PREVIOUS": rollout.old.release if rollout.old else "",
        "TAILRACE_URL": rollout.edge.url,
        "TAILRACE_PREVIEW_URL": rollout.preview_url,
        "TAILRACE_WHY": excerpts.shortened(credentials.masked(why), 1_000).replace("\0", ""),
    }
