"""The life of a service process: listen, serve until a signal, drain, exit."""

from __future__ import annotations

import asyncio
import functools
import gc
import ipaddress
import logging
import os
import socket
import sys
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Final

import click

from tailrace import descriptors
from tailrace.errors import SettingsError
from tailrace.headers import COLOUR, RELEASE
from tailrace.service import capacity, server, stores
from tailrace.service.app import App
from tailrace.service.capacity import MOST, Capacity
from tailrace.service.components import assemble
from tailrace.service.connections import Connections
from tailrace.service.health import reason
from tailrace.service.in_flight import InFlight
from tailrace.service.logs import Bridge, Log
from tailrace.service.settings import Settings
from tailrace.service.warm_up import warm_up

OPEN: Final = (
    "others than this machine's users reach that address, and the service does not ask who calls; listen on 127.0.0.1, "
    "or say that it is meant: TAILRACE_OPEN=yes"
)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def run(settings: Settings, host: str, port: int) -> None:
    """Serve on `host` and `port` until a signal; exit 3 when it cannot, or must not, listen there."""
    if settings.open == "no" and not is_loopback(host):
        click.echo(f"{host}:{port}: {OPEN}", err=True)
        sys.exit(3)
    try:
        holds = capacity.derived(descriptors.raise_limit(), settings.max_in_flight)
        listener = server.listen(host, port, settings.silence_s)
    except OSError as error:
        click.echo(f"{host}:{port}: cannot listen there: {reason(error)}; choose another port", err=True)
        sys.exit(3)
    except SettingsError as error:
        click.echo(str(error), err=True)
        sys.exit(error.exit_code)
    log = Log(functools.partial(os.write, 2), release=settings.release, colour=settings.colour)
    _capture_stderr(log)
    try:
        _run_loop(serving(settings, listener, log, holds))
    finally:
        log.close()


async def serving(
    settings: Settings, listener: socket.socket, log: Log, holds: Capacity = MOST
) -> None:  # fmt: skip
    """Serve on `listener` until a signal, and return once the service is drained."""
    asyncio.get_running_loop().set_exception_handler(_exception_handler(log))
    in_flight = InFlight()
    async with assemble(settings, log, in_flight, holds) as components:
        connections = Connections(holds.connections, holds.spare, settings.max_head_bytes)
        names = [(RELEASE, settings.release), (COLOUR, settings.colour)]
        http = server.make(App(components), names, connections)
        server.watch_signals(lambda: server.drain(in_flight, http, listener, log, settings.drain_s), log)
        host, port = listener.getsockname()[:2]
        url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        log.event("listening", url=url, cache=stores.name(settings.cache), own_key=bool(settings.api_key))
        warm_up(settings.provider_url, settings.model)
        gc.collect()
        gc.freeze()  # modules are not garbage: full collections need not walk them again
        click.echo(f"service listening on {url}")
        await http.serve(sockets=[listener])
    log.event("stopped")


def _run_loop(main: Coroutine[Any, Any, None]) -> None:
    try:
        import uvloop

        factory: Callable[[], asyncio.AbstractEventLoop] | None = uvloop.new_event_loop
    except ImportError:
        factory = None
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main)


def _capture_stderr(log: Log) -> None:
    """Let only our own lines reach stderr: other libraries' records and uncaught exceptions become events."""
    logging.lastResort = None
    logging.captureWarnings(True)
    logging.getLogger().addHandler(Bridge(log))
    sys.excepthook = lambda kind, error, trace: log.error("crashed", error)
    threading.excepthook = lambda failed: log.event("crashed", level="error", error_type=failed.exc_type.__name__)
    sys.unraisablehook = lambda failed: log.event("unraisable", level="error", error_type=failed.exc_type.__name__)


def _exception_handler(log: Log) -> Callable[[asyncio.AbstractEventLoop, dict[str, Any]], None]:
    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, BaseException):
            log.error("loop", error)
        else:
            log.event("loop", level="error")

    return handle
