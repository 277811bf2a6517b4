"""Switches in a row under load: `python tests/bench/bench_switch.py [--engine docker] [--count 30] [--rate 500]`.

One in twenty requests is a stream of 0.3 s. Printed, with the limits of issue 3: what client and edge counted, commit
to acknowledgement, the requests that the old colour got after it, and how soon a bad colour is taken back. It leaves
with 1 when a limit is not held. The service is the small server of the tests: the switch is measured, not it.
With `--no-drain`, the negative control. The docker engine builds an image of the server, unless `--image NAME`.

`--mix` instead switches two deployments at once, `web` (HTTP/1.1 behind TLS) and `rpc` (h2c), under GETs, server-sent
events, WebSockets and gRPC, and holds three counts of every request against each other: clients, edge, servers (those
only on the process engine). `--bad-every 10` makes every tenth release a bad one, which has to be rolled back.
`--hungry` switches to a release whose start takes every processor, with and without what protects the users of the old.
"""

from __future__ import annotations

import argparse
import bisect
import contextlib
import dataclasses
import importlib.util
import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tailrace.deploy import Deployment, Release, Switched
from tailrace.errors import RolledBack
from tailrace.profile import Profile

ROOT = Path(__file__).parents[2]
SERVER = ROOT / "tests" / "integration" / "servers" / "misbehaving.py"
POLYGLOT = SERVER.with_name("polyglot.py")
LIBRARIES = (
    "click", "h11", "h2", "hpack", "hypercorn", "hyperframe", "priority", "typing_extensions", "uvicorn", "wsproto",
)  # fmt: skip
"""What the server of many protocols imports: each of them is Python alone, and so runs in any image."""
LOAD = """
import json, sys
sys.path[:0] = [sys.argv[1], sys.argv[1] + "/../.."]
from conftest import Load
with Load(sys.argv[2], float(sys.argv[3])) as load:
    print("steady", flush=True)
    sys.stdin.read()
print(json.dumps({"outcomes": load.outcomes, "answers": load.answers, "routed": load.routed}))
"""
COUNTS = {"process": 100, "docker": 30}
WINDOW_S = 0.5
ACK_MS = 25.0
BACK_S = 1.0

Row = tuple[str, str, str, bool]


@dataclasses.dataclass(frozen=True)
class Heard:
    """What the load saw: see `Load` of the tests."""

    outcomes: Counter[str]
    answers: list[tuple[int, str, str]]
    routed: list[tuple[int, int]]


def main() -> int:
    options = _options()
    if options.mix or options.hungry:
        sys.path.insert(0, str(ROOT / "tests"))
        return _mixed(options) if options.mix else _hungry()
    with tempfile.TemporaryDirectory() as home, _image(options) as image:
        deployment = _deployment(options, Path(home), image)
        try:
            release = deployment.build(SERVER.parent)
            deployment.up(release)
            rows = [*_series(deployment, release, options), *_breaches(deployment, release, options)]
        finally:
            deployment.down()
    print(f"\n{options.engine} engine, {options.count} switches in a row at {options.rate:g} requests/s, 5 % streams\n")
    return _say(rows)


def _say(rows: list[Row]) -> int:
    print("| measure | value | limit | held |\n|---|---|---|---|")
    for *cells, held in rows:
        print(f"| {' | '.join(cells)} | {'yes' if held else 'NO'} |")
    return 0 if all(held for *_, held in rows) else 1


def _mixed(options: argparse.Namespace) -> int:
    """Run the series of `tests/switch_series.py`, and print its account."""
    import switch_series

    with tempfile.TemporaryDirectory() as home, _image(options, POLYGLOT, LIBRARIES) as image:
        series = switch_series.Series(
            options.count, options.rate, options.bad_every, drain=not options.no_drain,
            engine=options.engine, image=image,
        )  # fmt: skip
        with switch_series.deployments(series, Path(home)) as opened:
            accounts = switch_series.run(series, opened, Path(home))
    good, bad = series.planned
    print(f"\n{options.engine} engine, 2 × {good} switches, 2 × {bad} rolled back, {options.rate:g} requests/s\n")
    return _say([line for account in accounts for line in account.lines()])


