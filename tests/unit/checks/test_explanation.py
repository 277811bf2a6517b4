"""Why a check failed: each rule names its cause when the evidence holds it, and keeps silent when it does not."""

import pandas as pd
import pytest

from tailrace.checks import explanation
from tailrace.checks.causes import RULES
from tailrace.checks.circumstances import STATES, Circumstances, Limits, Samples
from tailrace.deploy.edge.samples import EdgeRow
from tailrace.host.machine import MACHINE, MachineRow
from tailrace.load.beside import ServerRow

S = 1_000_000_000
FAILED = {"outcome": "error", "error_type": "http_503", "status": 503, "service_us": 1_000, "colour": ""}
STEADY = {"t_ns": 0, "colour": "blue", "requests": 0, "active": 1, "failed": 0, "none_healthy": 0, "connect_failed": 0,
          "timed_out": 0, "overflowed": 0, "broken": 0, "checks_failed": 0, "members": 1, "healthy": 1}  # fmt: skip
IDLE = {"span_s": 1.0, "subject": MACHINE, "cores": 0.4, "of_cores": 2, "memory_mb": 1_000.0, "of_memory_mb": 8_000.0,
        "stolen": 0.0, "io_wait": 0.0, "throttled": 0.0, "cpu_pressure": 0.0, "memory_pressure": 0.0,
        "io_pressure": 0.0}  # fmt: skip


