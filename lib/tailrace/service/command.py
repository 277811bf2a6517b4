"""`tailrace serve`: the service as a process."""

from __future__ import annotations

import asyncio
import functools
import gc
import logging
import os
import socket
import sys
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import click

from tailrace.errors import SettingsError
from tailrace.headers import COLOUR, RELEASE
from tailrace.service import server
from tailrace.service.app import App
from tailrace.service.health import reason
from tailrace.service.in_flight import Flights
from tailrace.service.logs import Bridge, Log
from tailrace.service.parts import assembled
from tailrace.service.settings import TABLE, Settings

EPILOG = "Settings, from the environment:\n\n\b\n" + "\n".join(
    f"{setting.name:<26} {setting.meaning}" for setting in TABLE
)


@click.command(epilog=EPILOG)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65_535), help="0 takes any free one.")
def serve(host: str, port: int) -> None:
    """Serve /v1/* and /ask through the resilient client until SIGTERM; exit 3 when it cannot start."""
    try:
        settings = Settings.read(os.environ)
    except SettingsError as error:
        click.echo(str(error), err=True)
        sys.exit(error.exit_code)
    try:
        listener = server.listen(host, port)
    except OSError as error:
        click.echo(f"{host}:{port}: cannot listen there: {reason(error)}; give another", err=True)
        sys.exit(3)
    log = Log(functools.partial(os.write, 2), release=settings.release, colour=settings.colour)
    _take_over(log)
    try:
        _run(serving(settings, listener, log))
    finally:
        log.close()


async def serving(settings: Settings, listener: socket.socket, log: Log) -> None:
    """Serve on `listener` until a signal says otherwise and all is drained."""
    asyncio.get_running_loop().set_exception_handler(_report(log))
    flights = Flights()
    async with assembled(settings, log, flights) as parts:
        http = server.make(App(parts), [(RELEASE, settings.release), (COLOUR, settings.colour)])
        server.watch_signals(lambda: server.drain(flights, http, listener, log, settings.drain_s), log)
        host, port = listener.getsockname()[:2]
        url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        log.event("listening", url=url, cache=settings.cache.partition(":")[0], own_key=bool(settings.api_key))
        gc.collect()
        gc.freeze()  # what was imported is not garbage: full collections need not walk it again
        click.echo(f"service listening on {url}")
        await http.serve(sockets=[listener])
    log.event("stopped")


def _run(main: Coroutine[Any, Any, None]) -> None:
    try:
        import uvloop

        factory: Callable[[], asyncio.AbstractEventLoop] | None = uvloop.new_event_loop
    except ImportError:
        factory = None
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main)


def _take_over(log: Log) -> None:
    """Let nothing reach stderr but our lines: other libraries' records and uncaught exceptions become events."""
    logging.lastResort = None
    logging.captureWarnings(True)
    logging.getLogger().addHandler(Bridge(log))
    sys.excepthook = lambda kind, error, trace: log.error("crashed", error)
    threading.excepthook = lambda found: log.event("crashed", level="error", error_type=found.exc_type.__name__)
    sys.unraisablehook = lambda found: log.event("unraisable", level="error", error_type=found.exc_type.__name__)


def _report(log: Log) -> Callable[[asyncio.AbstractEventLoop, dict[str, Any]], None]:
    def report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, BaseException):
            log.error("loop", error)
        else:
            log.event("loop", level="error")

    return report
