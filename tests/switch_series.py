"""Switches in a row under a load of many protocols: two deployments of `polyglot.py`, switched at the same time.

`web` speaks HTTP/1.1 at a front door with TLS, `rpc` h2c at a plain one; the load is that of `mixed_load.py`, and what
became of it is a `switch_account.Account` of each.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from certificates import Authority, put
from mixed_load import PERIOD, Doors, MixedLoad
from switch_account import BAD, Account
from tailrace.deploy import Deployment, Release
from tailrace.errors import RolledBack
from tailrace.profile import Profile

SERVER = Path(__file__).parent / "integration" / "servers" / "polyglot.py"
PROTOCOLS = {"web": "http1", "rpc": "h2c"}
WAYS_TO_FAIL = (("--fail-every", "2"), ("--die-at", "20"))
"""What the bad releases do, in turn: every second request fails; the server ends at a request."""
BAD_BAKE_S = 20.0


@dataclass(frozen=True)
class Series:
    """How often both are switched, under which load; every `bad_every`th release is a bad one, with 0 none."""

    count: int = 100
    rate: float = 500
    bad_every: int = 10
    session_s: float = 1.0
    """How long a WebSocket session or a stream of gRPC lives."""
    drain: bool = True
    drain_timeout_s: float = 10.0
    start_nice: int = 0
    """The load and two deployments fill two processors: a start that gives way to all of it takes most of the time."""
    grace_s: int = 2
    """What a server that is told to stop gives to what it has begun."""
    engine: str = "process"
    image: str = ""
    """For an engine that runs images: one that has `/polyglot.py` and what it imports."""

    @property
    def planned(self) -> tuple[int, int]:
        """How many switches of each deployment are to end well, and how many are to be rolled back."""
        bad = self.count // self.bad_every if self.bad_every else 0
        return self.count - bad, bad

    def share(self, door: str) -> float:
        """Return the requests per second that go to `door`."""
        return self.rate * sum(n for (of, _), n in PERIOD.items() if of == door) / sum(PERIOD.values())


@contextmanager
def deployments(series: Series, home: Path) -> Iterator[dict[str, Deployment]]:
    """Bring up both deployments below `home`; they are taken down at the end."""
    tls = put(Authority.made(home / "authority").sign("localhost"), home / "tls")
    opened: dict[str, Deployment] = {}
    with ExitStack() as stack:
        for door in PROTOCOLS:
            (home / f"counts-{door}").mkdir()
            opened[door] = d = Deployment.open(_profile(series, door, home, tls), home)
            if series.image:
                opened[door] = replace(d, engine=replace(d.engine, source=SERVER.parents[3]))  # type: ignore[type-var]
            stack.callback(opened[door].down)
            opened[door].up(_named(opened[door].build(SERVER.parent), f"{door}-0"))
        yield opened


def _profile(series: Series, door: str, home: Path, tls: Mapping[str, str]) -> Profile:
    python, program = ("python3", "/polyglot.py") if series.image else (sys.executable, str(SERVER))
    counts = [] if series.image else ["--counts", str(home / f"counts-{door}")]
    words = ["--host", "{host}", "--port", "{port}", "--protocol", PROTOCOLS[door], "--grace-s", str(series.grace_s)]
    service = {
        "command": [python, program, *words, *counts], "image": series.image, "protocol": PROTOCOLS[door],
        "warmup": [{"path": "/"}], "smoke": [{"path": "/stream?s=0.1", "stream": True}],
    }  # fmt: skip
    rollout = {
        "start_nice": series.start_nice, "bake_s": 0.7, "drain": series.drain,
        "drain_timeout_s": series.drain_timeout_s, "stop_grace_s": 5,
        "warmup": {"min_requests": 10, "max_requests": 20},
        # The gate looks for failures alone: the speed of this machine under all of it is not the question.
        "gate": {"window_s": 0.5, "latency_floor_ms": 5000},
    }  # fmt: skip
    edge: dict[str, Any] = {"tls": tls} if door == "web" else {}
    profile = {"name": f"series-{door}", "engine": series.engine, "service": service, "rollout": rollout, "edge": edge}
    return Profile.model_validate(profile)


def run(series: Series, opened: Mapping[str, Deployment], home: Path) -> list[Account]:
    """Switch both deployments under the load and take them down; return the account of each."""
    accounts = {door: Account(door, series.planned, series.share(door)) for door in opened}
    before = {door: d.counters() for door, d in opened.items()}
    authority = str(home / "authority" / "authority.pem")
    doors = Doors(opened["web"].url, opened["rpc"].url, authority, series.rate, series.session_s)
    with MixedLoad(doors) as load, ThreadPoolExecutor(len(opened)) as pool:
        works = [pool.submit(_switch, series, opened[door], accounts[door]) for door in opened]
        for work in works:
            work.result()
    for door, d in opened.items():
        accounts[door].rows = [row for row in load.rows if row.door == door]
        accounts[door].edge = d.counters().since(before[door])
        d.down()
        accounts[door].servers = _counts(home / f"counts-{door}")
    return list(accounts.values())


def _switch(series: Series, d: Deployment, account: Account) -> None:
    built, watched = d.build(SERVER.parent), _baking(d, BAD_BAKE_S)
    for n in range(1, series.count + 1):
        name = f"{account.door}-{n}"
        if series.bad_every and n % series.bad_every == 0:
            way = WAYS_TO_FAIL[n // series.bad_every % len(WAYS_TO_FAIL)]
            try:
                watched.switch(_named(built, name + BAD, *way))
            except RolledBack as error:
                account.rolled_back.append(error)
        else:
            account.switches.append(d.switch(_named(built, name)))
        print(f"\r{account.door}: {n} of {series.count}   ", end="", file=sys.stderr, flush=True)


def _baking(d: Deployment, bake_s: float) -> Deployment:
    """Return the deployment with a longer bake: a bad release is found out in time on a busy machine, too."""
    rollout = d.profile.rollout.model_copy(update={"bake_s": bake_s})
    return replace(d, profile=d.profile.model_copy(update={"rollout": rollout}))


def _named(release: Release, name: str, *extra: str) -> Release:
    """Return the release that tells its clients `name`, with more words on its command line."""
    return release.configured([*release.command, *extra], RELEASE=name)


def _counts(folder: Path) -> dict[str, Counter[str]]:
    """Return what the servers of each release counted, all kinds together."""
    counts: dict[str, Counter[str]] = {}
    for path in folder.iterdir():
        said = json.loads(path.read_text(encoding="utf-8"))
        for count in said["counts"].values():
            counts.setdefault(said["name"], Counter()).update(count)
    return counts
