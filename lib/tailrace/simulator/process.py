"""The life of a simulator process: listen, serve until a signal, exit."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable

import click

from tailrace import descriptors
from tailrace.simulator.server import Server
from tailrace.simulator.settings import Settings


def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; raises OSError if the port is taken."""
    descriptors.raise_limit()
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(settings))


async def _serve(settings: Settings) -> None:
    """Serve until a signal, then finish the requests in flight; a second signal cuts them."""
    server = Server(settings)
    await server.start()
    signals = asyncio.Semaphore(0)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, signals.release)
    click.echo(f"simulator listening on {server.url}")
    sys.stdout.flush()
    await signals.acquire()
    closing = asyncio.ensure_future(server.close())
    second = asyncio.ensure_future(signals.acquire())
    await asyncio.wait((closing, second), return_when=asyncio.FIRST_COMPLETED)
    second.cancel()
    if not closing.cancel():
        closing.result()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        import uvloop
    except ImportError:  # not on Windows
        return asyncio.new_event_loop
    return uvloop.new_event_loop
