"""A project with deployments and a run that waits, and what its processes have, as /proc and its folders show it."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import nbformat
import psutil
import yaml
from nbformat.v4 import new_code_cell, new_notebook

from tailrace.host import waiting

SERVICE = {
    "command": [sys.executable, "-m", "http.server", "--bind", "{host}", "--directory", "runbook", "{port}"],
    "health": {"live": "/plan.yaml", "ready": "/plan.yaml", "startup": "/plan.yaml"},
    "smoke": [{"path": "/plan.yaml", "contains": "steps"}],
    "secrets": ["OTHER_USER_KEY"],
}
"""A service that needs no build."""
SECRET = "sk-test-of-another-user-0123456789"
PARAMETERS = 'profile: str = "local"  # name\nrun_dir: str = ""  # of the run\n'
WAIT = """
import time
from pathlib import Path
from tailrace import notebook
from tailrace.client.stores.entry import Entry
from tailrace.client.stores.sqlite import Sqlite

step = notebook.begin("01_wait", profile=profile, run_dir=run_dir)
store, later = Sqlite("../.tailrace/answers/cache.sqlite"), time.time() + 3600
store.put("key", Entry(200, (), (b"an answer",), False, time.time(), later, "m", 1, 1, 0, 0, 0.1))
Path("../waiting").touch()
while not Path("../go").exists():
    time.sleep(0.05)
step.check("it went on", True, "1 of 1")
step.finish()
"""


@dataclass(frozen=True)
class Part:
    """Something that a process of ours has, or that is in our folders."""

    kind: str
    place: str


class Project:
    """A project with a deployment of each profile, and a run of the profile `run`, whose only step waits."""

    def __init__(self, root: Path, profiles: Mapping[str, Mapping[str, object]], run: str) -> None:
        self.root, self.profiles, self.run_profile = root, tuple(profiles), run
        (root / "notebooks").mkdir(exist_ok=True)
        (root / "runbook" / "profiles").mkdir(parents=True, exist_ok=True)
        (root / "runbook" / "plan.yaml").write_text('steps:\n  - {"notebook": "notebooks/01_wait.ipynb"}\n')
        for name, content in profiles.items():
            (root / "runbook" / "profiles" / f"{name}.yaml").write_text(yaml.safe_dump(content))
        cells = [new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]}), new_code_cell(WAIT)]
        nbformat.write(new_notebook(cells=cells), root / "notebooks" / "01_wait.ipynb")
        self.run: subprocess.Popen[str] | None = None

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start `tailrace` under the umask that keeps nothing from anybody."""
        return subprocess.Popen(
            [sys.executable, "-m", "tailrace", *arguments], cwd=self.root, umask=0, text=True,
            env={**os.environ, "OTHER_USER_KEY": SECRET}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def call(self, *arguments: str) -> str:
        process = self.start(*arguments)
        said, _ = process.communicate(timeout=280)
        assert process.returncode == 0, said
        return said

    def begin(self) -> None:
        """Start the run, and deploy when its step waits: a run begins by taking down what was left running."""
        self.run = run = self.start("run", "--profile", self.run_profile)
        assert waiting.until(lambda: (self.root / "waiting").exists() or run.poll() is not None, 280)
        assert run.poll() is None, run.communicate()
        for name in self.profiles:
            self.call("deploy", "--profile", name)

    def finish_run(self) -> None:
        """Let the run go on to its end, which takes down what is deployed of its profile."""
        (self.root / "go").touch()
        if self.run is not None and self.run.stdout and not self.run.stdout.closed:
            self.run.communicate(timeout=280)

    def end(self) -> None:
        """Let the run go on to its end, and take down what was deployed."""
        self.finish_run()
        for name in self.profiles:
            self.start("down", "--profile", name).communicate(timeout=280)

    def processes(self) -> list[psutil.Process]:
        """Return all processes of the project, by their folder, their words or their environment."""
        return [process for process in psutil.process_iter() if process.pid != os.getpid() and self._has(process)]

    def _has(self, process: psutil.Process) -> bool:
        try:
            told = [process.cwd(), *process.cmdline(), *process.environ().values()]
        except psutil.Error:
            return False
        return any(str(self.root) in text for text in told)

    def state(self, profile: str, path: str) -> dict:
        """Return a document from the folder of a deployment."""
        return json.loads((self.root / ".tailrace" / profile / path).read_text())

    def doors(self) -> set[int]:
        """Return the ports of the edges and of the instances: the model says who reaches them."""
        told = [path.read_text() for name in self.profiles for path in (self.root / ".tailrace" / name).rglob("*.json")]
        return {int(port) for text in told for port in re.findall(r'"port": "?(\d+)', text)}

    def kept(self) -> set[Part]:
        """Return what is in the folders."""
        found = set()
        for top in (self.root / ".tailrace", self.root / "runs"):
            for path in (top, *top.rglob("*")):
                if not path.is_symlink():
                    kind = "socket" if path.is_socket() else "folder" if path.is_dir() else "file"
                    found.add(Part(kind, str(path)))
        return found

    def had(self) -> set[Part]:
        """Return what the processes have: listeners, sockets, files that they write, shared memory, themselves."""
        found, unix, doors = set(), dict(_unix_sockets()), self.doors()
        for process in self.processes():
            with suppress(psutil.NoSuchProcess, FileNotFoundError):  # it has ended, and has nothing any more
                found |= self._had_by(process, unix, doors)
        return found

    def _had_by(self, process: psutil.Process, unix: Mapping[str, str], doors: set[int]) -> set[Part]:
        found = {Part("process", str(process.pid))}
        found |= {Part("door" if port in doors else "port", f"{ip}:{port}") for ip, port in listening(process)}
        mapped = Path(f"/proc/{process.pid}/maps").read_text()
        found |= {Part("memory", path) for path in re.findall(r"/dev/shm/\S+", mapped)}
        for handle in Path(f"/proc/{process.pid}/fd").iterdir():
            place = _target(handle)
            if place.startswith("socket:[") and (name := unix.get(place[8:-1])):
                found.add(Part("socket", name if name[0] in "/@" else str(Path(process.cwd()) / name)))
            elif place.startswith("/dev/shm/"):
                found.add(Part("memory", place))
            elif place.startswith(str(self.root)) and " (deleted)" not in place and Path(place).is_file():
                found.add(Part("file", place))
        return found


def listening(process: psutil.Process) -> set[tuple[str, int]]:
    """Return the addresses where a process accepts connections of TCP, or datagrams of UDP from anybody."""
    try:
        connections = process.net_connections("inet")
    except psutil.NoSuchProcess:
        return set()
    return {
        (one.laddr.ip, one.laddr.port)
        for one in connections
        if one.status == psutil.CONN_LISTEN or (one.status == psutil.CONN_NONE and one.laddr and not one.raddr)
    }


def _target(handle: Path) -> str:
    try:
        return str(handle.readlink())
    except FileNotFoundError:  # it was closed
        return ""


def _unix_sockets():
    """Yield number and name of each Unix socket that has a name: so also of those in the abstract namespace."""
    for line in Path("/proc/net/unix").read_text().splitlines()[1:]:
        if len(fields := line.split()) > 7:
            yield fields[6], fields[7]
