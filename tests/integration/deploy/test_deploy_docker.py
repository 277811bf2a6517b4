"""The docker engine on a real Docker Engine: a switch under load, what happens to it, and what the engine says."""

import dataclasses
import os
import re
import signal
import socket
import time
import urllib.request

import pytest

from tailrace.deploy.edge import Maintenance
from tailrace.errors import (
    BuildFailed,
    DeployError,
    EdgeRejected,
    NotReady,
    PartMissing,
    RolledBack,
    StartFailed,
    Unfinished,
)
from tailrace.host import ports, waiting
from tailrace.host.http import exchange
from tailrace.profile import Service

pytestmark = [pytest.mark.docker, pytest.mark.deep]

RUN = ["python3", "/server.py", "--host", "{host}", "--port", "{port}"]


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


def test_two_homes_may_have_a_deployment_of_the_same_name(foreign, load, tmp_path):
    """On one engine: what the one brings up and takes down costs the other no request, in the middle of its switch."""
    d = foreign()
    built = d.build(tmp_path)
    d.up(built)
    twin = dataclasses.replace(d, folder=tmp_path / "twin" / d.profile.name)
    twin = dataclasses.replace(twin, engine=dataclasses.replace(d.engine, home=tmp_path / "twin"))

    def come_and_go(state, *_):
        if state == "baking":
            twin.up(built)
            assert len(twin.down()) == 2

    with load(d.url, rate=100) as traffic:
        switched = d.switch(built.configured([*RUN, "--name", "second"]), observe=come_and_go)
    twin.engine.client.close()
    assert (traffic.failed, switched.cut, len(d.instances)) == (0, 0, 1)


def test_a_canary_and_a_maintenance_page_are_the_same_files_there(foreign, load, tmp_path):
    """The canary sees the new colour first, the page is the operator's, and neither is a failure; nor is a deploy."""
    canary = {"header": "x-canary: always", "for_s": 0.5, "min_requests": 3, "too_few": "wait"}
    d = foreign(canary=canary)
    built = d.build(tmp_path)
    d.up(built)
    before, seen = d.counters(), []

    def look(state, *_):
        if state == "canary":
            asked = [{"x-canary": "always"}] * 3 + [{}]
            seen.extend(exchange(d.url, headers=headers).headers["x-colour"] for headers in asked)

    with load(d.url, rate=50, streams=0) as traffic:
        d.switch(built.configured([*RUN, "--name", "second"]), observe=look)
    assert seen == ["green", "green", "green", "blue"]
    assert (traffic.failed, d.counters().since(before).failed, d.edge.routes().canary) == (0, 0, None)
    d.maintenance_on(Maintenance.of(30))
    answer = exchange(d.url)
    assert (answer.status, answer.headers["x-tailrace-maintenance"], answer.headers["retry-after"]) == (503, "on", "30")
    d.switch(built)
    assert exchange(d.url).status == 503
    d.maintenance_off()
    assert exchange(d.url).headers["x-colour"] == "blue"
    counted = d.counters().since(before)
    assert (counted.maintained, counted.failed) == (2, 0)


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
    failed = [sent_ns for sent_ns, outcome, _ in traffic.answers if outcome != "200"]
    assert begun_ns - 1e9 < min(failed) < max(failed) < done_ns
    assert {colour for sent_ns, _, colour in traffic.answers if sent_ns > done_ns} == {"blue"}
    assert d.counters().failed == 0


def test_settings_of_the_edge_are_applied_on_docker_but_for_its_address(foreign, load, tmp_path):
    """Those that Envoy reads again are live; another published address is refused, and taken by a cold upgrade."""

    def changed(**settings):
        edge = d.profile.edge.model_copy(update=settings)
        return dataclasses.replace(d, profile=d.profile.model_copy(update={"edge": edge}))

    d = foreign()
    built = d.build(tmp_path)
    d.up(built)
    with load(d.url, rate=100) as traffic:
        assert "applied: edge.max_header_kb 32 (was" in changed(max_header_kb=32).deploy(built, {}).fact
    assert traffic.failed == 0
    moved = changed(max_header_kb=32, port=ports.free())
    with pytest.raises(EdgeRejected, match=r"in the profile \d+\. a container that runs can neither(?s:.*)say --cold"):
        moved.deploy(built, {})
    assert urllib.request.urlopen(d.url).status == 200
    assert moved.upgrade_edge(cold=True).state == "done"
    assert urllib.request.urlopen(f"http://127.0.0.1:{moved.profile.edge.port}").status == 200
    assert moved.status().drift == ()


@pytest.mark.fault(
    "edge dies, on Docker",
    "nothing for about a second, then the same colour",
    "failed requests on the client's side; a higher count of restarts in `docker inspect`",
    "nothing: the engine restarts it on the route file",
)
def test_a_killed_edge_is_back_with_the_same_colour_on_docker(foreign, load, tmp_path):
    """The engine starts the container again, and Envoy reads the files that are there."""
    d = foreign()
    d.up(d.build(tmp_path))
    edge = d.engine.client.containers.get(d.edge.server.name)
    with load(d.url, rate=100, timeout_s=5) as traffic:
        time.sleep(0.5)
        killed_ns = time.perf_counter_ns()
        os.kill(edge.attrs["State"]["Pid"], signal.SIGKILL)
        time.sleep(3)
    failed = [sent_ns for sent_ns, outcome, _ in traffic.answers if outcome != "200"]
    assert 0 < (max(failed) - killed_ns) / 1e9 < 2.5
    assert {colour for sent_ns, _, colour in traffic.answers if sent_ns > max(failed)} == {"blue"}


