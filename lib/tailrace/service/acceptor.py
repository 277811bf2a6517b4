"""Accepts connections no faster than there is room for them; the others wait in the kernel, without a descriptor.

The listeners of event loops do not ask for room: a burst takes every descriptor, and those for whom none is left are
closed without an answer. And uvloop's accepts one connection in each turn of its loop: of a busy service a turn takes
long, and callers with a new connection would wait behind all the requests on older ones.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Final

from tailrace.service.connections import Connections

AT_ONCE: Final = 64
"""So many are accepted in one turn of the event loop."""
FULL_S: Final = 0.02
"""After so long it is looked again whether there is room, or a descriptor."""


class Acceptor:
    """Accepts on `listener`, and makes each connection's protocol by `protocol`; begins at once."""

    def __init__(
        self, listener: socket.socket, protocol: Callable[[], asyncio.Protocol], connections: Connections
    ) -> None:  # fmt: skip
        self._listener = listener
        self._protocol = protocol
        self._connections = connections
        self._begun: set[asyncio.Task[object]] = set()
        """Accepted, and not connected to their protocols yet."""
        self._loop = asyncio.get_running_loop()
        self._later: asyncio.TimerHandle | None = None
        listener.setblocking(False)
        self._loop.add_reader(listener, self._accept)

    def close(self) -> None:
        """Accept no more, and close the listener."""
        if self._later is not None:
            self._later.cancel()
        if self._listener.fileno() >= 0:
            self._loop.remove_reader(self._listener)
            self._listener.close()

    async def wait_closed(self) -> None:
        """Wait until whoever was accepted has his protocol."""
        await asyncio.gather(*self._begun)

    @property
    def _room(self) -> int:
        return self._connections.room - len(self._begun)

    def _accept(self) -> None:
        for _ in range(AT_ONCE):
            if self._room <= 0:
                return self._wait()
            try:
                accepted, _ = self._listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return None
            except OSError:  # no descriptor is left, whoever holds them
                return self._wait()
            accepted.setblocking(False)
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            task = self._loop.create_task(self._connect(accepted))
            self._begun.add(task)
            task.add_done_callback(self._begun.discard)
        return None

    async def _connect(self, accepted: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._protocol, accepted)
        except OSError:  # the caller is gone already
            accepted.close()

    def _wait(self) -> None:
        self._loop.remove_reader(self._listener)
        self._later = self._loop.call_later(FULL_S, self._again)

    def _again(self) -> None:
        if self._room <= 0:
            self._connections.make_room(self._loop.time())
        self._loop.add_reader(self._listener, self._accept)
