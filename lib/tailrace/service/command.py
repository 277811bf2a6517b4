"""`tailrace serve`: its options. The process itself (`tailrace.service.process`) is imported when it runs."""

from __future__ import annotations

import os
import sys

import click

from tailrace import secret_files
from tailrace.errors import SettingsError
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
        secret_files.take(os.environ)
        settings = Settings.read(os.environ)
    except SettingsError as error:
        click.echo(str(error), err=True)
        sys.exit(error.exit_code)
    from tailrace.service import process  # only here: the help must not wait for the client

    process.run(settings, host, port)
