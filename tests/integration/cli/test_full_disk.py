"""Every command on a project whose disk is full: exit status 3 and one line, or its work; what serves goes on."""

import json
import sys
import urllib.request
from pathlib import Path

import pytest
import yaml
from tests.integration.cli.test_deployment_commands import Project

import disks
from depth import scaled
from tailrace.profile import Profile
from tailrace.run import folder

pytestmark = pytest.mark.tmpfs
SERVER = Path(__file__).parents[1] / "servers" / "misbehaving.py"
WRITES = scaled([["deploy"], ["rollback"], ["restart"], ["maintenance", "on"], ["pause"]], [["deploy"]])
READS = scaled([["promote"], ["history"], ["status"], ["logs"], ["resume"], ["abort"]], [["promote"], ["history"]])


class Small(Project):
    """The project of the operator's commands, with a server that does not fail where it cannot write its log."""

    def profile(self, bake_s: float = 0.2, **environment: str) -> None:
        command = [sys.executable, str(SERVER), "--host", "{host}", "--port", "{port}"]
        content = {
            "service": {"command": command, "smoke": [{"path": "/"}], "environment": environment},
            "rollout": {"bake_s": bake_s, "settle_s": 0, "warmup": {"max_requests": 0, "min_requests": 0}},
        }
        (self.root / "runbook" / "profiles" / "local.yaml").write_text(yaml.safe_dump(content))


@pytest.fixture
def project(small_disk, tmp_path):
    small = Small(small_disk(tmp_path / "project", "4m"))
    yield small
    (small.root / disks.FILLER).unlink(missing_ok=True)
    small.call("down")


def refused(project, *arguments):
    done = project.call(*arguments)
    lines = done.stderr.splitlines()
    assert (done.returncode, len(lines), "Traceback" in done.stdout) == (3, 1, False), (arguments, done)
    assert lines[0].startswith("tailrace: ")
    return lines[0]


def test_a_full_disk_ends_no_command_in_a_verdict_and_stops_nothing(project):
    """A first deploy leaves nothing; later ones leave what serves; `down` needs no room; with room all is as before."""
    disks.fill(project.root)
    assert "No space left on device" in refused(project, "deploy")
    (project.root / disks.FILLER).unlink()
    url = project.json("deploy")["url"]
    run = folder.create_run(project.root, Profile(name="local"))
    project.profile(REVISION="2")
    second = project.json("deploy")["release"]
    project.profile(REVISION="3")
    disks.fill(project.root)
    for arguments in [*WRITES, ["report", f"runs/{run.id}"]]:
        assert "No space left on device" in refused(project, *arguments), arguments
    for arguments in READS:
        assert project.call(*arguments).returncode == 0, arguments
    assert urllib.request.urlopen(f"{url}/", timeout=60).status == 200
    assert json.loads(project.call("status", "--json").stdout)["slots"][0]["release"] == second
    (project.root / disks.FILLER).unlink()
    assert project.json("deploy")["result"] == "switched"
    disks.fill(project.root)
    assert "edge at" in project.call("down").stdout
    (project.root / disks.FILLER).unlink()
    assert project.json("deploy")["result"] == "brought up"
