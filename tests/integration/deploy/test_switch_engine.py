"""The Docker Engine is restarted in the middle of a switch: a second engine, private to these tests, really is."""

import contextlib
import ctypes
import dataclasses
import fcntl
import gc
import os
import shutil
import socket
import struct
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import docker.errors
import pytest

from tailrace.deploy import Deployment
from tailrace.deploy.images import base_image, dockerd, image
from tailrace.errors import DeployError, PartMissing, Unfinished
from tailrace.host import waiting
from tailrace.profile import Profile

pytestmark = [
    pytest.mark.docker,
    pytest.mark.deep,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a Docker Engine"),
    # The SDK of Docker leaves a socket open when there is nobody to connect to.
    pytest.mark.filterwarnings("ignore:.*family=1:pytest.PytestUnraisableExceptionWarning"),
]

SERVER = Path(__file__).parents[1] / "servers" / "misbehaving.py"
RUN = ["python3", "/server.py", "--host", "{host}", "--port", "{port}"]
NEW_NETWORK = 0x40000000  # CLONE_NEWNET
LIBC = ctypes.CDLL(None, use_errno=True)
AWAY_S = 1.0


@contextlib.contextmanager
def own_network():
    """Put this thread, and what it starts, into a network of its own: two engines in one undo each other's rules."""
    with Path("/proc/thread-self/ns/net").open() as outside:
        if LIBC.unshare(NEW_NETWORK):
            pytest.skip("this machine does not let root have a network of its own")
        try:
            with socket.socket() as any_socket:  # what `ip link set lo up` does
                fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh", b"lo", 0x41))
            yield
        finally:
            assert LIBC.setns(outside.fileno(), NEW_NETWORK) == 0


@dataclass
class PrivateEngine:
    """A Docker Engine with everything of its own in `folder`."""

    folder: Path
    base: str = ""
    options: tuple[str, ...] = ()
    process: subprocess.Popen | None = field(default=None)

    @property
    def address(self) -> str:
        return f"unix://{self.folder}/d.sock"

    def start(self) -> None:
        places = ["--data-root", "data", "--exec-root", "exec", "--pidfile", "pid"]
        places = [str(self.folder / part) if not part.startswith("--") else part for part in places]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                ["dockerd", *places, "-H", self.address, "--bridge=none", *self.options], stdout=log, stderr=log
            )
        assert waiting.until(self.answers, 60, every_s=0.1), (self.folder / "log").read_text()[-2000:]

    def stop(self) -> None:
        """As `systemctl stop docker` does."""
        if self.process:
            self.process.terminate()
            self.process.wait(60)
            self.process = None

    def answers(self) -> bool:
        with contextlib.suppress(PartMissing):
            dockerd.connect(2).close()
            return True
        return False


@pytest.fixture(scope="module")
def private(tmp_path_factory, root):
    """An engine that has the images; it is stopped by its process, and leaves nothing."""
    folder = tmp_path_factory.mktemp("e")
    engine = PrivateEngine(folder)
    with contextlib.closing(dockerd.connect()) as shared:
        names = [base_image.ensure(shared, root / ".tailrace" / "images")]
        engine.base = names[0]
        names += image.edge(shared, root, root / ".tailrace").tags[:1]
    with (folder / "images.tar").open("wb") as archive:
        subprocess.run(["docker", "save", *names], stdout=archive, check=True, timeout=120)
    with own_network(), pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_HOST", engine.address)
        engine.start()
        try:
            subprocess.run(["docker", "load", "-q", "-i", folder / "images.tar"], check=True, timeout=120)
            yield engine
        finally:
            engine.stop()
            subprocess.run(["umount", "-l", folder / "data"], check=False, stderr=subprocess.DEVNULL)
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def engine(private):
    """Restart the private engine with other options."""

    def restarted(*options: str) -> PrivateEngine:
        private.stop()
        private.options = options
        private.start()
        return private

    yield restarted
    private.stop()
    gc.collect()


@pytest.fixture
def deployed(private, tmp_path, root):
    """A deployment on the engine that `DOCKER_HOST` names, and its release."""
    opened = []

    def make() -> tuple[Deployment, object]:
        with contextlib.closing(dockerd.connect()) as client:
            (tmp_path / "server.py").write_bytes(SERVER.read_bytes())
            (tmp_path / "Dockerfile").write_text(f"FROM {private.base}\nCOPY server.py /\nUSER 65532:65532\n")
            built, _ = client.images.build(path=str(tmp_path), rm=True, forcerm=True, network_mode="none")
        rollout = {"bake_s": 30, "warmup": {"min_requests": 2, "max_requests": 4}, "drain_timeout_s": 5}
        service = {"image": built.id, "command": RUN}
        profile = Profile.model_validate(
            {"name": "restart", "engine": "docker", "service": service, "rollout": rollout}
        )
        d = Deployment.open(profile, tmp_path / "home")
        opened.append(dataclasses.replace(d, engine=dataclasses.replace(d.engine, source=root)))
        return opened[-1], opened[-1].build(tmp_path)

    yield make
    for one in opened:
        with contextlib.suppress(docker.errors.DockerException):
            one.down()
            assert one.abandoned() == []
        one.engine.client.close()


