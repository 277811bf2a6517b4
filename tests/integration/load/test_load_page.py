"""The examples and figures of the page about the numbers hold."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

PROCEDURES = Path(__file__).parents[3] / "runbook" / "procedures"
PAGE = (PROCEDURES / "numbers.md").read_text()
QWEN = (
    '{"chat_id": 0, "parent_chat_id": -1, "timestamp": 0.1, "input_length": 40, "output_length": 9, "hash_ids": [1, 2]}'
)
FILES = {
    "azure.csv": "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.68,50,7\n2023-11-16 18:15:50.95,60,8\n",
    "conversations.jsonl": '{"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes?"}, '
    '{"role": "user", "content": "why"}]}\n',
    "qwen.jsonl": QWEN + "\n",
}
"""The files that the commands of a page name."""


def blocks(language: str, page: str = PAGE) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page, re.S)


def test_the_examples_are_true():
    """The Python of the page holds, from top to bottom."""
    assert len(blocks("python")) == 4
    exec("\n".join(blocks("python")), {})


@pytest.fixture
def provider():
    """The URL of a simulated provider, which streams and counts tokens."""
    command = [sys.executable, "-m", "tailrace.simulator", "--port", "0", "--ttft-s", "0.01"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        yield re.search(r"http://[\d.:]+/v1", process.stdout.readline())[0]
        process.terminate()


def test_the_commands_run(provider, tmp_path):
    """The commands of the page are understood, and measure; here for a shorter time."""
    lines = "\n".join(blocks("console")).strip().splitlines()
    assert len(lines) == 3
    for number, line in enumerate(lines):
        arguments = line.replace("http://127.0.0.1:8080/v1", provider).replace("--duration 30", "--duration 2")
        command = [sys.executable, "-m", *shlex.split(arguments.replace("tailrace", "tailrace.cli", 1))]
        out = ["--out", str(tmp_path / str(number))]
        done = subprocess.run([*command, *out], capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode in {0, 2}, done.stderr  # 2: this machine is too busy to say
        assert "p95" in done.stdout + done.stderr


LOADS = "".join(blocks("console", (PROCEDURES / "load.md").read_text())).splitlines()


@pytest.mark.parametrize("line", LOADS, ids=range(len(LOADS)))
def test_the_commands_about_loads_run(provider, tmp_path, line):
    """Each command of the page is understood, and every request succeeds; here for a shorter time."""
    for name, content in FILES.items():
        (tmp_path / name).write_text(content)
    arguments = line.replace("http://127.0.0.1:8000/v1", provider).replace("--duration 60", "--duration 1")
    command = [sys.executable, "-m", *shlex.split(arguments.replace("tailrace", "tailrace.cli", 1)), "--no-floor"]
    environment = {**os.environ, "VLLM_API_KEY": "pearl"}
    done = subprocess.run(
        [*command, "--out", "out"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=tmp_path,
        env=environment,
    )
    assert done.returncode in {0, 2}, done.stderr  # 2: this machine is too busy to say, or n is too small
    written = [json.loads(path.read_text()) for path in (tmp_path / "out").glob("*.json") if path.name[0] != "_"]
    assert len(written) == 1
    assert not written[0].get("errors")
    assert "pearl" not in done.stdout + done.stderr + json.dumps(written)


def test_the_page_keeps_its_own_limits():
    """What the page says was measured is within what is promised: alarms, power, coverage where it is reliable."""
    alarms = [float(share) for share in re.findall(r"^\| the same \| ([\d.]+) % \| ([\d.]+) %", PAGE, re.M)[0]]
    assert sum(alarms) <= 8
    (power,) = re.findall(r"^\| 1 s slower [^|]*\| (\d+) %", PAGE, re.M)
    assert int(power) >= 70
    rows = re.findall(r"^\| bursty[^|]*\| [\d,]+ \| (\d+) \| \**([\d.]+) %", PAGE, re.M)
    assert len(rows) == 6
    assert all(float(held) >= 88 for episodes, held in rows if int(episodes) >= 8)
    assert any(float(held) < 88 for _, held in rows), "the page hides nothing"
