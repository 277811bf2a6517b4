"""The real runbook, executed by `tailrace run` in a copy of the project."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

# The runbook and the build of a release read these. Releases are shared, so that each is built once.
COPIED = ("runbook", "notebooks", "lib", "pyproject.toml", "README.md", "LICENSE", "requirements-service.lock")


@dataclass
class Copy:
    """A copy of the project, with profiles of its own."""

    root: Path
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def profile(self, name: str, **content: object) -> None:
        """Write a profile that extends `local`, or the one that is named."""
        (self.root / "runbook" / "profiles" / f"{name}.yaml").write_text(
            yaml.safe_dump({"extends": "local", **content})
        )

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start `tailrace` in a process of its own, as a user would."""
        process = subprocess.Popen(
            [sys.executable, "-m", "tailrace", *arguments], cwd=self.root, text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=os.environ | {"PYTHONPATH": str(self.root / "lib")},
            start_new_session=True,
        )  # fmt: skip
        self.started.append(process)
        return process

    def run(self, *arguments: str) -> tuple[int, str]:
        """Return the exit status and the output of `tailrace ARGUMENTS`."""
        process = self.start(*arguments)
        output, _ = process.communicate(timeout=280)
        return process.returncode, output

    def result(self, step: str) -> dict:
        return json.loads((self.root / "runs" / "latest" / "results" / f"{step}.json").read_text())

    def states(self, step: str) -> dict[str, str]:
        return {check["name"]: check["state"] for check in self.result(step)["checks"]}


@pytest.fixture(scope="session")
def releases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("releases")


@pytest.fixture
def project(tmp_path: Path, root: Path, releases: Path, ended: Callable[..., None]) -> Iterator[Copy]:
    for name in COPIED:
        source = root / name
        if source.is_dir():
            # With its compiled modules: each copy would compile a few hundred anew.
            shutil.copytree(source, tmp_path / name, ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
        else:
            shutil.copy(source, tmp_path / name)
    (tmp_path / ".tailrace").mkdir()
    (tmp_path / ".tailrace" / "releases").symlink_to(releases)
    copy = Copy(tmp_path)
    yield copy
    ended(copy.started)
