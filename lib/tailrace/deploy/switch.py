"""The switch: from one colour to the other without losing a request, or back.

    locked → prepared → started → ready → warm → smoked → canaried → weighted → switched → announced → baked → drained
    → retired → done
    any failure up to baked: → rolled back

Every state is written to the journal before its act and after it, and every act may be repeated: whoever finds a
journal without an end continues from there.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial

from tailrace import system_errors
from tailrace.deploy import acceptance, bake, canary, commit, drain, hooks
from tailrace.deploy.rollout import Rollout, Switched
from tailrace.errors import DeployError, MachineRefused, PartMissing

ACTS = {
    "prepared": hooks.before_deploy,  # by a command of the project, where the profile has one
    "started": acceptance.start,  # the edge knows its endpoint, and finds it healthy
    "ready": acceptance.wait_until_ready,  # by its own word
    "warm": acceptance.warm_up,  # latency has settled, through the preview
    "smoked": acceptance.smoke_test,  # the answers are right, streams included
    "canaried": canary.let_in,  # where the profile names a header or a cookie: its requests, with a gate
    "weighted": bake.shift_by_weight,  # where the profile asks for shares: a gate at each
    "switched": commit.commit,  # one rename
    "announced": hooks.after_switch,  # by a command of the project; the gate watches meanwhile
    "baked": bake.bake,  # a gate in every window; the old colour stays warm
    "drained": drain.drain,  # the old colour's last request has ended, or the deadline has passed
    "retired": drain.retire,  # from here there is no way back
}
NO_WAY_BACK = ("drained", "retired")


def run(rollout: Rollout, done: Collection[str] = ()) -> Switched:
    """Go through every state that is not `done` yet; roll back on a failure before the old colour is given up."""
    for state, act in ACTS.items():
        if state in done:
            continue
        reach = partial(_reach, rollout, state, act)
        try:
            _with_room(rollout, reach) if state in NO_WAY_BACK else reach()
        except BaseException as error:
            if state not in NO_WAY_BACK:
                _roll_back_after(error, rollout)
            raise
    fact = f"{rollout.colour} serves release {rollout.release.id}"
    _with_room(rollout, lambda: rollout.end("done", fact, f"{rollout.cut} requests cut", rollout.token_fact))
    return rollout.result()


def _reach(rollout: Rollout, state: str, act: Callable[[Rollout], str]) -> None:
    rollout.intend(state)
    rollout.reached(state, act(rollout))


def _with_room(rollout: Rollout, act: Callable[[], None]) -> None:
    """Act; where the disk is full, give up the rollout's reserve and act again: there is no way but on."""
    try:
        act()
    except (MachineRefused, OSError):
        if not rollout.give_room():
            raise
        act()


def roll_back(rollout: Rollout, why: str) -> None:
    """Give all traffic back to the old colour, which is still warm; then drain and remove the new one."""
    rollout.give_room()
    rollout.intend("rolled back", why=why)
    routes, old = rollout.edge.routes(), rollout.old
    has_traffic = bool(routes.weights.get(rollout.colour))
    if has_traffic and old and not drain.serves_again(rollout, old):
        rollout.end("stayed", f"{why}; {old.name} is gone: going back would be a cold start")
        raise DeployError(
            f"{why}; but {old.name} has died meanwhile, so traffic stays on {rollout.colour}. "
            "Going back would be a cold start: switch to the release that you want"
        )
    if old and routes.reach(rollout.colour):
        rollout.edge.await_generation(rollout.route({old.colour: 100}), rollout.settings.ack_timeout_s)
        rollout.reached("rolling back", f"traffic is on {old.colour} again; {why}")
        drain.wait_until_idle(rollout, rollout.colour)
    if rollout.new:
        drain.stop(rollout, rollout.new)
        rollout.edge.point(rollout.colour, None)
    hooks.on_rollback(rollout, why)
    rollout.end("rolled back", why)


def _roll_back_after(failure: BaseException, rollout: Rollout) -> None:
    """Roll back after `failure`; when that fails as well, raise an error that names both, and what is left to do."""
    why = str(failure) or type(failure).__name__
    try:
        roll_back(rollout, why)
    except (DeployError, PartMissing, OSError) as error:
        if rollout.states[-1][0] == "stayed":
            raise
        kind = MachineRefused if system_errors.of_machine(error) else DeployError
        raise kind(
            f"{why}; and rolling back failed: {error}. Traffic is where the route file says; once that is mended, "
            "`resume` finishes the rollback"
        ) from error
    if isinstance(failure, DeployError):
        failure.states, failure.cut, failure.account = tuple(rollout.states), rollout.cut, rollout.account
