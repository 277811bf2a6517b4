"""How fast a busy service accepts new connections, counted in turns of its event loop and not in time."""

import asyncio
import socket

import pytest
import uvloop

from tailrace.service import server
from tailrace.service.connections import Connections

CALLERS = 128


async def turns(at_once):
    """Return in how many turns of the loop `CALLERS` are accepted who wait when the server begins."""
    connections = Connections(1000)
    http = server.make(None, [], connections)
    listener = server.listen("127.0.0.1", 0, 60.0)
    callers = [socket.create_connection(listener.getsockname()) for _ in range(CALLERS)]
    if at_once:
        http.accept_at_once(listener)
    serving, turn, first = asyncio.create_task(http.serve(sockets=[listener])), 0, 0
    while len(connections.connections) < CALLERS:
        turn += 1
        first = first or (turn if connections.connections else 0)
        await asyncio.sleep(0)
    await http.stop_listening(listener)
    http.should_exit = http.force_exit = True
    await serving
    for caller in callers:
        caller.close()
    return turn - first + 1


@pytest.mark.parametrize(("at_once", "least", "most"), [(True, 1, CALLERS // 2), (False, CALLERS - 2, 2 * CALLERS)])
def test_a_turn_of_the_loop_accepts_many_connections(at_once, least, most):
    """The negative control: left alone, the loop accepts one."""
    assert least <= uvloop.run(turns(at_once)) <= most
