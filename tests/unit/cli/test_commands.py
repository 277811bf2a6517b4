"""The command line: every command says what it does, and every error is a line and a status."""

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from tailrace import __version__
from tailrace.cli import commands as cli
from tailrace.errors import PartMissing, ProfileError, TailraceError

ROOT = Path(__file__).parents[3]
COMMANDS = cli.main.list_commands(click.Context(cli.main))


def call(*arguments):
    return CliRunner().invoke(cli.main, arguments)


def test_the_commands_of_the_runbook_are_there():
    """What the runbook needs can be called."""
    assert {"down", "report", "run", "serve", "simulate", "version"} <= set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_and_its_options_are_documented(name):
    """Each command has a sentence, stands in the list, and each of its options says what it is for."""
    command = cli.main.get_command(click.Context(cli.main), name)
    assert command.help
    assert command.help.strip()[0].isupper()
    assert f"  {name} " in call("--help").output
    undocumented = [p.name for p in command.params if isinstance(p, click.Option) and not p.help]
    assert undocumented == []
    assert call(name, "--help").exit_code == 0


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "version"])
def test_a_command_stands_in_the_readme(name):
    """Who reads the README knows of each command."""
    assert f"tailrace {name}" in (ROOT / "README.md").read_text()


def test_the_list_of_commands_imports_none_of_them(monkeypatch):
    """--help works where the parts of a command are not installed."""
    monkeypatch.setattr(cli, "ELSEWHERE", {"gone": ("tailrace.not_there", "A command whose room is missing.")})
    assert "A command whose room is missing." in call("--help").output


def test_the_statuses_are_documented():
    """`tailrace run --help` says what each exit status means."""
    said = " ".join(call("run", "--help").output.split())
    for status in ("0 PASS", "1 FAIL", "2 INCONCLUSIVE", "3 could not run", "130 or 143"):
        assert status in said


@pytest.mark.parametrize(("error", "status"), [(ProfileError, 3), (PartMissing, 3), (TailraceError, 1)])
def test_an_error_is_one_line_per_problem_and_a_status(monkeypatch, error, status):
    """No traceback for an error that tailrace raises on purpose."""

    def fail():
        raise error("one\ntwo")

    monkeypatch.setitem(cli.main.commands, "version", click.Command("version", callback=fail))
    result = call("version")
    assert (result.exit_code, result.stderr, result.stdout) == (status, "tailrace: one\ntailrace: two\n", "")


def test_the_version_is_printed():
    """`tailrace version` says which one this is."""
    assert call("version").output == f"tailrace {__version__}\n"


def test_outside_of_a_project_there_is_nothing_to_run(tmp_path, monkeypatch):
    """The error says what was looked for, and the status is 3."""
    monkeypatch.chdir(tmp_path)
    result = call("run")
    assert result.exit_code == 3
    assert "found no runbook/plan.yaml here or above" in result.stderr
