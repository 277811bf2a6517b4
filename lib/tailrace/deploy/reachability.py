"""Does a deployment answer? Asked from outside, as its users ask, and not of processes, which may be hung.

The front door has to accept a connection. The request itself goes through the probe's door, which has the same routes
and counters of its own: a question of ours must not stand among the requests of users.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tailrace.deploy.edge import Edge, tls
from tailrace.errors import EdgeRejected
from tailrace.headers import COLOUR
from tailrace.host import waiting
from tailrace.host.http import FAILURES, exchange

if TYPE_CHECKING:
    from tailrace.deploy.deployment import Deployment

STARTED_ANEW = "edge started anew"
"""State of the note in the journal."""
CONNECT_S, ANSWER_S = 2.0, 2.5
PATIENCE_S = 15.0
"""How long an edge may be silent before it is started anew: a machine that is busy is no reason to cut requests."""


@dataclass(frozen=True)
class Reached:
    """What one question got: `door` says whether the edge itself is there, `colour` who answered."""

    ok: bool
    door: bool
    fact: str
    colour: str = ""


def ask(edge: Edge, held: bool = False) -> Reached:
    """Ask `edge` once, within some seconds; where requests are `held`, only its doors."""
    door = edge.layout.ingress
    try:
        with socket.create_connection((door.reached, door.port), CONNECT_S) as user:
            edge.counters()
            reached = Reached(True, True, "requests are held") if held else _answer(edge)
            if _is_closed(user):
                return Reached(False, True, f"the front door at {door} is full: it closes each new connection")
    except OSError as error:
        return Reached(False, False, f"the front door at {door} takes no connection ({error})")
    except EdgeRejected:
        return Reached(False, False, f"the edge at {door} is there and does not answer: it hangs")
    if reached.ok and edge.layout.settings.tls and not tls.speaks(door):
        return Reached(False, True, f"the front door at {door} does not speak TLS; see the edge's log", reached.colour)
    return reached


def _is_closed(user: socket.socket) -> bool:
    """Return whether the edge has closed a connection that nothing was sent on; what it was asked since came later."""
    user.setblocking(False)
    try:
        return user.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def _answer(edge: Edge) -> Reached:
    try:
        health = edge.serving_health()
    except EdgeRejected as error:
        return Reached(False, True, str(error))
    try:
        answer = exchange(edge.layout.probe.url + health.live, headers=health.headers, timeout_s=ANSWER_S)
    except FAILURES as error:
        why = str(error) or type(error).__name__
        return Reached(False, True, f"{health.live} got no answer within {ANSWER_S} s ({why})")
    colour = answer.headers.get(COLOUR, "")
    fact = f"{health.live} answered {answer.status} in {answer.duration_s * 1e3:.0f} ms"
    if answer.status >= 500:
        return Reached(False, True, f"{fact}: {answer.body[:80].decode(errors='replace').strip()}", colour)
    return Reached(True, True, fact, colour)


def restore_edge(deployment: Deployment) -> str:
    """Start the edge anew when its doors have been silent for `PATIENCE_S`; return what was done, "" when nothing."""
    looks: list[Reached] = []

    def is_there() -> bool:
        looks[:] = [ask(deployment.edge, held=True)]
        return looks[0].door

    if waiting.until(is_there, PATIENCE_S, 0.2):
        return ""
    fact = f"{looks[0].fact}; it was started anew on its files"
    deployment.journal.append("", "note", STARTED_ANEW, fact)
    deployment.edge.server.stop()
    deployment.edge.ensure()
    return fact
