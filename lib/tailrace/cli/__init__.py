"""The command line: arguments only. What a command does is imported when it is called."""

from tailrace.cli.commands import main

__all__ = ["main"]