def test_a_container_starts_with_a_small_share_of_the_cpu_and_then_has_the_normal_one(foreign, tmp_path):
    """`rollout.start_nice`; and how it stands is told in one line, as of a process."""
    d, shares = foreign(start_nice=10), {}

    def observe(state, *_):
        for instance in d.instances:
            container = d.engine.client.containers.get(instance.handle)
            shares[state] = container.attrs["HostConfig"]["CpuShares"]

    built = d.build(tmp_path)
    d.up(built, observe=observe)
    assert shares["started"] == 1024, "where nothing serves, nobody has to be spared"
    d.switch(built.configured(OTHER="1"), observe=observe)
    assert (shares["started"], shares["smoked"], shares["done"]) == (110, 1024, 1024)
    assert (d.engine.state(d.serving), d.engine.restarts(d.serving)) == ("running", 0)


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


@pytest.mark.fault(
    "controller killed at a main state, on Docker",
    "what the route file says: one proven colour",
    "Unfinished at the next deploy; `status` names the state",
    "`resume` to continue, `abort` to go back",
)
@pytest.mark.parametrize(
    "point", ["started:reached:after", "routes:rename:after", "baked:reached:after", "retired:intent:after"]
)
@pytest.mark.parametrize("verb", ["resume", "abort"])
def test_a_controller_killed_at_a_main_state_loses_nothing(foreign, load, tmp_path, killed, point, verb):
    """SIGKILL under load; resume ends on the new colour, abort on the old one."""
    d = foreign()
    built = d.build(tmp_path)
    d.up(built)
    before = d.counters()
    second = built.configured([*RUN, "--name", "second"])
    with load(d.url, rate=50) as traffic:
        killed(d, second, point)
        with pytest.raises(Unfinished, match="continue with resume, or go back with abort"):
            d.switch(second)
        outcome = getattr(d, verb)()
    assert outcome.state == ("done" if verb == "resume" else "rolled back")
    assert traffic.failed == d.counters().since(before).failed == outcome.cut == 0
    assert [i.colour for i in d.instances] == [d.serving.colour] == ["green" if verb == "resume" else "blue"]
    assert d.edge.routes().weights == {d.serving.colour: 100}
    assert d.journal.unfinished() == []


@pytest.mark.fault(
    "new colour dies while baking, and Docker restarts it",
    "the old colour, still warm",
    "RolledBack, although it runs again",
    "fix the release, deploy again",
)
def test_a_new_colour_that_docker_has_started_again_is_taken_back(foreign, load, tmp_path):
    """However soon it is back: the death is seen by the count of restarts, not by looking at the right moment."""
    d = foreign(bake_s=20)
    built = d.build(tmp_path)
    d.up(built)

    def kill(state, *_):
        if state == "baking":
            new = d.engine.client.containers.get(next(i for i in d.instances if i.colour == "green").handle)
            os.kill(new.attrs["State"]["Pid"], signal.SIGKILL)
            waiting.until(lambda: new.reload() or (new.attrs["RestartCount"] and new.status == "running"), 20)
            assert d.engine.alive(next(i for i in d.instances if i.colour == "green"))

    with load(d.url, rate=50) as traffic, pytest.raises(RolledBack, match="died under traffic") as raised:
        d.switch(built.configured([*RUN, "--name", "second"]), observe=kill)
    back_ns = next(t_ns for state, t_ns, _ in raised.value.states if state == "rolling back")
    assert {(o, c) for sent_ns, o, c in traffic.answers if sent_ns > back_ns} == {("200", "blue")}
    assert [i.colour for i in d.instances] == ["blue"]


def test_the_engines_errors_are_told_in_our_words(client, image, tmp_path):
    """Subject, what it says, and what to do."""
    from tailrace.deploy.images import dockerd
    from tailrace.deploy.images.image import release

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
    from tailrace.deploy.images import dockerd

    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    with pytest.raises(PartMissing, match="no engine answers; type: make engine"):
        dockerd.connect(1)


def test_a_tag_that_was_moved_is_another_release_and_a_rollback_finds_the_image_of_before(foreign, image, tmp_path):
    """By the image's digest, not by its name. One that was removed meanwhile is refused in words."""
    d = foreign()
    images, tag = [image("LABEL n=1"), image("LABEL n=2")], f"moved-{d.profile.name}"
    service = d.profile.service.model_copy(update={"image": f"tailrace-test:{tag}"})
    d = dataclasses.replace(d, profile=d.profile.model_copy(update={"service": service}))

    def move(id):
        d.engine.client.images.get(id).tag("tailrace-test", tag)

    move(images[0])
    first = d.deploy(d.build(tmp_path), {})
    assert d.deploy(d.build(tmp_path), {}).result == "served already"
    move(images[1])
    moved = d.deploy(d.build(tmp_path), {})
    assert (moved.result, moved.changes) == ("switched", ("image changed",))
    assert d.rollback().state == "done"
    (instance,) = d.instances
    assert (instance.release, d.engine.client.containers.get(instance.handle).image.id) == (first.release, images[0])
    d.engine.client.images.remove(images[1], force=True)  # and with it the tag
    with pytest.raises((DeployError, PartMissing), match=r"(?i)no such image"):
        d.deploy(d.releases.find(moved.release), {})
    assert d.serving.release == first.release
