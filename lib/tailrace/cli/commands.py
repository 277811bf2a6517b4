"""`tailrace`: the list of its commands. The module of a command is imported when the command is called."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Final

import click

from tailrace import __version__, system_errors
from tailrace.cli import terminal
from tailrace.errors import PartMissing, TailraceError
from tailrace.host.files import UMASK

_EDGE: Final = "tailrace.cli.edge"
_ROLLOUTS: Final = "tailrace.cli.rollouts"
_RUNS: Final = "tailrace.cli.runs"
_STATE: Final = "tailrace.cli.state"
COMMANDS: Final = {
    "abort": (_ROLLOUTS, "Roll back what a dead controller had begun."),
    "base-image": (
        "tailrace.cli.images",
        "Make a base image from Debian's packages, where no registry can be reached.",
    ),
    "bench": (_RUNS, "Measure a grid of loads and lengths: which target, and how many?"),
    "cache": ("tailrace.cli.cache", "Show what a shared cache holds, and delete a part of it."),
    "compare": (_RUNS, "Decide whether RUN_B is slower than RUN_A, by paired windows of time."),
    "deploy": (_ROLLOUTS, "Bring up a deployment, or switch it to another release."),
    "down": (_RUNS, "Stop everything that runs of a profile left running."),
    "history": (_STATE, "Show who deployed what, when, why, and how it ended."),
    "load": ("tailrace.cli.load.command", "Send traffic to an API on a schedule, and measure it."),
    "maintenance": (_EDGE, "Answer every user with a page and status 503."),
    "logs": ("tailrace.cli.logs", "Show the log of an instance, the edge or the provider."),
    "pause": (_EDGE, "Hold new requests at the edge for a bounded time."),
    "promote": (_ROLLOUTS, "End the canary, the weight or the bake of the switch in progress now."),
    "report": (_RUNS, "Write the page of RUN again, from its records."),
    "restart": (_ROLLOUTS, "Switch to a new instance of the release that serves."),
    "resume": (_ROLLOUTS, "Continue where a controller died."),
    "rollback": (_ROLLOUTS, "Go back to the previous release."),
    "run": (_RUNS, "Run the runbook."),
    "serve": ("tailrace.service.command", "Run the service: an OpenAI-compatible endpoint through the client."),
    "simulate": ("tailrace.simulator.command", "Run a simulated OpenAI-compatible provider."),
    "status": (_STATE, "Show the state of a deployment."),
    "unpause": (_EDGE, "Release the requests that the edge holds."),
    "upgrade-edge": (_EDGE, "Replace the running edge with a new one."),
    "version": ("tailrace.cli.commands", "Print the version."),
}
"""Module and summary of each command. Some live in their own rooms, because an image of the service lacks `cli`."""


INTERRUPTED: Final = 130
"""Exit status after Ctrl-C, the convention of shells: 1 would be the verdict FAIL."""


class Commands(click.Group):
    """A group that imports a command when it is called, and turns an error into its message and exit status."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(COMMANDS[cmd_name][0])
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands by their summaries, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in sorted(COMMANDS.items())])

    def invoke(self, ctx: click.Context) -> object:
        os.umask(UMASK)  # for all that it makes and starts
        try:
            return super().invoke(ctx)
        except TailraceError as error:
            _say(str(error))
            sys.exit(PartMissing.exit_code if system_errors.of_machine(error) else error.exit_code)
        except BrokenPipeError:
            raise  # nobody reads on: click ends quietly
        except OSError as error:  # whatever the system refused: it is no verdict, and a traceback helps nobody
            _say(system_errors.sentence(error, f"tailrace {ctx.invoked_subcommand or ''}".strip()))
            sys.exit(PartMissing.exit_code)
        except KeyboardInterrupt:
            _say("interrupted")
            sys.exit(INTERRUPTED)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:  # a defect: its traceback may hold what others wrote
            terminal.print_exception(error)
            sys.exit(1)


def _say(text: str) -> None:
    for line in text.splitlines():
        terminal.say(f"tailrace: {line}", err=True)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def main() -> None:
    """A runbook that executes: ships an LLM service blue-green, and proves it with tail-latency percentiles."""


@click.command()
def version() -> None:
    """Print the version."""
    click.echo(f"tailrace {__version__}")


if __name__ == "__main__":
    main()
