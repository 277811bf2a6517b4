"""What a command prints: masked, harmless to a terminal, and bounded."""

import json

import click
import pytest
from click.testing import CliRunner

from tailrace.cli import terminal

SECRET = "zebra-quartz-4417-plain"


def printed(act, names=(), **environment):
    """Return what a command prints that does `act`, with these variables."""

    @click.command()
    def command():
        terminal.know(names)
        act()

    return CliRunner().invoke(command, env=environment, catch_exceptions=False).output


def test_no_known_secret_is_printed():
    """One that is named like a secret, and one that only the profile names; others stay."""
    text = printed(lambda: terminal.say(f"{SECRET} and walrus-onyx"), ["MINE"], A_KEY=SECRET, MINE="walrus-onyx")
    assert text == "[value of A_KEY] and [value of MINE]\n"
    assert printed(lambda: terminal.say(f"{SECRET} and walrus-onyx")) == f"{SECRET} and walrus-onyx\n"


def test_names_that_are_known_later_are_masked_from_then_on():
    """The profile is loaded after something was printed."""

    def act():
        terminal.say("walrus-onyx")
        terminal.know(["MINE"])
        terminal.say("walrus-onyx")

    assert printed(act, MINE="walrus-onyx") == "walrus-onyx\n[value of MINE]\n"


def test_nothing_acts_on_the_terminal():
    """Colours, titles, a carriage return, changes of direction; lines and tabs stay."""
    text = printed(lambda: terminal.say("\x1b[2Ja\x1b]0;t\x07b\rc\u202ed\n\te"))
    assert text == "ab\\x0dc\\u202ed\n\te\n"


def test_a_secret_with_escapes_in_it_is_masked():
    """Escapes go first: they hide it from a search, and not from a reader."""
    assert printed(lambda: terminal.say("zebra-\x1b[0mquartz-4417-plain"), A_KEY=SECRET) == "[value of A_KEY]\n"


def test_a_huge_line_is_cut():
    """It says how long it was."""
    text = printed(lambda: terminal.say("a." * 250_000 + "\nend"))
    assert len(text) < terminal.LINE_BYTES + 100
    assert text.endswith("(500,000 bytes)\nend\n")


@pytest.mark.parametrize("value", [SECRET, f"x{SECRET}\u202e\x9b31m", 'a "quoted" text'])
def test_json_stays_json(value):
    """A document is masked text by text, keys included, and can be parsed; numbers and null stay."""
    document = {"a": [value, 1.5, None], value: True}
    text = printed(lambda: click.echo(terminal.document(document)), A_KEY=SECRET)
    expected = value.replace(SECRET, "[value of A_KEY]")
    assert json.loads(text) == {"a": [expected, 1.5, None], expected: True}
    assert not {"\u202e", "\x9b"} & set(text)


def test_the_traceback_of_a_defect_holds_no_secret():
    """The command line prints it; the exit status is that of a failure."""
    from tailrace.cli import commands

    @click.command()
    def broken():
        raise RuntimeError(f"no {SECRET}\x1b[2J")

    group = commands.Commands("tailrace")
    group.get_command = lambda context, name: broken
    done = CliRunner().invoke(group, ["broken"], env={"A_KEY": SECRET})
    assert done.exit_code == 1
    assert "RuntimeError: no [value of A_KEY]\n" in done.stderr
    assert SECRET not in done.output
