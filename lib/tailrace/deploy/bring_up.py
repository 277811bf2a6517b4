"""A first deploy has no release to go back to: it bakes all the same, and when it fails, it leaves nothing behind."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tailrace.deploy import hooks, journal, reachability
from tailrace.deploy.edge import layout as edge_layout
from tailrace.deploy.rollout import RESERVE, Rollout
from tailrace.errors import MachineRefused, RolledBack, TailraceError
from tailrace.host import waiting

if TYPE_CHECKING:
    from tailrace.deploy.deployment import Deployment


def left_to_bake_s(rollout: Rollout) -> float:
    """Return how long a first instance is still watched: for `bake_s`, and `settle_s`, since it answered at first.

    Not since its process began: on a busy machine that may be long before.
    """
    answered_ns = next((t_ns for state, t_ns, _ in rollout.states if state == "started"), time.perf_counter_ns())
    lived_s = (time.perf_counter_ns() - answered_ns) / 1e9
    return max(0.0, max(rollout.settings.bake_s, rollout.settings.settle_s) - lived_s)


def require_answer(rollout: Rollout) -> str:
    """Ask the first instance as a user would, and return its answer; raises RolledBack when it gives none.

    There may be no users yet whose requests a gate could judge.
    """
    answers: list[reachability.Reached] = []

    def answered() -> bool:
        answers[:] = [reachability.ask(rollout.edge)]
        return answers[0].ok and answers[0].colour == rollout.colour

    if not waiting.until(answered, rollout.settings.ready_timeout_s, every_s=0.05):
        raise RolledBack(f"{rollout.colour} (release {rollout.release.id}) serves nobody: {answers[0].fact}")
    return answers[0].fact


@contextlib.contextmanager
def all_or_nothing(deployment: Deployment) -> Iterator[None]:
    """Take down what the block has started when it fails, where nothing was up before; the error says so.

    The caller holds the lock of the deployment.
    """
    if deployment.is_up:
        yield
        return
    try:
        yield
    except BaseException as error:
        stopped = take_down(deployment)
        if isinstance(error, TailraceError) and stopped:
            error.args = (f"{error}. Taken down again, so that nothing is left running: {', '.join(stopped)}",)
        raise


def take_down(deployment: Deployment) -> list[str]:
    """Stop everything of `deployment`, whoever started it, and return what it was; journal and logs stay.

    The caller holds the lock of the deployment.
    """
    stopped, name = deployment.running(), deployment.profile.name
    (deployment.folder / RESERVE).unlink(missing_ok=True)
    if deployment.layout.exists():
        deployment.edge.server.stop()
    for instance in deployment.instances:
        deployment.engine.stop(instance, deployment.profile.rollout.stop_grace_s)
    stopped += deployment.engine.sweep(name) + deployment.engine.clear(name)
    stopped += hooks.end_strays(deployment.folder)
    try:
        stopped += _journalled(deployment, stopped)
    except MachineRefused:
        _clear(deployment)  # what this frees may be the room that was missing
        stopped += _journalled(deployment, stopped)
    _clear(deployment)
    return stopped


def _journalled(deployment: Deployment, stopped: list[str]) -> list[str]:
    """Journal the end of all that was up, and return the rollout that was left half-way, if one was."""
    if unfinished := deployment.journal.unfinished():
        deployment.journal.append(unfinished[0].transition, "end", "down", f"was left at {unfinished[-1].state}")
        return [journal.described(unfinished)]
    if stopped:
        deployment.journal.append("", "note", "down", "; ".join(stopped))
    return []


def _clear(deployment: Deployment) -> None:
    """Remove the files of the edge."""
    for name in ("edge", edge_layout.SOCKETS):
        shutil.rmtree(deployment.folder / name, ignore_errors=True)
    deployment.layout.unlink(missing_ok=True)
