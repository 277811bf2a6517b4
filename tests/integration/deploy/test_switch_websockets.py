"""WebSockets that are open while a switch goes on: each stays where it is, new ones go to the new colour."""

import contextlib
import sys
from pathlib import Path

import pytest

from doors import head
from tailrace.deploy import Deployment
from tailrace.profile import Profile
from wire import Http1

SERVER = Path(__file__).parents[1] / "servers" / "verbatim.py"
OPEN = 5


@pytest.fixture
def deploy(tmp_path):
    """Bring up a server that takes upgrades; options of its rollout may be given."""
    opened = []

    def make(**rollout):
        command = [sys.executable, str(SERVER), "--host", "{host}", "--port", "{port}"]
        rollout = {"bake_s": 0.3, "stop_grace_s": 2, "warmup": {"min_requests": 0, "max_requests": 0}} | rollout
        profile = {"name": "test", "service": {"command": command}, "rollout": rollout}
        d = Deployment.open(Profile.model_validate(profile), tmp_path)
        opened.append(d)
        built = d.build(SERVER.parent)
        d.up(built)
        return d, built.configured([*built.command, "--name", "second"])

    yield make
    for d in opened:
        d.down()


@pytest.fixture
def connect():
    """Open WebSockets; all are closed at the end of the test."""
    with contextlib.ExitStack() as stack:
        yield lambda d: stack.enter_context(WebSocket(d))


class WebSocket(Http1):
    """An upgraded connection that is answered with what it sends."""

    def __init__(self, d):
        super().__init__(d.edge.layout.ingress, head("/upgrade", "Connection: Upgrade", "Upgrade: websocket"))
        reply = self.reply()
        assert reply.status == 101
        self.colour = reply.header("x-colour")

    def echoes(self, word):
        self.send(word)
        return self.read(len(word)) == word


def test_open_websockets_stay_with_the_old_colour_until_they_end(deploy, connect):
    """The drain waits for them, and none is cut."""
    d, second = deploy(drain_timeout_s=60)
    sockets = [connect(d) for _ in range(OPEN)]
    newer = []

    def observe(state, *_):
        if state == "baking":
            newer.append(connect(d))
            assert all(socket.echoes(b"still here") for socket in sockets)
        if state == "baked":
            assert d.counters().colours["blue"].active == OPEN
            assert all(socket.echoes(b"bye") for socket in sockets)

    switched = d.switch(second, observe=observe)
    assert {socket.colour for socket in sockets} == {"blue"}
    assert {socket.colour for socket in newer} == {"green"}
    assert switched.cut == 0
    assert any("blue idle after" in fact for _, _, fact in switched.states)
    assert newer[0].echoes(b"still here")
    assert all(socket.closed() for socket in sockets)


def test_websockets_that_outlive_the_deadline_are_cut_and_counted(deploy, connect):
    """The negative control: the deadline is kept, and each of them is in the account."""
    d, second = deploy(drain_timeout_s=1)
    sockets = [connect(d) for _ in range(OPEN)]
    switched = d.switch(second)
    facts = {state: fact for state, _, fact in switched.states}
    assert switched.cut == OPEN
    assert f"blue still has {OPEN} requests" in facts["drained"]
    assert facts["done"].endswith(f"{OPEN} requests cut")
    assert all(socket.closed() for socket in sockets)
