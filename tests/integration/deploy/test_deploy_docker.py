"""The docker engine on a real Docker Engine: hardened images, a switch under load, and what happens to it."""

import contextlib
import dataclasses
import os
import re
import socket
import subprocess
import time
import uuid
from pathlib import Path

import docker.errors
import pytest

from tailrace.deploy import Deployment
from tailrace.errors import BuildFailed, EdgeRejected, NotReady, PartMissing, StartFailed
from tailrace.profile import Limits, Profile, Service

pytestmark = pytest.mark.docker

SERVER = Path(__file__).parents[1] / "servers" / "misbehaving.py"
RUN = ["python3", "/server.py", "--host", "{host}", "--port", "{port}"]
GOOD = """
LABEL org.opencontainers.image.revision=1 org.opencontainers.image.version=1 org.opencontainers.image.created=1
USER 65532:65532
HEALTHCHECK --interval=1s --timeout=1s --retries=1 CMD ["python3", "-c", \
"import urllib.request as u; u.urlopen('http://127.0.0.1:8000/healthz', timeout=0.5)"]
CMD ["python3", "/server.py", "--port", "8000"]
"""
KEY = "sk-" + "a" * 30


@pytest.fixture(scope="module")
def client():
    from tailrace.deploy import dockerd

    client = dockerd.connect()
    yield client
    client.close()


@pytest.fixture(scope="module")
def base(client, root):
    """A base image, from the cache of the project, or made (a minute)."""
    from tailrace.deploy import base_image

    return base_image.ensure(client, root / ".tailrace" / "images")


@pytest.fixture(scope="module")
def image(client, base, tmp_path_factory):
    """Build an image of the misbehaving server, with more lines in its Dockerfile; return its id."""
    made = []

    def make(lines: str = GOOD) -> str:
        folder = tmp_path_factory.mktemp("context")
        (folder / "server.py").write_bytes(SERVER.read_bytes())
        (folder / "Dockerfile").write_text(f"FROM {base}\nCOPY server.py /server.py\n{lines}\n")
        built, _ = client.images.build(path=str(folder), rm=True, forcerm=True, network_mode="none")
        made.append(built.id)
        return built.id

    yield make
    for one in reversed(dict.fromkeys(made)):
        with contextlib.suppress(docker.errors.APIError):  # an image that another one was made from goes with that
            client.images.remove(one, force=True)


@pytest.fixture
def foreign(tmp_path, root, image):
    """A deployment of that server: nothing of ours is in it."""
    opened = []

    def make(**rollout):
        rollout = {"bake_s": 0.5, "warmup": {"min_requests": 2, "max_requests": 4}, "drain_timeout_s": 5} | rollout
        service = {"image": image(), "command": RUN, "smoke": [{"path": "/stream?s=0.1", "stream": True}]}
        name = f"test-{uuid.uuid4().hex[:8]}"  # an engine is shared by all sessions of tests on the machine
        profile = Profile.model_validate({"name": name, "engine": "docker", "service": service, "rollout": rollout})
        d = Deployment.open(profile, tmp_path)
        opened.append(dataclasses.replace(d, engine=dataclasses.replace(d.engine, source=root)))
        return opened[-1]

    yield make
    for one in opened:
        one.down()
        one.engine.client.close()
        assert one.abandoned() == []


def test_a_switch_of_a_foreign_image_loses_no_request(foreign, load, tmp_path):
    """Containers, a private network, published on loopback only; both sides count the same."""
    d = foreign()
    built = d.build(tmp_path)
    d.up(built)
    before = d.counters()
    with load(d.url, rate=100) as traffic:
        switched = d.switch(built.configured([*RUN, "--name", "second"]))
        d.switch(built)
    counted = d.counters().since(before)
    assert set(traffic.outcomes) == {"200"}, (traffic.outcomes, counted)
    assert (counted.failed, switched.cut) == (0, 0)
    assert counted.requests == traffic.sent > 100
    (instance,) = d.instances
    attributes = d.engine.client.containers.get(instance.handle).attrs
    host = attributes["HostConfig"]
    assert host["ReadonlyRootfs"]
    assert (host["CapDrop"], host["SecurityOpt"]) == (["ALL"], ["no-new-privileges"])
    assert (host["Memory"], host["PidsLimit"]) == (512 * 2**20, 256)
    assert host["LogConfig"]["Config"] == {"max-file": "3", "max-size": "10m"}
    assert {b["HostIp"] for ports in attributes["NetworkSettings"]["Ports"].values() for b in ports} == {"127.0.0.1"}
    assert attributes["Config"]["Labels"]["io.tailrace.colour"] == "blue"
    assert len(d.down()) == 2
    assert not d.engine.client.networks.list(names=[f"tailrace-{d.engine.scope(d.profile.name)}"])


