"""What an operator may do with releases: deploy one, restart the one that serves, go back to the one before.

The caller holds the lock of the deployment.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from tailrace.deploy import acceptance, front_door, history, kept_copy, secret_digests
from tailrace.deploy.changes import changes, compared, differing, rotated
from tailrace.deploy.engines import Instance
from tailrace.deploy.release import Release
from tailrace.deploy.rollout import CommandResult, Deployed, Environment, Observe, Switched
from tailrace.errors import DeployError

if TYPE_CHECKING:
    from tailrace.deploy.deployment import Deployment


@dataclass(frozen=True)
class Step:
    """One rollout to come: its verb, as the history shows it, its release, and what is new in it."""

    verb: Literal["up", "switch", "restart", "rollback"]
    release: Release
    environment: Environment
    changes: tuple[str, ...] = ()


def deploy(
    deployment: Deployment, release: Release, environment: Environment, observe: Observe | None, force: bool
) -> Deployed:
    """Have `release` serve: leave alone what is the same already, unless `force` asks for another edition of it."""
    new, serving = secret_digests.sealed(deployment, release), deployment.serving
    old = _kept(deployment, serving)
    for before in (release, old):
        _refuse_missing(before, new)
    step = _step(deployment, serving, new, environment, force) if serving else Step("up", new, environment)
    if serving and not step.changes:
        edge = deployment.ensure_edge(observe)
        front_door.require_healthy(deployment, deployment.profile.rollout.start_timeout_s)
        return _served_already(deployment, serving, old, step.release, edge)
    deployment.refuse_paused()
    edge = deployment.ensure_edge(observe)
    switched = deployment.roll_out(step, observe)
    how: Literal["switched", "brought up"] = "switched" if serving else "brought up"
    return Deployed(how, switched.release, switched.account, step.changes, "; ".join(edge))


def restart(deployment: Deployment, observe: Observe | None) -> CommandResult:
    """Switch to a new instance of the release that serves; it gets the secrets of today."""
    serving = deployment.serving
    if serving is None:
        raise DeployError(f"{deployment.profile.name}: nothing serves that could be restarted; type: tailrace deploy")
    kept = deployment.releases.find(serving.release)
    new = secret_digests.sealed(deployment, kept)
    _refuse_missing(kept, new)
    place = kept_copy.place(new, deployment.built)
    deployment.refuse_paused()
    deployment.ensure_edge(observe)
    environment = history.environment_of(deployment.journal.entries(), serving.generation)
    news = changes(kept, new, deployment.built)
    switched = deployment.roll_out(Step("restart", new, environment, news), observe)
    later = f"{place.fact}; `deploy` takes what is there" if place.fact else ""
    fact = f"{switched.to_colour} serves release {switched.release} from a new instance"
    return _done(switched, fact, *news, later)


def roll_back(deployment: Deployment, observe: Observe | None) -> CommandResult:
    """Switch to the release before the one that serves, proved by what it was proved with, with the secrets of today.

    Raises DeployError when its files were changed and are not kept, or when a secret that it had is not set here.
    """
    entries = deployment.journal.entries()
    previous, reason = history.previous_release(entries)
    if not previous:
        return CommandResult("nothing", reason)
    kept = deployment.releases.find(previous)
    new, serving = secret_digests.sealed(deployment, kept), deployment.serving
    _refuse_missing(kept, new)
    names = ", ".join(rotated(kept, new))
    if serving and serving.release == new.id:
        return CommandResult("nothing", (
            f"release {previous} differs from the one that serves only in the value of {names}, and a former value "
            "is kept nowhere; export it and roll back again, or deploy the release that you want"
        ))  # fmt: skip
    place = kept_copy.place(new, deployment.built)
    deployment.refuse_paused()
    deployment.ensure_edge(observe)
    environment = history.environment_to_return_to(entries, previous, serving.generation if serving else 0)
    switched = deployment.roll_out(Step("rollback", new, environment, changes(kept, new, deployment.built)), observe)
    unknown = (
        "" if new.kind != "command" or "source" in new.facts else "from what is there: its files were not kept then"
    )
    today = f"with the value of {names} of today: a former one is kept nowhere" if names else ""
    return _done(switched, f"release {switched.release} serves again, from a cold start", place.fact, unknown, today)


def _step(deployment: Deployment, serving: Instance, new: Release, environment: Environment, force: bool) -> Step:
    """Return what a deploy has to do; without changes there is nothing to do."""
    old = _kept(deployment, serving) or Release(new.kind, "", ())
    id, _, edition = serving.release.partition(".")
    if id != new.content_id:
        return Step("switch", new, environment, changes(old, new, deployment.built) or ("another release",))
    if force:
        again = replace(new, edition=1 + max(deployment.releases.editions(id), default=int(edition or 1)))
        return Step("switch", again, environment, ("the same content once more",))
    begun = history.begun(deployment.journal.entries(), serving.generation)
    news = _wiring(begun.get("environment", {}), environment)
    if begun.get("limits", limits := deployment.profile.limits.model_dump()) != limits:
        news += ("limits changed",)
    if not deployment.engine.restarts_itself(serving):
        news += ("a supervisor restarts it from now on",)
    return Step("restart", replace(new, edition=int(edition or 1)), environment, news)


def _wiring(before: Mapping[str, str], now: Mapping[str, str]) -> tuple[str, ...]:
    """Return what an instance gets beside its release that is no longer what the serving one got."""
    names = differing(before, now)
    return (f"{', '.join(names)} changed",) if names else ()


def _served_already(
    deployment: Deployment, serving: Instance, old: Release | None, new: Release, edge: tuple[str, ...]
) -> Deployed:
    """Keep how the release is proved from now on, when that has changed and what serves passes it."""
    fact = f"the same: {compared(new, deployment.built)}; to deploy it again, type: tailrace deploy --force"
    if old and old.acceptance != new.acceptance:
        passed = acceptance.send_smoke_tests(deployment.edge.preview_url(serving.colour), new.acceptance, serving)
        fact = f"{'; '.join(changes(old, new, deployment.built))}: {passed}, and a rollback will ask the same; {fact}"
    deployment.releases.save(new)
    return Deployed("served already", serving.release, fact="; ".join((*edge, fact)))


def _kept(deployment: Deployment, serving: Instance | None) -> Release | None:
    """Return the release that serves, as it is kept; None where its file is of no use."""
    try:
        return deployment.releases.find(serving.release) if serving else None
    except DeployError:
        return None


def _refuse_missing(before: Release | None, new: Release) -> None:
    """Raise DeployError when a secret that the release before had is still named, and not set here."""
    had = before.secrets if before else {}
    names = new.secret_names or {}
    if missing := [names[name] for name in had if name in names and name not in new.secrets]:
        raise DeployError(
            f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not set here, and the release before got a "
            "value: export it, or take its name out of service.secrets"
        )


def _done(switched: Switched, *facts: str) -> CommandResult:
    return CommandResult("done", "; ".join(filter(None, facts)), switched.states, switched.cut, switched.account)
