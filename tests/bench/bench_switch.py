"""Switches in a row under load: `python tests/bench/bench_switch.py [--switches 100] [--rate 500] [--engine process]`.

One in twenty requests is a stream of 0.3 s. Printed: what client and edge counted, commit to acknowledgement, and the
requests that the old colour got after it. The service is the small server of the tests: the switch is measured, not it.
With `--no-drain`, the negative control. The docker engine needs an image of it: `--image NAME`.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tailrace.deploy import Deployment, Switched
from tailrace.profile import Profile

ROOT = Path(__file__).parents[2]
SERVER = ROOT / "tests" / "integration" / "servers" / "misbehaving.py"
LOAD = """
import json, signal, sys
sys.path.insert(0, sys.argv[1])
from conftest import Load
with Load(sys.argv[2], float(sys.argv[3])) as load:
    sys.stdin.read()
print(json.dumps({"sent": load.sent, "failed": load.failed, "seen": load.seen}))
"""


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory() as home:
        deployment = _deployment(options, Path(home))
        try:
            print(json.dumps(_measure(deployment, options), indent=1))
        finally:
            deployment.down()


def _measure(deployment: Deployment, options: argparse.Namespace) -> dict[str, Any]:
    release = deployment.build(SERVER.parent)
    deployment.up(release)
    before = deployment.counters()
    command = [sys.executable, "-c", LOAD, str(ROOT / "tests/integration/deploy"), deployment.url, str(options.rate)]
    load = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        switches = [deployment.switch(release.configured(N=str(n))) for n in range(options.switches)]
    finally:
        said = json.loads(load.communicate()[0])
    counted = deployment.counters().since(before)
    acks_ms = [float(re.search(r"after ([\d.]+) ms", _fact(s, "switched"))[1]) for s in switches]  # type: ignore[index]
    return {
        "switches": len(switches),
        "client": {"sent": said["sent"], "failed": said["failed"], "requests_per_s": _rate(said["seen"])},
        "edge": {"requests": counted.requests, "failed": counted.failed},
        "cut": sum(s.cut for s in switches),
        "on_the_old_colour_after_the_ack": sum(_late(s, said["seen"], after) for s, after in _spans(switches)),
        "ack_ms": {"p50": statistics.median(acks_ms), "max": max(acks_ms)},
        "switch_s": {"p50": statistics.median(s.duration_s for s in switches)},
    }


def _rate(seen: list[tuple[int, str, str]]) -> float:
    """Requests per second from the first that was sent to the last."""
    sent = [sent_ns for sent_ns, _, _ in seen]
    return round(len(sent) / (max(sent) - min(sent)) * 1e9, 1)


def _spans(switches: list[Switched]) -> list[tuple[Switched, int]]:
    """Each switch with the time at which the next one committed."""
    ends = [next(t for state, t, _ in s.states if state == "weighted") for s in switches[1:]]
    return list(zip(switches, [*ends, sys.maxsize], strict=True))


def _late(switched: Switched, seen: list[tuple[int, str, str]], until: int) -> int:
    acknowledged = next(t for state, t, _ in switched.states if state == "switched")
    return sum(acknowledged < sent < until and colour == switched.from_colour for sent, _, colour in seen)


def _fact(switched: Switched, state: str) -> str:
    return next(fact for name, _, fact in switched.states if name == state)


def _deployment(options: argparse.Namespace, home: Path) -> Deployment:
    program = "/server.py" if options.engine == "docker" else str(SERVER)
    python = "python3" if options.engine == "docker" else sys.executable
    service = {"command": [python, program, "--host", "{host}", "--port", "{port}"], "image": options.image}
    rollout = {"bake_s": 0.3, "drain": not options.no_drain, "gate": {"window_s": 5}}
    profile = Profile.model_validate(
        {"name": "bench", "engine": options.engine, "service": service, "rollout": rollout}
    )  # fmt: skip
    deployment = Deployment.open(profile, home)
    if options.engine == "docker":
        return dataclasses.replace(deployment, engine=dataclasses.replace(deployment.engine, source=ROOT))
    return deployment


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--switches", type=int, default=100)
    parser.add_argument("--rate", type=float, default=500)
    parser.add_argument("--engine", choices=["process", "docker"], default="process")
    parser.add_argument("--image", default="")
    parser.add_argument("--no-drain", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
