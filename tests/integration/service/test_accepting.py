"""How fast a busy service accepts new connections, counted in turns of its event loop and not in time."""

import asyncio
import socket

import pytest
import uvloop

from tailrace.service import server
from tailrace.service.acceptor import AT_ONCE, Acceptor
from tailrace.service.connections import Connections

CALLERS = 128


async def turns(listener, acceptor):
    """Return in how many turns of the loop all callers were accepted who wait at `listener`."""
    loop, turn, accepted = asyncio.get_running_loop(), 0, []

    class Accepted(asyncio.Protocol):
        def connection_made(self, transport):
            accepted.append((turn, transport))

    address = listener.getsockname()
    callers = [socket.create_connection(address) for _ in range(CALLERS)]
    if acceptor:
        listening = Acceptor(listener, Accepted, Connections(CALLERS, 0))
    else:
        listening = await loop.create_server(Accepted, sock=listener)
    while len(accepted) < CALLERS:
        turn += 1
        await asyncio.sleep(0)
    listening.close()
    for _, transport in accepted:
        transport.abort()
    for caller in callers:
        caller.close()
    return accepted[-1][0] - accepted[0][0] + 1


@pytest.mark.parametrize(("acceptor", "least", "most"), [(True, 1, 8 * CALLERS // AT_ONCE), (False, 64, 256)])
def test_a_turn_of_the_loop_accepts_many_connections(acceptor, least, most):
    """The negative control: the loop's own listener accepts one."""
    with server.listen("127.0.0.1", 0, 60.0) as listener:
        assert least <= uvloop.run(turns(listener, acceptor)) <= most
