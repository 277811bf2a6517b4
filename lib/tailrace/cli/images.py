"""The command that makes a base image."""

from __future__ import annotations

from pathlib import Path

import click

from tailrace.cli import terminal


@click.command(name="base-image")
@click.option("--again", is_flag=True, help="Make it anew, although there is one.")
def base_image(again: bool) -> None:
    """Make a base image from Debian's packages, where no image registry can be reached."""
    from tailrace.deploy.images import base_image as images
    from tailrace.deploy.images import dockerd
    from tailrace.run.folder import find_project
    from tailrace.testbed import stack

    name = images.ensure(dockerd.connect(), stack.home(find_project(Path.cwd())) / "images", again=again)
    terminal.say(f"base image: {name}")
