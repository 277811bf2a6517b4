"""The arguments of `tailrace load`."""

import subprocess
import sys

import pytest
from click.testing import CliRunner

from tailrace.cli.load.command import load

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
    ],
)
def test_options_that_make_no_sense_are_refused(arguments, reason):
    """Options that contradict each other, or a limit that is none, are refused with status 2 before anything starts."""
    refused = CliRunner().invoke(load, [URL, *arguments])
    assert refused.exit_code == 2
    assert reason in " ".join(refused.output.split())
