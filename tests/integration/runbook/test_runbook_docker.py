"""The whole runbook on a real Docker Engine: our service, somebody else's, and images that must not pass."""

import json
import os
import shutil
import subprocess
import sys

import psutil
import pytest

pytestmark = [pytest.mark.docker, pytest.mark.timeout(900)]

# What a busy machine leaves open: how well the load was timed, and what rests on that.
TIMED = ("the load generator kept its schedule", "p50 within", "p95 within", "p99 within", "ready for production")
QUICK = {
    "02_verify_health": {"calm_s": 0.8, "outage_s": 2.0, "hang_s": 2.0, "slow_start_s": 1.5},
    "03_blue_green_switch": {"head_start_s": 2.0, "tail_s": 1.0},
    "04_load_test": {"duration_s": 5.0},
}


@pytest.fixture
def images(project, root):
    """The copy of the project, with what images are built from; wheels and base are the project's own."""
    for name in ("Dockerfile", "requirements.lock"):
        shutil.copy(root / name, project.root / name)
    (root / ".tailrace" / "images").mkdir(parents=True, exist_ok=True)
    (project.root / ".tailrace" / "images").symlink_to(root / ".tailrace" / "images")
    git = ["git", "-C", str(project.root), "-c", "user.name=test", "-c", "user.email=test@localhost"]
    for step in (["init", "-q"], ["add", "pyproject.toml"], ["commit", "-q", "-m", "a revision to be labelled with"]):
        subprocess.run([*git, *step], check=True)
    yield project
    for name in ("containers", "theirs", "weak"):
        if (project.root / ".tailrace" / name).is_dir():
            project.run("down", "--profile", name)


def run(project, *arguments: str) -> tuple[int, str]:
    process = project.start("run", *arguments)
    said, _ = process.communicate(timeout=600)
    return process.returncode, said


def left(project) -> list[str]:
    """Return what is left of a run: containers and networks of this home, and processes that work in it."""
    from tailrace.deploy.engines.docker.engine import DockerEngine
    from tailrace.deploy.images import dockerd

    mark, client = DockerEngine(project.root / ".tailrace").mark, dockerd.connect()
    containers = client.containers.list(all=True, filters={"label": f"io.tailrace.home={mark}"})
    networks = [network for network in client.networks.list() if mark in network.name]
    client.close()
    working = [p for p in psutil.process_iter(["cwd", "cmdline"]) if str(project.root) in str(p.info)]
    return [*(c.name for c in containers), *(n.name for n in networks), *(str(p.info["cmdline"]) for p in working)]


def undecided(project, said: str) -> list[str]:
    """Return the checks that are not PASS, each of the kind that time decides; fail for any other."""
    found = []
    for path in sorted((project.root / "runs" / "latest" / "results").glob("*.json")):
        for check in json.loads(path.read_text())["checks"]:
            if check["state"] not in ("PASS", "SKIPPED"):
                assert check["state"] == "INCONCLUSIVE", said
                assert check["name"].startswith(TIMED), said
                found.append(check["name"])
    return found


@pytest.mark.deep
def test_the_whole_runbook_passes_in_containers_and_leaves_nothing(images):
    """Five notebooks on a real engine: no request lost, counted twice; the report names what was shipped."""
    images.profile("containers", extends="docker", steps=QUICK)
    status, said = run(images, "--profile", "containers")
    open_ = undecided(images, said)
    assert status == (2 if open_ else 0), said
    record = json.loads((images.root / "runs" / "latest" / "run.json").read_text())
    assert record["verdict"] == ("INCONCLUSIVE" if open_ else "PASS")
    assert [step["name"][:2] for step in record["steps"]] == ["01", "02", "03", "04", "05"]
    switch = images.result("03_blue_green_switch")["switch"]
    assert switch["requests"] == switch["edge_requests"] >= 1_000
    assert (switch["failed"], switch["unexplained"]) == (0, 0)
    digests = images.result("01_build_image")["digests"]
    assert set(digests) == {"service", "edge"}
    page = (images.root / "runs" / "latest" / "report.html").read_text()
    assert all(digest.startswith("sha256:") and digest in page for digest in digests.values())
    assert images.states("05_latency_report")["ready for production"] in ("PASS", "INCONCLUSIVE")
    lines = {line["name"]: line["state"] for line in images.result("05_latency_report")["checklist"]}
    assert lines["The container is hardened"] == "PASS"
    assert left(images) == []


@pytest.mark.deep
def test_a_service_that_is_not_ours_is_shipped_from_its_own_dockerfile(images):
    """The example is built, proved, and switched without losing a request; what is not ours to say is left out."""
    images.profile("theirs", extends="own-image", steps={"03_blue_green_switch": {"head_start_s": 1.5, "tail_s": 1.0}})
    status, said = run(images, "--profile", "theirs", "--only", "01_build_image", "--only", "03_blue_green_switch")
    assert status == (2 if undecided(images, said) else 0), said
    assert images.states("01_build_image")["same source, same content"] == "SKIPPED"
    assert images.result("03_blue_green_switch")["switch"]["failed"] == 0
    assert (
        images.states("03_blue_green_switch")["a release that fails while it bakes is rolled back automatically"]
        == "PASS"
    )
    assert left(images) == []


@pytest.mark.deep
def test_an_image_that_is_not_hardened_fails_step_01_which_says_what(images):
    """The negative control: root, no health check, a key in its environment."""
    service = images.root / "runbook" / "example" / "service"
    weak = (service / "Dockerfile").read_text().replace("USER 65532:65532", f"ENV API_KEY={'sk-' + 'a' * 30}")
    (service / "Weak").write_text(weak.partition("HEALTHCHECK")[0] + 'CMD ["python3", "/srv/greeting.py"]\n')
    images.profile("weak", extends="own-image", service={"dockerfile": "runbook/example/service/Weak"})
    status, said = run(images, "--profile", "weak", "--only", "01_build_image")
    states = images.states("01_build_image")
    assert status == 1, said
    failed = {name for name, state in states.items() if state == "FAIL"}
    assert failed == {
        "runs as a numeric user other than root",
        "no secret in its environment, labels or history",
        "health check turns red when the program hangs",
    }
    assert "a" * 30 not in said
    assert "user root" in said
    assert left(images) == []


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("DOCKER_HOST", "tcp://127.0.0.1:1", "no engine answers; type: make engine"),
        ("BASE_IMAGE", "127.0.0.1:1/nothing:1", "BASE_IMAGE names '127.0.0.1:1/nothing:1', which is not in the engine"),
    ],
)
def test_what_is_missing_is_said_before_anything_starts(images, monkeypatch, name, value, said):
    """No engine, or no base image: exit status 3, with what to type, and no run."""
    monkeypatch.setenv(name, value)
    status, printed = run(images, "--profile", "docker")
    monkeypatch.delenv(name)
    assert status == 3
    assert said in " ".join(printed.split())
    assert not (images.root / "runs").exists()


def test_a_user_who_may_not_use_the_socket_is_told_so(root):
    """Permission denied, and which group to join; root asks as nobody."""
    if os.getuid() != 0:
        pytest.skip("only root can ask as somebody else")
    connect = (
        "import os; from tailrace.deploy.images import dockerd; os.setgroups([]); os.setuid(65534); dockerd.connect()"
    )
    environment = os.environ | {"PYTHONPATH": str(root / "lib")}
    done = subprocess.run([sys.executable, "-c", connect], env=environment, capture_output=True, text=True, check=False)
    assert "permission denied on its socket; join the group docker" in done.stderr
