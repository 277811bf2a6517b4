"""A release of tailrace's own service: built once, the same bytes each time, complete."""

import subprocess

import pytest

from tailrace.deploy import build
from tailrace.errors import BuildFailed
from tailrace.profile import Service


def test_a_build_is_reused_until_its_source_changes(source, tmp_path):
    """The second build takes no time, and finds the same release."""
    first = build.build(Service(), source, tmp_path / "releases")
    again = build.build(Service(), source, tmp_path / "releases")
    assert first.id == again.id
    assert (first.facts["reused"], again.facts["reused"]) == (False, True)
    assert again.facts["seconds"] < 0.3
    assert first.ours
    assert {"tailrace", "uvicorn", "aiohttp"} <= set(first.facts["packages"])
    assert not {"pandas", "papermill", "matplotlib", "pyyaml"} & set(first.facts["packages"])
    python = f"{first.facts['folder']}/env/bin/python"
    done = subprocess.run([python, "-m", "tailrace.service", "--help"], capture_output=True, text=True, check=False)
    assert "--port" in done.stdout
    assert [path.name for path in (tmp_path / "releases").iterdir()] == [first.build[:16]]


def test_a_build_that_fails_shows_its_last_lines_and_leaves_nothing(tmp_path):
    """Here hatchling does not find what it is to pack."""
    source = tmp_path / "empty"
    source.mkdir()
    (source / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    with pytest.raises(BuildFailed, match=r"hatchling build …` left with 1; its last lines"):
        build.build(Service(), source, tmp_path / "releases")
    assert list((tmp_path / "releases").iterdir()) == []
