"""A small project of its own with tiny notebooks, for a real `tailrace run`."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
import pytest
from click.testing import CliRunner, Result
from nbformat.v4 import new_code_cell, new_notebook

from tailrace.cli.commands import main
from tailrace.run import events

PARAMETERS = 'profile: str = "local"  # name\nrun_dir: str = ""  # of the run\n'
DECIDE = """
import json
from pathlib import Path
from tailrace.run import events

def finish(verdict, name={step!r}):
    ok = verdict == "PASS"
    events.append(Path(run_dir), "check", step=name, name="it works", ok=ok, fact="1 of 1")
    checks = [{{"name": "it works", "ok": ok, "fact": "1 of 1"}}]
    result = {{"step": name, "verdict": verdict, "checks": checks, "shown": []}}
    (Path(run_dir) / "results" / f"{{name}}.json").write_text(json.dumps(result))
"""


@dataclass
class Project:
    """A project in a folder of the test."""

    root: Path
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def step(self, name: str, body: str, parameters: str = "", **plan: object) -> None:
        """Add a step whose notebook runs `body`, in which `finish(verdict)` can be called."""
        cells = [
            new_code_cell(PARAMETERS + parameters, metadata={"tags": ["parameters"]}),
            new_code_cell(DECIDE.format(step=name)),
            new_code_cell(body),
        ]
        nbformat.write(new_notebook(cells=cells), self.root / "notebooks" / f"{name}.ipynb")
        with (self.root / "runbook" / "plan.yaml").open("a") as file:
            file.write(f"  - {json.dumps({'notebook': f'notebooks/{name}.ipynb', **plan})}\n")

    def profile(self, text: str, name: str = "local") -> None:
        (self.root / "runbook" / "profiles" / f"{name}.yaml").write_text(text)

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Start `tailrace` in a process of its own, as a user would; without arguments, `tailrace run`."""
        process = subprocess.Popen(
            [sys.executable, "-m", "tailrace", *(arguments or ("run",))],
            cwd=self.root, env={**os.environ, **environment}, text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        self.started.append(process)
        return process

    def run(self, *arguments: str, **environment: str) -> Result:
        """Run `tailrace` in this process, which spares its imports: kernels are processes in any case."""
        with contextlib.chdir(self.root):
            return CliRunner().invoke(main, arguments or ("run",), env=environment, catch_exceptions=False)

    @property
    def latest(self) -> Path:
        return (self.root / "runs" / "latest").resolve()

    def record(self) -> dict:
        return json.loads((self.latest / "run.json").read_text())

    def result(self, step: str) -> dict:
        return json.loads((self.latest / "results" / f"{step}.json").read_text())

    def wait_for(self, event: str, timeout_s: float = 60) -> events.RunEvent:
        """Return the first such event of the latest run, when it has been written."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            for written in events.read(self.latest) if self.latest.is_dir() else []:
                if written.event == event:
                    return written
            time.sleep(0.05)
        raise AssertionError(f"no event {event!r} within {timeout_s} s")


@pytest.fixture
def project(tmp_path: Path, ended: Callable[..., None]) -> Iterator[Project]:
    """An empty project with a profile `local`; add steps, then run it."""
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "runbook" / "profiles").mkdir(parents=True)
    (tmp_path / "runbook" / "plan.yaml").write_text("steps:\n")
    empty = Project(tmp_path)
    empty.profile("engine: process\n")
    yield empty
    ended(empty.started)
