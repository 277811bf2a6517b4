"""Nothing that controls an edge is within another user's reach: no port, no abstract name, no name to guess."""

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tailrace.deploy import Deployment
from tailrace.deploy.edge import layout
from tailrace.deploy.engines.process import shared_memory
from tailrace.errors import EdgeRejected
from tailrace.host import ports, processes, waiting

NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
CONNECT = """
import os, socket, sys
os.chdir(sys.argv[2])
os.setgroups([]), os.setgid({nobody}), os.setuid({nobody})
kind, _, path = sys.argv[1:]
s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM if kind == "stream" else socket.SOCK_DGRAM)
try:
    s.connect(path)
    print("connected")
except OSError as error:
    print(type(error).__name__)
"""


def envoy(d):
    supervisor = psutil.Process(processes.find(d.folder / "processes", "edge").pid)
    return waiting.until(lambda: next(iter(supervisor.children()), None), 60)


def sockets(d):
    return sorted(path for path in (d.folder / layout.SOCKETS).iterdir() if path.is_socket())


def tried_by_nobody(path):
    """Return what another user gets who connects to the socket `path`: he is in its folder already."""
    kind = "stream" if path.name == layout.ADMIN else "datagram"
    program = CONNECT.format(nobody=NOBODY)
    done = subprocess.run(
        [sys.executable, "-c", program, kind, str(path.parent), path.name], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_an_edge_is_controlled_by_sockets_of_its_user_alone(deployment, release):
    """Its sockets are in a folder of mode 0700; it has no abstract name, and no TCP port beyond its doors."""
    d = deployment()
    d.up(release(d))
    process = envoy(d)
    assert (d.folder / layout.SOCKETS).stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in sockets(d)} == {0o600}
    assert sum(path.name.startswith("restart_") for path in sockets(d)) == 4
    names = {line.split()[7] for line in Path("/proc/net/unix").read_text().splitlines()[1:] if len(line.split()) > 7}
    assert not [name for name in names if name.startswith("@envoy")]
    doors = (getattr(d.edge.layout, door) for door in layout.DOORS)
    listens = ports.listening([process.pid])
    assert set(listens) == {str(door) for door in doors if door.port}
    mapped = Path(f"/proc/{process.pid}/maps").read_text()
    memory = [path for path in shared_memory.FOLDER.glob("envoy*") if str(path) in mapped]
    assert [path.stat().st_mode & 0o777 for path in memory] == [0o600]


@as_root
def test_another_user_reaches_none_of_the_sockets(deployment, release):
    """The folder keeps him out. Negative control: where it is open, and the mode of a socket too, he gets in."""
    d = deployment()
    d.up(release(d))
    assert {tried_by_nobody(path) for path in sockets(d)} == {"PermissionError"}
    (d.folder / layout.SOCKETS).chmod(0o755)
    assert {tried_by_nobody(path) for path in sockets(d)} == {"PermissionError"}
    for path in sockets(d):
        path.chmod(0o666)
    assert {tried_by_nobody(path) for path in sockets(d)} == {"connected"}


def test_a_name_that_another_user_occupies_is_drawn_again(tmp_path, monkeypatch):
    """Envoy would not start where its shared memory belongs to somebody else; nobody can guess the next name."""
    free = next(n for n in range(1, 1000) if not shared_memory.path(n).exists())
    drawn = [free + 1, free, free]
    monkeypatch.setattr(shared_memory.secrets, "randbelow", lambda n: drawn.pop())
    shared_memory.path(free).touch()
    try:
        assert shared_memory.choose(tmp_path) == free + 1
    finally:
        shared_memory.path(free).unlink()
    assert drawn == []


def test_a_deployment_with_a_long_path_is_controlled_all_the_same(deployment, release, tmp_path):
    """The kernel takes no path of more than 107 bytes for a socket: a hot restart and its counters need none."""
    folder = tmp_path / ("a-long-name-" * 8)
    folder.mkdir()
    d = Deployment.open(deployment().profile, folder)
    try:
        d.up(release(d))
        assert len(d.edge.layout.admin.host) > 107
        before = envoy(d).pid
        assert "took over" in d.upgrade_edge().fact
        assert d.status().serving == "blue"
        assert waiting.until(lambda: not psutil.pid_exists(before), 60)
    finally:
        d.down()
    assert not (d.folder / layout.SOCKETS).exists()


def test_an_edge_of_an_earlier_version_is_started_anew_and_the_journal_says_why(deployment, release):
    """Its admin listened on TCP, where every user of the machine reached it."""
    d = deployment()
    built = release(d)
    d.up(built)
    url, before = d.url, envoy(d).pid
    kept = json.loads(d.layout.read_text())
    d.layout.write_text(json.dumps(kept | {"admin": {"host": "127.0.0.1", "port": ports.free()}}))
    with pytest.raises(EdgeRejected, match=r"of an earlier version cannot be handed over.*--cold"):
        d.upgrade_edge()
    assert envoy(d).pid == before
    done = d.deploy(built, {})
    assert (done.result, "the edge was started anew: its admin was open" in done.fact) == ("served already", True)
    assert (d.url, d.edge.layout.admin.port, envoy(d).pid == before) == (url, 0, False)
    assert any("its admin was open" in entry.fact for entry in d.journal.entries())
    assert d.status().drift == ()
