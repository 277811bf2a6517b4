"""The client's page keeps its word: each example runs as it stands."""

import ast
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import tailrace

PATH = Path(__file__).parents[3] / "runbook" / "procedures" / "client.md"
PAGE = PATH.read_text()
SECTIONS = {text.splitlines()[0]: text for text in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]}
CODE = re.compile(r"```python\n(.*?)```", re.DOTALL)
FAULT = re.compile(r"--fault (\S+)")


def examples(page: str) -> list[str]:
    return CODE.findall(page)


def unreached(code: str, reached: set[int]) -> list[str]:
    """Return the lines of an example on which a statement begins that was not reached."""
    lines = code.splitlines()
    plain = (node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.stmt) and not hasattr(node, "body"))
    return [lines[node.lineno - 1] for node in plain if reached.isdisjoint(range(node.lineno, node.end_lineno + 1))]


def run(code: str) -> set[int]:
    """Run an example as a module, and return the lines that were reached."""
    reached: set[int] = set()

    def traced(frame, event, _argument):
        if frame.f_code.co_filename != str(PATH):
            return None
        if event == "line":
            reached.add(frame.f_lineno)
        return traced

    before = sys.gettrace()
    threading.settrace(traced)
    sys.settrace(traced)
    try:
        exec(compile(code, str(PATH), "exec"), {"__name__": "example"})  # our own page
    finally:
        sys.settrace(before)
        threading.settrace(before)
    return reached


def unmet(simulator) -> list[str]:
    """Return the faults that were set and have met nobody."""
    return [fault["kind"] for fault in simulator.admin("GET", "faults") if not fault["met"]]


@pytest.fixture
def service(simulator) -> Iterator[str]:
    """The URL of a service in front of the simulator."""
    command = [sys.executable, "-m", "tailrace.service", "--port", "0"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TAILRACE_")}
    environment["TAILRACE_PROVIDER_URL"] = simulator.url
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as process:
        try:
            yield process.stdout.readline().split()[-1]
        finally:
            process.terminate()


@pytest.fixture
def surroundings(simulator, key, monkeypatch, tmp_path, request, code):
    """What the page says an example needs."""
    monkeypatch.setenv("OPENAI_API_KEY", key)
    monkeypatch.setenv("OPENAI_BASE_URL", simulator.url)
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", key)
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", simulator.url.removesuffix("/v1"))
    monkeypatch.chdir(tmp_path)
    for variable, fixture in (("REDIS_URL", "redis_url"), ("SERVICE_URL", "service")):
        if variable in code:
            monkeypatch.setenv(variable, request.getfixturevalue(fixture))


EXAMPLES = [
    pytest.param(code, id=f"{name}-{number}")
    for name, text in SECTIONS.items()
    for number, code in enumerate(examples(text))
]


@pytest.mark.parametrize("code", EXAMPLES)
@pytest.mark.usefixtures("surroundings")
def test_an_example_runs(simulator, code):
    """Copied from the page and run against the simulator, it does what it asserts, to its last line."""
    faults = FAULT.findall(code)
    simulator.faults(*(dict(item.partition("=")[::2] for item in fault.split(",")) for fault in faults))
    reached = run(code)
    assert unreached(code, reached) == []
    assert unmet(simulator) == []
    assert len(simulator.admin("GET", "faults")) == len(faults)


def test_an_assertion_that_is_not_reached_is_missed():
    """Negative control: an example whose error never comes did not show it."""
    code = "try:\n    found = 1\nexcept ValueError as error:\n    assert error.args\n"
    assert unreached(code, run(code)) == ["    assert error.args"]


def test_a_fault_that_is_not_met_is_missed(simulator):
    """Negative control: a fault that no request came to did not show anything."""
    simulator.faults({"kind": "hang"})
    assert unmet(simulator) == ["hang"]


def test_every_section_has_an_example():
    """No section promises something without showing it; the benchmark is a command."""
    assert [name for name, text in SECTIONS.items() if not examples(text)] == ["Benchmark"]


def test_every_public_name_is_on_the_page():
    """What can be imported from `tailrace` is explained."""
    assert [name for name in tailrace.__all__ if not re.search(rf"\b{name}\b", PAGE)] == []