def _hungry() -> int:
    """Switch to a release whose start takes every processor, with and without what protects the old one's users."""
    import hungry_start

    print(f"| {' | '.join(hungry_start.HEAD)} |\n|{'---|' * len(hungry_start.HEAD)}")
    failed = {}
    for start_nice, panic_percent in ((10, 1), (0, 1), (10, 0), (0, 0)):
        start = hungry_start.HungryStart(start_nice, panic_percent)
        with tempfile.TemporaryDirectory() as home:
            outcome = hungry_start.run(start, Path(home))
        failed[start] = outcome.edge.failed
        print(f"| {' | '.join(outcome.line(start))} |", flush=True)
    return 1 if failed[hungry_start.HungryStart()] else 0


def _series(deployment: Deployment, release: Release, options: argparse.Namespace) -> list[Row]:
    before = deployment.counters()

    def work() -> list[Switched]:
        switches = []
        for n in range(options.count):
            switches.append(deployment.switch(release.configured(N=str(n))))
            print(f"\r{n + 1} of {options.count}", end="", file=sys.stderr, flush=True)
        return switches

    switches, heard = _under_load(deployment, options.rate, work)
    outcomes, answers = heard.outcomes, heard.answers
    counted = deployment.counters().since(before)
    sent, failed = sum(outcomes.values()), sum(outcomes.values()) - outcomes["200"]
    acks_ms = [float(re.search(r"after ([\d.]+) ms", _fact(s, "switched"))[1]) for s in switches]  # type: ignore[index]
    late = _late(switches, heard.routed)
    colours = Counter(colour for _, _, colour in answers)
    median_ms, cut, rate = statistics.median(acks_ms), sum(s.cut for s in switches), _rate(answers)
    return [
        ("requests", f"{sent:,}, {rate:.0f}/s; {dict(colours)}", f"≥ {options.rate:g}/s", rate >= 0.99 * options.rate),
        ("failed, by the client", f"{failed} {dict(outcomes) if failed else ''}".strip(), "0", failed == 0),
        ("failed, by the edge; cut", f"{counted.failed}; {cut}", "0; 0", counted.failed == cut == 0),
        ("client and edge agree", f"{sent:,} and {counted.requests:,}", "equal", sent == counted.requests),
        ("commit to acknowledgement, p50", f"{median_ms:.1f} ms", f"≤ {ACK_MS:g} ms", median_ms <= ACK_MS),
        ("the same, longest", f"{max(acks_ms):.1f} ms", "", True),
        ("on the old colour after it", f"{late}", "0", late == 0),
        ("one switch, p50", f"{statistics.median(s.duration_s for s in switches):.2f} s", "", True),
    ]


def _breaches(deployment: Deployment, release: Release, options: argparse.Namespace) -> list[Row]:
    """Switch to a colour that fails every second request, and see how long after the first window it is gone."""
    rollout = deployment.profile.rollout
    gate = rollout.gate.model_copy(update={"window_s": WINDOW_S})
    watched = deployment.profile.model_copy(
        update={"rollout": rollout.model_copy(update={"bake_s": 10.0, "gate": gate})}
    )
    doomed, taken = dataclasses.replace(deployment, profile=watched), []
    for _ in range(options.breaches):
        good = doomed.serving

        def work() -> dict[str, int]:
            try:
                doomed.switch(release.configured([*release.command, "--fail-every", "2"]))
            except RolledBack as error:
                time.sleep(0.5)
                return {state: t_ns for state, t_ns, _ in error.states}
            raise RuntimeError("a colour that fails every second request was kept")

        at, heard = _under_load(doomed, options.rate, work)
        shown_ns = at["baking"] + WINDOW_S * 1e9
        bad = [sent_ns for sent_ns, _, colour in heard.answers if good and colour and colour != good.colour]
        taken.append((max(bad) - shown_ns) / 1e9)
    if not taken:
        return []
    longest = max(taken)
    said = f"{statistics.median(taken):.2f} s, longest {longest:.2f} s of {len(taken)}"
    return [("breach shown to last request on the bad colour", said, f"≤ {BACK_S:g} s", longest <= BACK_S)]


