"""The limit of open files is raised as far as it may be."""

import subprocess
import sys

import pytest

SCRIPT = """
import resource
from tailrace import descriptors
print(descriptors.raise_limit(), *resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.parametrize(("limits", "expected"), [("-S -n 256", "4096 4096 4096"), ("-n 512", "512 512 512")])
def test_the_soft_limit_becomes_the_hard_one(limits: str, expected: str) -> None:
    """A process with a low soft limit raises it; one whose hard limit is low keeps that."""
    shell = f'ulimit -n 4096; ulimit {limits}; exec "$0" -c "$1"'
    done = subprocess.run(["bash", "-c", shell, sys.executable, SCRIPT], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == expected
