"""How fast a busy service accepts new connections, counted in turns of its event loop and not in time."""

import asyncio
import socket

import pytest
import uvloop

from tailrace.service import server

CALLERS = 128


async def turns(sockets):
    """Return in how many turns of the loop all callers were accepted who wait at the first of `sockets`."""
    loop, turn, accepted = asyncio.get_running_loop(), 0, []

    class Accepted(asyncio.Protocol):
        def connection_made(self, transport):
            accepted.append((turn, transport))

    address = sockets[0].getsockname()
    callers = [socket.create_connection(address) for _ in range(CALLERS)]
    listening = [await loop.create_server(Accepted, sock=one) for one in sockets]
    while len(accepted) < CALLERS:
        turn += 1
        await asyncio.sleep(0)
    for one in listening:
        one.close()
    for _, transport in accepted:
        transport.abort()
    for caller in callers:
        caller.close()
    return accepted[-1][0] - accepted[0][0] + 1


@pytest.mark.parametrize(("all_doors", "least", "most"), [(True, 1, 2 * CALLERS // server.ACCEPTS), (False, 64, 256)])
def test_a_turn_of_the_loop_accepts_many_connections(all_doors, least, most):
    """The negative control: of the listener alone it accepts one."""
    with server.listen("127.0.0.1", 0, 60.0) as listener:
        sockets = server.doors(listener) if all_doors else [listener]
        assert least <= uvloop.run(turns(sockets)) <= most
        for one in sockets:
            one.close()