def _under_load(deployment: Deployment, rate: float, work: Callable[[], Any]) -> tuple[Any, Heard]:
    """Return what `work` returns while a load in another process runs, and how its requests ended."""
    command = [sys.executable, "-c", LOAD, str(ROOT / "tests/integration/deploy"), deployment.url, str(rate)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as load:
        assert load.stdout
        load.stdout.readline()
        try:
            result = work()
        finally:
            said = load.communicate()[0]
    heard = json.loads(said)
    return result, Heard(Counter(heard["outcomes"]), heard["answers"], heard["routed"])


def _rate(answers: list[tuple[int, str, str]]) -> float:
    """Requests per second from the first that was sent to the last."""
    sent = [sent_ns for sent_ns, _, _ in answers]
    return len(sent) / (max(sent) - min(sent)) * 1e9


def _late(switches: list[Switched], routed: list[tuple[int, int]]) -> int:
    """Requests that were sent after an acknowledgement, and answered by an earlier generation of the routes."""
    acks = [(next(t for state, t, _ in s.states if state == "switched"), s.generation) for s in switches]
    generations = [0, *(generation for _, generation in acks)]
    times = [t_ns for t_ns, _ in acks]
    return sum(generation < generations[bisect.bisect(times, sent_ns)] for sent_ns, generation in routed)


def _fact(switched: Switched, state: str) -> str:
    return next(fact for name, _, fact in switched.states if name == state)


def _deployment(options: argparse.Namespace, home: Path, image: str) -> Deployment:
    python, program = ("python3", "/server.py") if image else (sys.executable, str(SERVER))
    service = {"command": [python, program, "--host", "{host}", "--port", "{port}"], "image": image}
    rollout = {"bake_s": 0.3, "drain": not options.no_drain, "gate": {"window_s": 5}}
    profile = Profile.model_validate(
        {"name": "bench", "engine": options.engine, "service": service, "rollout": rollout}
    )  # fmt: skip
    deployment = Deployment.open(profile, home)
    if options.engine == "docker":
        return dataclasses.replace(deployment, engine=dataclasses.replace(deployment.engine, source=ROOT))
    return deployment


@contextlib.contextmanager
def _image(options: argparse.Namespace, server: Path = SERVER, libraries: Sequence[str] = ()) -> Iterator[str]:
    """Build the image of the server, where one is needed and none is given; it is removed at the end.

    The server is `/NAME.py` in it, or `/server.py`, and can import the `libraries`.
    """
    if options.engine != "docker" or options.image:
        yield options.image
        return
    from tailrace.deploy.images import base_image, dockerd

    with contextlib.closing(dockerd.connect()) as client, tempfile.TemporaryDirectory() as folder:
        base = base_image.ensure(client, ROOT / ".tailrace" / "images")
        name = "server.py" if server == SERVER else server.name
        (Path(folder) / name).write_bytes(server.read_bytes())
        _copy(libraries, Path(folder) / "libraries")
        # Its own, by the name of the folder: another bench on the same engine removes its image at its end.
        lines = (
            f"FROM {base}\nCOPY {name} /{name}\nCOPY libraries /libraries\nENV PYTHONPATH=/libraries\n"
            f"USER 65532:65532\nLABEL bench={Path(folder).name}\n"
        )
        (Path(folder) / "Dockerfile").write_text(lines)
        built, _ = client.images.build(path=folder, rm=True, forcerm=True, network_mode="none")
        try:
            yield built.id
        finally:
            client.images.remove(built.id, force=True)


def _copy(libraries: Sequence[str], folder: Path) -> None:
    """Copy installed libraries of Python alone into `folder`."""
    folder.mkdir()
    for name in libraries:
        found = importlib.util.find_spec(name)
        assert found
        assert found.origin
        origin = Path(found.origin)
        if found.submodule_search_locations:
            shutil.copytree(origin.parent, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(origin, folder)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=["process", "docker"], default="process")
    parser.add_argument("--count", type=int, help="switches in a row; 100 on process, 30 on docker")
    parser.add_argument("--rate", type=float, default=500, help="requests per second")
    parser.add_argument("--breaches", type=int, default=3, help="bad colours to be taken back")
    parser.add_argument("--image", default="", help="an image that has /server.py")
    parser.add_argument("--no-drain", action="store_true", help="the negative control")
    parser.add_argument("--mix", action="store_true", help="many protocols, and two deployments")
    parser.add_argument("--hungry", action="store_true", help="a start that takes every processor: a table")
    parser.add_argument("--bad-every", type=int, default=0, help="with --mix: how often a release is a bad one")
    options = parser.parse_args()
    options.count = options.count or COUNTS[options.engine]
    return options


if __name__ == "__main__":
    sys.exit(main())
