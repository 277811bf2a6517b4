"""What the commands on a deployment share: their options, opening it, and printing an answer."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tailrace.cli import terminal

if TYPE_CHECKING:
    from tailrace.deploy import Deployment
    from tailrace.deploy.account import Account
    from tailrace.deploy.rollout import CommandResult
    from tailrace.profile import Profile

Command = Callable[..., Any]


def options(command: Command) -> Command:
    """Give a command `--profile` and `--json`."""
    command = click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON.")(command)
    return click.option(
        "--profile", default="local", show_default=True, help="Name in runbook/profiles, or a YAML file."
    )(command)


def load(name: str) -> tuple[Profile, Path]:
    """Return the profile, and the root of the project around the working directory."""
    from tailrace import profile
    from tailrace.run.folder import find_project

    root = find_project(Path.cwd())
    chosen = profile.load(name, root)
    terminal.know(chosen.secret_names)
    return chosen, root


def opened(name: str) -> Deployment:
    """Return the deployment of a profile."""
    from tailrace.deploy import Deployment

    profile, root = load(name)
    return Deployment.open(profile, root / ".tailrace")


@contextlib.contextmanager
def leaks_said(profile: Profile, root: Path) -> Iterator[None]:
    """Say at the end, however it ends, where a credential was written meanwhile in what the deployment keeps."""
    from tailrace.errors import LeakFound
    from tailrace.run import leaks

    begun = time.time() - 1.0  # file systems may keep time less exactly
    try:
        yield
    finally:
        try:
            secrets = leaks.secrets(profile, os.environ)
            leaks.require_none_in_state(root / ".tailrace" / profile.name, secrets, begun)
        except LeakFound as leak:
            terminal.say(f"tailrace: {leak}", err=True)


def observer(as_json: bool) -> Callable[[str, int, str], None]:
    """Return what prints each state as it is reached: to standard error where standard output is for JSON."""

    def observe(state: str, t_ns: int, fact: str) -> None:
        terminal.say(f"  {state:<12} {fact}", err=as_json)

    return observe


def end_like_ctrl_c() -> None:
    """Have SIGTERM raise KeyboardInterrupt: a job that is cancelled rolls back, and leaves nothing half-way."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def show(answer: Any, as_json: bool, text: str) -> None:
    """Print `answer` as JSON, or else `text`."""
    click.echo(terminal.document(answer) if as_json else terminal.shown(text))


def show_outcome(outcome: CommandResult, as_json: bool) -> None:
    """Print the result of a command, and leave with 1 when users felt it."""
    from dataclasses import asdict

    answer = {name: value for name, value in asdict(outcome).items() if name != "account"}
    show({**answer, **outcome.account.document()}, as_json, f"{outcome.state}: {outcome.fact}")
    leave(outcome.account)


def leave(account: Account, serving: str = "") -> None:
    """Leave with 1, and say why, when a command was no success for the users of the deployment."""
    if account.felt:
        terminal.say(f"tailrace: no success for users{serving}: {account.felt}. {account.text}", err=True)
        sys.exit(1)