def test_a_new_edge_costs_what_the_procedure_says(foreign, load, tmp_path, root):
    """It is refused until told that it may lose requests; then nothing answers for a moment, and the colour stays."""
    d = foreign()
    d.up(d.build(tmp_path))
    with load(d.url, rate=100, timeout_s=5) as traffic:
        with pytest.raises(EdgeRejected, match=r"See (\S+edge-upgrade\.md), then say --cold") as refused:
            d.upgrade_edge()
        assert (root / re.search(r"runbook/\S+\.md", str(refused.value))[0]).is_file()
        time.sleep(0.5)
        assert traffic.failed == 0
        begun_ns = time.perf_counter_ns()
        assert d.upgrade_edge(cold=True).state == "done"
        done_ns = time.perf_counter_ns()
        time.sleep(1)
    failed = [sent_ns for sent_ns, outcome, _ in traffic.seen if outcome != "200"]
    assert begun_ns - 1e9 < min(failed) < max(failed) < done_ns
    assert {colour for sent_ns, _, colour in traffic.seen if sent_ns > done_ns} == {"blue"}
    assert d.counters().failed == 0


def test_a_container_that_ends_at_its_start_is_told_with_its_log(foreign, tmp_path):
    """Although the engine would start it again and again."""
    d = foreign()
    built = d.build(tmp_path)
    d.up(built)
    with pytest.raises(StartFailed, match="unrecognized arguments: --nonsense"):
        d.switch(built.configured([*RUN, "--nonsense"]))
    assert [i.colour for i in d.instances] == ["blue"]


def test_a_container_that_is_never_ready_gets_no_traffic(foreign, load, tmp_path):
    """NotReady, and the container is gone."""
    d = foreign(start_timeout_s=1)
    built = d.build(tmp_path)
    d.up(built)
    with load(d.url, rate=50) as traffic, pytest.raises(NotReady):
        d.switch(built.configured([*RUN, "--ready-after-s", "60"]))
    assert traffic.failed == 0
    assert [i.colour for i in d.instances] == ["blue"]


@pytest.mark.slow
@pytest.mark.parametrize("point", ["started:reached:after", "routes:rename:after", "baked:reached:after"])
@pytest.mark.parametrize("verb", ["resume", "abort"])
def test_a_controller_killed_at_a_main_state_loses_nothing(foreign, load, tmp_path, point, verb):
    """What the fault point would do, by leaving the switch there."""

    class Killed(BaseException):
        pass

    def fault(reached):
        if reached == point:
            raise Killed

    d = foreign()
    built = d.build(tmp_path)
    d.up(built)
    doomed = dataclasses.replace(d, fault=fault)
    with load(d.url, rate=50) as traffic:
        pid = os.fork()
        if not pid:
            try:
                doomed.switch(built.configured([*RUN, "--name", "second"]))
            finally:
                os._exit(0)
        os.waitpid(pid, 0)
        outcome = getattr(d, verb)()
    assert outcome.state in ("done", "rolled back", "nothing")
    assert traffic.failed == 0
    assert len(d.instances) == 1
    assert d.edge.routes().weights == {d.serving.colour: 100}