def restarting(engine, times):
    """A thread that restarts `engine`; what happened when goes into `times`, in ns."""

    def restart():
        for name, act in (("stop", engine.stop), ("away", lambda: time.sleep(AWAY_S)), ("start", engine.start)):
            times[name] = time.perf_counter_ns()
            act()
        times["back"] = time.perf_counter_ns()

    return threading.Thread(target=restart)


def broken(traffic, times):
    """How requests failed, and for how long: the names of the errors, and seconds from the first to the last."""
    failed = [(sent_ns, outcome) for sent_ns, outcome, _ in traffic.answers if outcome != "200"]
    assert not failed or max(failed)[0] < times["back"] + 1e9
    return {outcome for _, outcome in failed}, (max(failed)[0] - min(failed)[0]) / 1e9 if failed else 0.0


PLAIN = pytest.mark.fault(
    "Docker Engine restarted in the middle of a switch",
    "nothing from its stop until it is back; then the colour in the route file",
    "failed requests; the switch stops with `no engine answers`; `status`: stopped half-way at rolled back",
    "once it is back: `resume`, which ends on the old colour; before the next time: `live-restore`",
)
LIVE = pytest.mark.fault(
    "the same, with `live-restore`",
    "the colour in the route file; but connections over loopback are refused until the engine is back: "
    "its `docker-proxy` ends with it",
    "the same",
    "the same; before the next time: `userland-proxy: false` as well",
)
WHOLE = pytest.mark.fault(
    "the same, with `live-restore` and `userland-proxy: false`",
    "the colour in the route file; requests in flight continue, and a new connection may be refused for about 0.2 s, "
    "while the engine rewrites its rules",
    "the same, with hardly a failed request",
    "once it is back: `resume`, which ends on the old colour",
)


@pytest.mark.parametrize(
    ("options", "state", "verb", "cuts"),
    [
        pytest.param((), "baking", "resume", True, marks=PLAIN),
        pytest.param(("--live-restore",), "baking", "abort", True, marks=LIVE),
        pytest.param(("--live-restore", "--userland-proxy=false"), "baking", "resume", False, marks=WHOLE),
        pytest.param(("--live-restore", "--userland-proxy=false"), "ready", "abort", False, marks=WHOLE),
    ],
    ids=["plain", "live-restore", "live-restore-without-proxy", "before-commit"],
)
def test_a_restarted_engine_leaves_one_proven_colour(engine, deployed, load, options, state, verb, cuts):
    """It ends on the old colour, alone; requests fail only while the engine is away, and with both options none is cut.

    The first two are the negative control of the others: a request that is cut is seen.
    """
    restarted = engine(*options)
    d, first = deployed()
    d.up(first)
    second, times = first.configured([*RUN, "--name", "second"]), {}
    thread = restarting(restarted, times)
    with load(d.url, rate=100, streams=0.2, timeout_s=5) as traffic:

        def observe(reached, *_):
            if reached == state:
                thread.start()
                # Before the commit there is nothing to wait for: the switch would be over before the engine is away.
                waiting.until(lambda: "away" in times or state == "baking", 30)

        with pytest.raises((DeployError, PartMissing), match=r"(?i)docker"):
            d.switch(second, observe=observe)
        thread.join()
        assert waiting.until(lambda: d.edge.server.alive() and d.edge.probe(), 20)
        with pytest.raises(Unfinished, match="stopped half-way at rolled back"):
            d.switch(second)
        assert d.status().unfinished == "rolled back"
        assert getattr(d, verb)().state == "rolled back"
        time.sleep(1.5)
    kinds, span_s = broken(traffic, times)
    assert bool(kinds - {"ClientConnectorError"}) == cuts, traffic.outcomes
    assert cuts or span_s < 1
    assert [i.colour for i in d.instances] == ["blue"]
    assert d.edge.routes().weights == {"blue": 100}
    assert d.edge.healthy("blue", d.serving.address)
    d.switch(second, observe=lambda reached, *_: d.promote() if reached == "baking" else None)
    assert d.serving.colour == "green"
