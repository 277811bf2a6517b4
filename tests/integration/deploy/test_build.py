"""A release of tailrace's own service: built once, the same bytes each time, complete."""

import subprocess

import pytest

from tailrace.deploy import build
from tailrace.errors import BuildFailed
from tailrace.profile import Service

EVERY = """
import importlib, pkgutil, tailrace
for module in pkgutil.walk_packages(tailrace.__path__, "tailrace."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
"""
"""Imports every module of an installed release: what one of them needs is there."""


def test_a_build_is_reused_until_its_source_changes(source, tmp_path):
    """The second build installs nothing, and returns the same release."""
    first = build.build(Service(), source, tmp_path / "releases")
    again = build.build(Service(), source, tmp_path / "releases")
    assert first.id == again.id
    assert (first.facts["reused"], again.facts["reused"]) == (False, True)
    assert again.facts["wheel_sha256"] == first.facts["wheel_sha256"]
    assert first.ours
    assert {"tailrace", "uvicorn", "aiohttp"} <= set(first.facts["packages"])
    assert not {"pandas", "papermill", "matplotlib", "pyyaml"} & set(first.facts["packages"])
    python = f"{first.facts['folder']}/env/bin/python"
    done = subprocess.run([python, "-m", "tailrace.service", "--help"], capture_output=True, text=True, check=False)
    assert "--port" in done.stdout
    done = subprocess.run([python, "-c", EVERY], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert [path.name for path in (tmp_path / "releases").iterdir()] == [first.build[:16]]


def test_a_build_that_fails_shows_its_last_lines_and_leaves_nothing(source, tmp_path):
    """Here hatchling finds no license of the name that the project gives."""
    project = (source / "pyproject.toml").read_text()
    (source / "pyproject.toml").write_text(project.replace('"Apache-2.0"', '"No-Such-License"'))
    with pytest.raises(BuildFailed, match=r"hatchling build …` exited with 1; its last lines"):
        build.build(Service(), source, tmp_path / "releases")
    assert list((tmp_path / "releases").iterdir()) == []
