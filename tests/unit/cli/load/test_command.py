"""The arguments of `tailrace load`."""

import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from tailrace.cli.load.command import load
from tailrace.cli.load.options import ENDPOINTS
from tailrace.cli.load.sections import SECTIONS, SectionedCommand
from tailrace.load.bodies import PATHS

HEAVY = ("numpy", "orjson", "pandas", "pyarrow", "pydantic", "yaml")
URL = "http://127.0.0.1:9/v1"


def help_without(packages: tuple[str, ...], module: str) -> subprocess.CompletedProcess[str]:
    """Print the help text of the command in `module` where `packages` cannot be imported."""
    program = (
        f"import sys; sys.modules.update(dict.fromkeys({packages!r}))\n"
        f"from tailrace.cli.load.{module} import *\nload(['--help'])"
    )
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)


def test_the_help_text_needs_nothing_heavy():
    """Who only asks what the options are does not wait for NumPy."""
    shown = help_without(HEAVY, "command")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "--rate" in shown.stdout


def test_a_heavy_import_is_seen():
    """The check above can fail: the work itself needs them."""
    assert "import of" in help_without(HEAVY, "measurement").stderr


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--users", "3", "--rate", "5"], "--users says when requests are due, and so does --rate"),
        (["--find", "--to-rate", "5"], "--find searches upwards: --to-rate 5 is below --rate 10"),
        (["--slo", "p100=5"], "expected a percentile and its limit in ms"),
        (["--slo", "p99=soon"], "expected a percentile and its limit in ms"),
        (["--slo", "ttfp_p95=300"], "did you mean ttft_p95?"),
        (["--slo", "p999=300"], "did you mean p99.9?"),
        (["--goodput", "tttf=300,share=0.9"], "did you mean ttft?"),
        (["--goodput", "ttft=300"], "found no share"),
        (["--users", "3", "--sessions"], "--users says when requests are due, and so does --sessions"),
        (["--tokenizer", __file__, "--no-rehearse"], "--tokenizer is used in the rehearsal"),
        (["--endpoint", "embeddings", "--stream"], "embeddings has no streams"),
        (["--turns", "3"], "--turns is for sessions: give --sessions, too"),
        (["--sessions", "--turns", "3", "--prompts", __file__], "--prompts says how many each has"),
        (["--sessions", "--think", "3", "--trace", __file__], "--trace says when each turn is due"),
        (["--header", "x-team: search"], "x-team: expected NAME=VALUE"),
        (["--header", "x-a=1", "--header", "X-A=2"], "X-A is given twice"),
        (["--header", "authorization=Bearer word"], "expected the name of an environment variable"),
        (["--header", "content-length=1"], "set by the sender"),
        (["--extra-body", "{"], "not JSON"),
        (["--extra-body", "[1]"], "expected a JSON object"),
        (["--extra-body", '{"a": NaN}'], "NaN is not JSON"),
        (["--extra-body", '{"stream": true}'], "stream is set by --stream"),
    ],
)
def test_options_that_make_no_sense_are_refused(arguments, reason):
    """Options that contradict each other, or a limit that is none, are refused with status 2 before anything starts."""
    refused = CliRunner().invoke(load, [URL, *arguments])
    assert refused.exit_code == 2
    assert reason in " ".join(refused.output.split())


def test_each_option_stands_in_one_section():
    """The help text has no section of the left-over, and names each option once."""
    listed = [name for names in SECTIONS.values() for name in names]
    context = click.Context(load)
    assert len(listed) == len(set(listed))
    assert "Others:" not in load.get_help(context)


def test_an_option_without_a_section_is_shown_last():
    """The check above can fail: such an option is not lost."""
    command = SectionedCommand("c", params=[click.Option(["--new-one"], help="New.")])
    assert "Others:\n  --new-one" in command.get_help(click.Context(command))


@pytest.mark.parametrize("width", [80, 120])
def test_the_help_text_fits_a_terminal(width):
    """No line is wider than the terminal."""
    shown = load.get_help(click.Context(load, terminal_width=width, max_content_width=width))
    assert max(map(len, shown.splitlines())) <= width


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("x-team=search", {"x-team": "search"}),
        ("x-key=$MY_KEY", {"x-key": "${MY_KEY}"}),
        ("Authorization=Bearer ${MY_KEY}", {"Authorization": "Bearer ${MY_KEY}"}),
        ("x-cost=5 $ a=b", {"x-cost": "5 $ a=b"}),
    ],
)
def test_a_header_is_kept_as_a_template(given, kept):
    """What is handed on names the variable; its value is nobody's business but the sender's."""
    context = load.make_context("load", [URL, "--header", given])
    assert context.params["header"] == kept


def test_the_endpoints_are_those_of_the_load_generator():
    """The help text needs no pydantic, so their names stand twice."""
    assert set(ENDPOINTS) == set(PATHS)