@pytest.mark.parametrize(
    ("name", "lines", "fact"),
    [
        ("runs as a numeric user other than root", "USER root", "user root"),
        ("no secret in its environment, labels or history", f"ENV A={KEY}", "OpenAI-style key"),
        ("no secret in its environment, labels or history", "ENV API_KEY=x", "variable API_KEY"),
        ("no secret in any layer", f"USER root\nRUN echo {KEY[:9]}${{x}}{KEY[9:]} > /k\nRUN rm /k", "key in k"),
        ("labelled with revision, version and creation time", 'LABEL org.opencontainers.image.revision=""', ""),
        ("size within budget", "USER root\nRUN head -c 3000000 /dev/zero > /big", "3 MB above its base; 1 MB"),
        ("starts read-only, without capabilities or new privileges", 'CMD ["touch", "/x"]', "Read-only file system"),
        ("health check turns red when the program hangs", "HEALTHCHECK NONE", "no health check"),
    ],
)  # fmt: skip
def test_each_proof_has_an_image_that_fails_it(client, base, image, name, lines, fact):
    """A check that cannot fail proves nothing."""
    from tailrace.deploy import hardening

    if "revision" in lines:
        bad = image(GOOD.replace("image.revision=1", "image.revision=unknown"))
    else:
        bad = image(f"{GOOD}{lines}")
    proofs = {proof.name: proof for proof in hardening.prove(hardening.Image(client, bad, base, budget_mb=1))}
    assert not proofs[name].ok
    assert fact in proofs[name].fact


def test_a_health_check_that_asks_nothing_does_not_turn_red(client, base, image):
    """It is found out by hanging the program."""
    from tailrace.deploy import hardening

    always = image(f'{GOOD}HEALTHCHECK --interval=1s CMD ["true"]')
    proof = hardening.checked(hardening.Image(client, always, base), timeout_s=4)
    assert (proof.ok, proof.fact) == (False, "still healthy after 4 s")


def test_a_good_image_passes_every_proof(client, base, image):
    """All of them."""
    from tailrace.deploy import hardening

    assert [
        proof for proof in hardening.prove(hardening.Image(client, image(), base, budget_mb=1)) if not proof.ok
    ] == []


@pytest.mark.slow
def test_our_own_image_passes_every_proof_and_is_built_once(client, base, source, tmp_path):
    """From the project's Dockerfile, without a network; the same source gives the same content."""
    from tailrace.deploy import hardening
    from tailrace.deploy.engines.docker import DockerEngine

    git = ["git", "-C", str(source), "-c", "user.name=test", "-c", "user.email=test@localhost"]
    for step in (["init", "-q"], ["add", "pyproject.toml"], ["commit", "-q", "-m", "a revision to be labelled with"]):
        subprocess.run([*git, *step], check=True)
    engine, told = DockerEngine(tmp_path, Limits(), source), []
    first = engine.build(Service(), source, told.append)
    again = engine.build(Service(), source)
    assert first.id == again.id
    assert again.facts["reused"]
    assert again.facts["seconds"] < 1
    needed = {"TAILRACE_PROVIDER_URL": "http://127.0.0.1:1/v1", "OPENAI_API_KEY": "none"}
    proofs = hardening.prove(hardening.Image(client, first.build, base, needed))
    assert [proof for proof in proofs if not proof.ok] == []
    digest = hardening.content_digest(client, first.build)
    client.images.remove(first.build, force=True)
    anew = engine.build(Service(), source)
    assert not anew.facts["reused"]
    assert hardening.content_digest(client, anew.build) == digest
    engine.client.close()


def test_the_engines_errors_are_told_in_our_words(client, image, tmp_path):
    """Subject, what it says, and what to do."""
    from tailrace.deploy import dockerd
    from tailrace.deploy.image import release

    (tmp_path / "Dockerfile").write_text(f"FROM {image()}\nRUN echo before && false\n")
    with pytest.raises(BuildFailed, match=r"(?s)returned a non-zero code: 1.*the last lines.*before"):
        release(client, Service(dockerfile="Dockerfile"), tmp_path, tmp_path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ports = {"8000/tcp": ("127.0.0.1", taken.getsockname()[1])}
        container = client.containers.create(image(), ports=ports)
        with pytest.raises(StartFailed, match="x: the port is taken"), dockerd.translated("x"):
            container.start()
    name = f"tailrace-conflict-{os.getpid()}"
    container.rename(name)
    with pytest.raises(StartFailed, match="x: another container has that name"), dockerd.translated("x"):
        client.containers.create(image(), name=name)
    container.remove()
    with pytest.raises(PartMissing, match="x: no such image"), dockerd.translated("x"):
        client.containers.create("sha256:" + "0" * 64)


def test_an_engine_that_does_not_answer_is_named_with_what_to_type(monkeypatch):
    """make engine."""
    from tailrace.deploy import dockerd

    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    with pytest.raises(PartMissing, match="no engine answers; type: make engine"):
        dockerd.connect(1)