def edge(*rows: dict[str, object]) -> pd.DataFrame:
    """Samples of blue's slot, a second apart, each just before a request is due."""
    return pd.DataFrame([EdgeRow(**{**STEADY, "t_ns": i * S - S // 10, **row}) for i, row in enumerate(rows)])


def machine(**differences: object) -> pd.DataFrame:
    """Twelve seconds of the whole machine; `groups` is who used how many processors."""
    groups = differences.pop("groups", {})
    rows = []
    for second in range(1, 13):
        rows.append(MachineRow(**{"t_ns": second * S, **IDLE, **differences}))
        rows += [MachineRow(second * S, 1.0, name, cores, 2, 90.0, 8_000.0) for name, cores in groups.items()]
    return pd.DataFrame(rows)


def states(*named: tuple[int, str]) -> pd.DataFrame:
    return pd.DataFrame([(second * S, name, "") for second, name in named], columns=STATES)


SWITCH = states((1, "locked"), (2, "started"), (9, "ready"), (10, "switched"))
HEALTHY = edge(*({} for _ in range(12)))
UNHEALTHY = edge(*({"none_healthy": max(0, min(i, 9) - 3), "healthy": int(not 2 < i < 9)} for i in range(12)))


@pytest.fixture
def outage(records):
    """Twelve requests, one a second: those of the seconds 3 to 8 failed."""
    return records(*(FAILED if 3 <= second <= 8 else {} for second in range(12)))


def explained(records, **evidence):
    limits = evidence.pop("limits", Limits("process"))
    return explanation.failures(records, Samples(**evidence), limits)


def test_the_sentence_of_an_outage_that_a_start_made(outage):
    """Classes, origin, states, what the edge found, who took the processors, and what to do stand in one text."""
    busy = machine(cores=1.98, groups={"green-3": 1.8, "blue-2": 0.1})
    text = explained(outage, edge=UNHEALTHY, machine=busy, states=SWITCH, limits=Limits("docker", cpus=2.0)).text
    assert text.startswith("6 × 503 by the edge (no healthy upstream), all between started and ready (5 s, from 3 s")
    assert "the edge's health check of blue failed for 6 s" in text
    assert "both cores were busy for 100 % of that time, 1.8 of 2 of them by green-3" in text
    assert text.endswith("the new release's start took the old one's processor. Give it less: limits.cpus is 2.")


def test_advice_names_a_setting_only_where_there_is_one(outage):
    """An engine that enforces no limits gets no advice to lower them; it is told what there is."""
    busy = machine(cores=1.98, groups={"green-3": 1.8})
    text = explained(outage, edge=UNHEALTHY, machine=busy, states=SWITCH).text
    assert "Have it start with fewer threads or at a lower priority (rollout.start_nice), or set limits.cpus" in text
    assert "limits.cpus is" not in text


def test_without_the_evidence_the_cause_is_not_known(outage):
    """The negative control: the same failures, on an idle machine with a healthy edge."""
    found = explained(outage, edge=HEALTHY, machine=machine(), states=SWITCH)
    assert [cause.fact for cause in found.causes] == ["the service itself answered with these errors"]
    assert "6 × 503 by the service" in found.text
    blind = explained(outage)
    assert blind.causes == ()
    assert blind.text == ("6 × 503, within 5 s, from 3 s on. The cause is not known: the machine was not sampled")


def test_nothing_that_failed_needs_no_explanation(records):
    """Without a failure there is nothing to explain, whatever the machine did."""
    assert explained(records({}, {}), machine=machine(cores=2.0)) is None


def rule(name):
    return next(rule for rule in RULES if rule.__name__ == name)


PLANTED = {
    "unhealthy_instance": ({"edge": UNHEALTHY}, "health check of blue failed for 6 s"),
    "processors_taken": ({"machine": machine(cores=2.0, groups={"make (pid 7)": 1.5})}, "Run make (pid 7) elsewhere"),
    "throttled": ({"machine": machine(throttled=0.4)}, "held back by its processor limit for 40 %"),
    "little_memory": ({"machine": machine(memory_mb=7_900.0)}, "1.25 % of the memory was left"),
    "slow_disk": ({"machine": machine(io_pressure=0.6)}, "waited for the disk 60 % of that time"),
    "stolen": ({"machine": machine(stolen=0.25)}, "gave 25 % of the processors to other machines"),
    "connection_refused": ({"edge": edge(*({"connect_failed": i} for i in range(12)))}, "refused 6 connections"),
    "connection_broken": ({"edge": edge(*({"broken": i // 2} for i in range(12)))}, "closed 3 connections"),
    "edge_gave_up": ({"edge": edge(*({"timed_out": i} for i in range(12)))}, "waited too long for 6 answers"),
    "server_queue": (
        {"server": pd.DataFrame([ServerRow(5 * S, "", "waiting", None, 40.0, "")])},
        "up to 40 requests waited in the server's own queue",
    ),
    "answered_by_service": ({"edge": HEALTHY}, "the service itself answered"),
}
FAULTLESS = {
    "server_queue": {"server": pd.DataFrame([ServerRow(5 * S, "", "waiting", None, 0.0, "")])},
    "answered_by_service": {"edge": UNHEALTHY},
    "edge_unreachable": {},
}


def circumstances(records, evidence):
    affected = records[records["outcome"] == "error"]
    return Circumstances(records, affected, Samples(states=SWITCH, **evidence), Limits("process"))


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_cause_is_named(outage, name):
    """Each rule of the table finds its cause in evidence that holds it."""
    evidence, expected = PLANTED[name]
    cause = rule(name)(circumstances(outage, evidence))
    assert expected in f"{cause.fact}. {cause.advice}"


@pytest.mark.parametrize("name", [rule.__name__ for rule in RULES])
def test_a_cause_that_is_not_there_is_not_named(outage, name):
    """The negative control of each rule: evidence of the same kind without the cause, and no evidence at all."""
    steady = FAULTLESS.get(name, {"edge": HEALTHY, "machine": machine()})
    assert rule(name)(circumstances(outage, steady)) is None
    assert rule(name)(circumstances(outage, {})) is None


def test_a_service_that_cannot_be_reached_is_named(records):
    """Connections that nobody accepted were refused where the service should be."""
    unreachable = {"outcome": "error", "error_type": "connect", "colour": "", "service_us": 100}
    found = explained(records({}, unreachable, unreachable))
    assert "2 × connect seen by the client" in found.text
    assert "nothing accepted connections at the address of the service (2 times)" in found.text


def test_requests_that_a_drain_cut_off_are_told_by_its_deadline(records):
    """What was cut between baked and drained had not ended in the time that the profile allows."""
    cut = records({}, {**FAILED, "error_type": "cut_stream", "status": 200}, {})
    evidence = {"edge": edge({}, {}, {"broken": 1}), "states": states((0, "baked"), (2, "drained"))}
    text = explained(cut, **evidence, limits=Limits("process", drain_timeout_s=15)).text
    assert "1 × cut_stream seen by the client, between baked and drained" in text
    assert "Raise rollout.drain_timeout_s (now 15)." in text


def test_a_busy_service_is_at_its_own_limit(outage):
    """The colour that serves is not blamed for taking the processor from itself, nor is a load generator."""
    serving = explained(outage, machine=machine(cores=2.0, groups={"blue-2": 1.8}), states=SWITCH).text
    assert "the service was at its limit" in serving
    generator = explained(outage, machine=machine(cores=2.0, groups={"this run": 1.9}), states=SWITCH).text
    assert "the load generator took the processor" in generator


def test_nobody_is_blamed_for_a_part(outage):
    """Where no program used a large part of the processors, the largest parts are told, and no conclusion."""
    shared = machine(cores=2.0, groups={"green-3": 0.7, "make (pid 7)": 0.6, "cc (pid 8)": 0.5})
    text = explained(outage, machine=shared, states=SWITCH).text
    assert "the largest parts: 0.7 of 2 by green-3, 0.6 of 2 by make (pid 7)" in text
    assert "took" not in text


def test_an_instance_that_starts_is_not_called_unhealthy(outage):
    """A slot that was filled a moment ago is not healthy yet: only one that was, and is no more, is news."""
    starting = edge(*({"members": int(i > 2), "healthy": int(i > 8), "none_healthy": i} for i in range(12)))
    assert circumstances(outage, {"edge": starting}).unhealthy() == {}


@pytest.mark.parametrize(
    ("named", "between"),
    [
        (((1, "locked"), (9, "ready")), "between locked and ready"),
        (((9, "locked"), (10, "ready")), "before locked"),
        (((0, "locked"), (1, "done")), "after done"),
        (((5, "locked"), (6, "ready")), "from before locked on"),
        ((), ""),
    ],
)
def test_when_is_told_by_the_states_around_it(outage, named, between):
    """The states of the switch that frame the failures are named, and nothing where there was no switch."""
    evidence = Samples(states=states(*named))
    affected = outage[outage["outcome"] == "error"]
    assert Circumstances(outage, affected, evidence).between() == between


def test_slow_answers_are_explained_by_the_machine(records):
    """Successes beyond a limit get the causes that make answers slow, and no others."""
    slow = records({}, {"service_us": 900_000}, {"service_us": 800_000})
    found = explanation.slowness(
        slow, {"latency": 500}, Samples(machine=machine(throttled=0.5), edge=HEALTHY), Limits("docker", 1.0)
    )
    assert found.text.startswith("2 requests were beyond latency 500 ms, within 1.8 s, from 1 s on")
    assert "Raise limits.cpus (now 1)." in found.text
    assert "503" not in found.text
    assert explanation.slowness(slow, {"latency": 2_000}) is None
