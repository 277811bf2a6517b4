"""The command line: every command is documented, and every error is a line and an exit status."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from tailrace import __version__
from tailrace.cli import commands as cli
from tailrace.errors import DeployError, PartMissing, ProfileError, TailraceError

ROOT = Path(__file__).parents[3]
COMMANDS = sorted(cli.COMMANDS)
HEAVY = ["IPython", "httpx", "importlib.metadata", "matplotlib", "numpy", "openai", "orjson", "pandas", "papermill",
         "pyarrow", "pydantic", "rich", "yaml"]  # fmt: skip


def call(*arguments):
    return CliRunner().invoke(cli.main, arguments)


def test_the_commands_of_the_runbook_are_there():
    """The commands that the runbook and its procedures use exist."""
    assert {"down", "report", "run", "serve", "simulate", "version"} <= set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_and_its_options_are_documented(name):
    """Each command has a sentence and stands in the list; each of its options has a help text."""
    command = cli.main.get_command(click.Context(cli.main), name)
    assert command.help
    assert command.help.strip()[0].isupper()
    assert f"  {name} " in call("--help").output
    undocumented = [p.name for p in command.params if isinstance(p, click.Option) and not p.help]
    assert undocumented == []
    assert call(name, "--help").exit_code == 0


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "version"])
def test_a_command_stands_in_the_readme(name):
    """The README names each command."""
    assert f"tailrace {name}" in (ROOT / "README.md").read_text()


def test_the_list_of_commands_imports_none_of_them(monkeypatch):
    """--help works where the parts of a command are not installed."""
    monkeypatch.setattr(cli, "COMMANDS", {"gone": ("tailrace.not_there", "A command whose room is missing.")})
    assert "A command whose room is missing." in call("--help").output


def test_an_unknown_command_is_refused():
    """A name that is not in the list is a usage error, not an import."""
    result = call("no-such-command")
    assert result.exit_code == 2
    assert "No such command" in result.stderr


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_help_imports_no_heavy_package(name):
    """A help text comes at once, because nothing that takes long to import is imported for it."""
    assert imported(*name.split(), "--help") & set(HEAVY) == set()


def test_status_imports_only_what_it_shows():
    """`tailrace status` reads a profile and a journal; it needs neither numbers nor figures nor the SDK."""
    heavy = {"IPython", "httpx", "matplotlib", "numpy", "openai", "pandas", "papermill", "pyarrow"}
    assert imported("status") & heavy == set()


def test_a_heavy_import_is_seen(tmp_path):
    """The test above can fail: a command that runs imports what it needs."""
    assert "pydantic" in imported("run", cwd=tmp_path)


def imported(*arguments, cwd=ROOT):
    """Return the modules that `tailrace` with these arguments has imported at its end."""
    program = ("import sys\nfrom tailrace.cli.commands import main\n"
               f"try: main({list(arguments)!r})\nfinally: print(*sys.modules, file=sys.stderr)")  # fmt: skip
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=cwd, check=False)
    return set(done.stderr.split())


def test_the_statuses_are_documented():
    """`tailrace run --help` explains each exit status."""
    text = " ".join(call("run", "--help").output.split())
    for status in ("0 PASS", "1 FAIL", "2 INCONCLUSIVE", "3 could not run", "130 or 143"):
        assert status in text


@pytest.mark.parametrize(("error", "status"), [(ProfileError, 3), (PartMissing, 3), (TailraceError, 1)])
def test_an_error_is_one_line_per_problem_and_a_status(monkeypatch, error, status):
    """No traceback for an error that tailrace raises on purpose."""

    def fail():
        raise error("one\ntwo")

    monkeypatch.setattr(cli, "version", click.Command("version", callback=fail))
    result = call("version")
    assert (result.exit_code, result.stderr, result.stdout) == (status, "tailrace: one\ntailrace: two\n", "")


def test_the_version_is_printed():
    """`tailrace version` prints the version of the package."""
    assert call("version").output == f"tailrace {__version__}\n"


def test_outside_of_a_project_there_is_nothing_to_run(tmp_path, monkeypatch):
    """The error names what was missing, and the exit status is 3."""
    monkeypatch.chdir(tmp_path)
    result = call("run")
    assert result.exit_code == 3
    assert "found no runbook/plan.yaml here or above" in result.stderr


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO, errno.EISDIR, errno.ECONNREFUSED])
def test_what_the_system_refuses_is_no_verdict(monkeypatch, number):
    """Exit status 3 and one line, with the place and what to do, whatever the error of the system is."""
    refused = call_raising(monkeypatch, OSError(number, os.strerror(number), "/somewhere"))
    assert (refused.exit_code, refused.stdout, len(refused.stderr.splitlines())) == (3, "", 1)
    assert refused.stderr.startswith(f"tailrace: /somewhere: {os.strerror(number)}; ")


def test_an_error_of_ours_that_the_system_caused_is_no_verdict_either(monkeypatch):
    """A full disk below a DeployError is exit status 3; the same error without it, the control, is 1."""
    caused = DeployError("the journal could not be written")
    caused.__cause__ = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert call_raising(monkeypatch, caused).exit_code == 3
    assert call_raising(monkeypatch, DeployError("the journal could not be written")).exit_code == 1


def test_ctrl_c_is_no_verdict(monkeypatch):
    """Exit status 130, where click has 1, which is FAIL."""
    assert call_raising(monkeypatch, KeyboardInterrupt()).exit_code == 130


def test_an_error_in_the_program_has_its_traceback(monkeypatch):
    """The control: what is a defect here keeps its traceback, and its exit status 1."""
    defect = call_raising(monkeypatch, LookupError("a defect"))
    assert (defect.exit_code, "Traceback" in defect.stderr, "a defect" in defect.stderr) == (1, True, True)


def call_raising(monkeypatch, error):
    """Call a command that raises `error`."""

    def version():
        raise error

    monkeypatch.setattr(cli, "version", click.Command("version", callback=version))
    return call("version")
