"""The faults of a soak: each is really done to the deployment, and says by what the journal has to own up to it."""

from __future__ import annotations

import errno
import os
import signal
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import psutil

from soak_account import BY_PROVIDER, BY_ROLLBACK, NOTHING, Injected
from tailrace.deploy import reachability
from tailrace.errors import DeployError
from tailrace.host import processes, waiting
from tailrace.testbed import candidates

if TYPE_CHECKING:
    from soak import Bed

NOTED_S = 60.0
"""How long a note of the journal is waited for; a busy machine takes its time."""
INSTANCE_ENDED = "instance ended"
HUNG_S, OUTAGE_S, SLOW_S = 2.0, 3.0, 6.0
IDLE, SLOW = 150, 50
HEAD = (
    b"POST /v1/chat/completions HTTP/1.1\r\nhost: soak\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n"
)


def inject(kind: str, bed: Bed) -> Injected:
    """Do the fault, wait until it is over and until the journal tells of it, and return what was done when."""
    struck = KINDS[kind](bed)
    if struck.owned_by not in (NOTHING, BY_PROVIDER, BY_ROLLBACK):
        _noted(bed, struck)
    waiting.until(lambda: reachability.ask(bed.deployment.edge).ok, NOTED_S)
    return Injected(kind, struck.at_ns, time.perf_counter_ns(), struck.owned_by)


class Struck(NamedTuple):
    """By what the journal has to own up to a fault, and when it was done."""

    owned_by: str
    at_ns: int

    @classmethod
    def now(cls, owned_by: str) -> Struck:
        return cls(owned_by, time.perf_counter_ns())


def _noted(bed: Bed, struck: Struck) -> bool:
    """Return whether the journal has the note of what was struck; it is waited for."""

    def found() -> bool:
        notes = (entry for entry in bed.deployment.journal.entries() if entry.kind == "note")
        return any(note.state == struck.owned_by and note.t_ns >= struck.at_ns for note in notes)

    return waiting.until(found, NOTED_S)


def _kill_serving(bed: Bed) -> Struck:
    serving, struck = bed.deployment.serving, Struck.now(INSTANCE_ENDED)
    assert serving
    bed.deployment.engine.kill(serving)
    return struck


def _kill_standby(bed: Bed) -> Struck:
    """Kill the old instance while the new one bakes: until then it is what a rollback would go back to."""
    old, struck = bed.deployment.serving, list[Struck]()
    assert old

    def kill() -> None:
        struck.append(Struck.now(INSTANCE_ENDED))
        bed.deployment.engine.kill(old)
        _noted(bed, struck[0])

    bed.switch({"baking": kill})
    return struck[0]


def _kill_edge(bed: Bed) -> Struck:
    struck = Struck.now("edge ended")
    for envoy in psutil.Process(_keeper(bed)).children():
        envoy.kill()
    return struck


def _kill_keeper(bed: Bed) -> Struck:
    """Envoy ends with what watches over it, and nobody is there to note it: the operator's next deploy does."""
    struck = Struck.now(reachability.STARTED_ANEW)
    os.kill(_keeper(bed), signal.SIGKILL)
    waiting.until(lambda: not bed.deployment.edge.server.alive(), NOTED_S)
    bed.deployment.deploy(bed.release, bed.stack.environment())
    return struck


def _hang(bed: Bed) -> Struck:
    serving, struck = bed.deployment.serving, Struck.now(NOTHING)
    assert serving
    bed.deployment.engine.freeze(serving)
    time.sleep(HUNG_S)
    bed.deployment.engine.thaw(serving)
    return struck


def _bad_release(bed: Bed) -> Struck:
    struck = Struck.now(BY_ROLLBACK)
    outcome = candidates.deploy(bed.stack, candidates.failing(bed.stack, bed.release), bake_s=30.0)
    if outcome.result != "rolled back":
        raise RuntimeError(f"a bad release was {outcome.result}: {outcome.why}")
    return struck


def _provider_outage(bed: Bed) -> Struck:
    struck = Struck.now(BY_PROVIDER)
    bed.stack.provider.inject({"kind": "outage", "duration_s": OUTAGE_S})
    time.sleep(OUTAGE_S)
    return struck


def _provider_hangs(bed: Bed) -> Struck:
    struck = Struck.now(BY_PROVIDER)
    bed.stack.provider.inject({"kind": "hang", "probability": 0.3, "hold_s": 2.0, "duration_s": OUTAGE_S})
    time.sleep(OUTAGE_S + 2.0)
    return struck


def _slow_and_idle(bed: Bed) -> Struck:
    """Callers that send nothing, and callers that send a byte of their body a second."""
    door, struck = bed.deployment.edge.layout.ingress, Struck.now(NOTHING)
    with ExitStack() as stack:
        callers = [stack.enter_context(socket.create_connection((door.reached, door.port), 10)) for _ in range(IDLE)]
        for caller in callers[:SLOW]:
            caller.sendall(HEAD)
        for _ in range(int(SLOW_S)):
            time.sleep(1)
            for caller in callers[:SLOW]:
                with suppress(OSError):
                    caller.sendall(b" ")
    return struck


def _disk_full(bed: Bed) -> Struck:
    """The write of the new routes' intent finds no room: nothing is committed, and the operator goes back."""

    def full(point: str) -> None:
        if point == "routed:intent:before":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    release, struck = bed.release.configured(SOAK="no room"), Struck.now(NOTHING)
    try:
        replace(bed.deployment, fault=full).switch(release, environment=bed.stack.environment())
    except DeployError as error:
        if "No space left" not in str(error):
            raise
    else:
        raise RuntimeError("a switch went through although its journal had no room")
    bed.deployment.abort()
    return struck


def _keeper(bed: Bed) -> int:
    keeper = processes.find(bed.deployment.folder / "processes", "edge")
    assert keeper
    return keeper.pid


KINDS: dict[str, Callable[[Bed], Struck]] = {
    "serving instance killed": _kill_serving,
    "provider outage": _provider_outage,
    "Envoy killed": _kill_edge,
    "bad release": _bad_release,
    "instance hangs": _hang,
    "standby killed": _kill_standby,
    "Envoy's keeper killed": _kill_keeper,
    "slow bodies, idle connections": _slow_and_idle,
    "provider hangs": _provider_hangs,
    "disk full": _disk_full,
}
"""Each does one fault; the journal owns up to it by a note of that state, or as a word of `soak_account` says."""
