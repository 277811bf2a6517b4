"""A soak in short, and the negative controls: what turns its account, or the growth of its processes, red."""

import subprocess
import sys
import time
from collections import Counter
from itertools import pairwise

import pandas as pd
import pytest

import soak
import soak_faults
import soak_growth
from soak_account import BY_PROVIDER, BY_ROLLBACK, LONGEST_S, NOTHING, Account, Injected
from soak_growth import Growth, Sample
from tailrace.deploy.journal import JournalEntry
from tailrace.host import waiting

KILLED = Injected("serving instance killed", int(10e9), int(14e9), "instance ended")


def test_the_soak_of_the_target_switches_each_minute_and_injects_each_kind_of_fault_between():
    """Thirty switches and fifteen faults in half an hour, no two at a time."""
    plan = soak.Soak().plan
    assert Counter(what == "switch" for _, what in plan) == {True: 30, False: 15}
    assert {what for _, what in plan} == {"switch", *soak_faults.KINDS}
    assert min(later - earlier for (earlier, _), (later, _) in pairwise(plan)) >= 30


@pytest.mark.alone
@pytest.mark.deep
@pytest.mark.timeout(600)
def test_a_short_soak_loses_nothing_that_the_journal_does_not_own_up_to(tmp_path):
    """With real switches and faults; `make soak` is the same for half an hour, with all kinds."""
    short = soak.Soak(0.7, 50, 60, 20, kinds=("serving instance killed", "Envoy killed"))
    assert [what for _, what in short.plan] == ["serving instance killed", "switch", "Envoy killed"]
    with soak.bed(tmp_path) as bed:
        account, growth = soak.run(short, bed, tmp_path / "records")
    # What lives for some seconds, as instances and Envoy do here, says little of growth: that is for `make soak`.
    lasting = [line for line in growth.lines() if line[0].startswith(("supervisor", "Envoy's keeper", "simulator"))]
    assert len(lasting) == 6
    assert [line for line in [*account.lines(), *lasting] if not line[-1]] == []
    assert {sample.part for reading in growth.readings for sample in reading} == {
        "service", "supervisor", "Envoy", "Envoy's keeper", "simulator",
    }  # fmt: skip
    # The negative control: without the journal's words the same failures are lost, and the account says so.
    account = Account(account.rows, [], account.injected, account.summaries, account.planned)
    assert account.silent == ["Envoy killed", "serving instance killed"]
    assert len(account.lost) == len(account.failed) > 0


def rows(*failed_s, **columns):
    """Return records of ten requests a second for a minute, of 10 ms each; those that were sent then have failed."""
    intended = [int(n * 1e8) for n in range(600)]
    failed = [round(one * 10) for one in failed_s]
    frame = pd.DataFrame({"intended_ns": intended, "send_lag_us": 0, "service_us": 10_000, "outcome": "miss",
                          "error_type": "", "status": 200, "colour": "blue", "release": "one"})  # fmt: skip
    frame.loc[failed, ["outcome", "error_type", "status", "colour", "release"]] = ["error", "http_503", 503, "", ""]
    for name, value in columns.items():
        frame.loc[failed, name] = value
    return frame


def entry(at_s, kind, state, transition="", **data):
    return JournalEntry(0, transition, kind, state, "a fact", int(at_s * 1e9), "", "", data)


def account(frame, injected, *entries):
    return Account(frame, entries, injected, [], 0)


NOTE = entry(11, "note", "instance ended")


def test_a_failure_in_the_window_of_a_fault_that_the_journal_names_is_its_cost():
    """The negative control is the next one: what failed before the fault, or once users were served again, is lost."""
    found = account(rows(10.2, 11.5, 12.0), [KILLED], NOTE)
    assert len(found.lost) == 0
    assert list(found.owners) == ["serving instance killed"] * 3
    assert found.silent == found.unasked == []


@pytest.mark.parametrize("lost_s", [9.5, 14.0, 40.0])
def test_a_failure_outside_all_windows_is_lost(lost_s):
    """Before the fault, and after a whole second in which nothing failed, also while the fault is not yet over."""
    found = account(rows(10.2, 12.0, lost_s), [KILLED], NOTE)
    assert list(found.lost["sent_ns"]) == [int(lost_s * 1e9)]
    lines = {measure: (value, held) for measure, value, _, held in found.lines()}
    assert lines["lost: no word of them in the journal"] == ("1 {'http_503': 1}", False)


def test_an_outage_that_does_not_end_is_lost_beyond_the_limit():
    """The window ends by itself: a deployment that never comes back is not excused."""
    found = account(rows(*(n / 10 for n in range(101, 600))), [KILLED], NOTE)
    assert found.lost["sent_ns"].min() == pytest.approx((10 + LONGEST_S) * 1e9, abs=2e8)


def test_a_fault_of_which_the_journal_has_no_word_owns_nothing():
    """Neither has a note that came before it, or of something else."""
    others = entry(9, "note", "instance ended"), entry(11, "note", "edge ended")
    found = account(rows(10.2), [KILLED], *others)
    assert found.silent == ["serving instance killed"]
    assert len(found.lost) == 1
    assert found.unasked == ["a fact"]  # the instance that ended before


def test_a_fault_that_nobody_may_feel_owns_nothing():
    """A failure while an instance hangs is lost."""
    found = account(rows(10.5), [Injected("instance hangs", int(10e9), int(14e9), NOTHING)])
    assert len(found.lost) == 1
    assert found.silent == []


def test_a_provider_owns_only_what_the_service_answered():
    """A failure without an answer, or made by the edge, is not the provider's."""
    injected = [Injected("provider outage", int(10e9), int(14e9), BY_PROVIDER)]
    assert len(account(rows(10.5, colour="blue", release="one"), injected).lost) == 0
    assert len(account(rows(10.5, colour="blue"), injected).lost) == 1


def test_a_bad_release_owns_its_own_failures_until_it_was_rolled_back():
    """Not those of the other colour, nor those after the rollback's end; without that end in the journal, none."""
    injected = [Injected("bad release", int(10e9), int(20e9), BY_ROLLBACK)]
    entries = [entry(10.1, "begin", "locked", "t", to="green"), entry(12, "intent", "routed", "t"),
               entry(15, "end", "rolled back", "t")]  # fmt: skip
    own = rows(13, 14, colour="green", release="bad")
    assert len(account(own, injected, *entries).lost) == 0
    assert account(own, injected, *entries[:2]).silent == ["bad release"]
    assert len(account(rows(13, colour="blue", release="one"), injected, *entries).lost) == 1
    assert len(account(rows(11, 16, colour="green", release="bad"), injected, *entries).lost) == 2


def lived(part, values, field="descriptors"):
    """Return the readings of one process, a second each."""
    usual = {"descriptors": 40, "memory_mb": 60.0}
    return Growth([[Sample(part, 7, "then", **{**usual, field: value})] for value in values])


def test_a_process_that_gives_back_what_it_takes_is_flat():
    """Bursts, and what it takes at first, are no growth."""
    assert lived("service", [min(20 + n, 60) for n in range(200)]).flat
    assert lived("service", [400 if n % 20 == 7 else 40 for n in range(200)]).flat


@pytest.mark.parametrize(("field", "each"), [("descriptors", 0.2), ("memory_mb", 0.1)])
def test_a_process_that_leaks_is_not_flat(field, each):
    """A descriptor in five seconds, or 100 KB a second, for ten minutes; also beside one that is flat."""
    leaks = lived("Envoy", [40 + round(n * each, 1) for n in range(600)], field)
    flat = lived("service", [40] * 600)
    assert not leaks.flat
    both = Growth([one + other for one, other in zip(flat.readings, leaks.readings, strict=True)])
    assert [measure.partition(":")[0] for measure, _, _, held in both.lines() if not held] == ["Envoy"]


def test_a_process_of_which_nothing_is_known_is_not_flat():
    """No data is never a pass."""
    assert not lived("service", [40] * (soak_growth.LEAST_SAMPLES - 1)).flat


def test_what_is_held_while_a_fault_is_under_way_is_no_growth():
    """The negative control: the same samples without the fault."""
    readings = [[Sample("service", 7, "then", 40 + 10 * max(0, n - 35), 60.0, int(n * 1e9))] for n in range(60)]
    assert Growth(readings, [(int(36e9), int(60e9))]).flat
    assert not Growth(readings).flat


def test_each_process_counts_from_its_own_start():
    """A new instance that has more than the one before did not grow."""
    first = lived("service", [40] * 60).readings
    second = [[sample._replace(pid=8, descriptors=90) for sample in reading] for reading in first]
    assert Growth([*first, *second]).flat


@pytest.mark.deep
def test_a_real_service_that_leaks_is_found_and_one_that_does_not_is_not(deployment, release, load):
    """By its own descriptors in /proc, as the soak reads them."""
    d = deployment()
    d.up(release(d))

    def grown():
        sent = traffic.sent
        readings = []
        while len(readings) < 2 * soak_growth.LEAST_SAMPLES or traffic.sent < sent + 100:
            readings.append(soak_growth.read(d.folder))
            time.sleep(0.02)
        return Growth(readings)

    with load(d.url, rate=100, streams=0) as traffic:
        assert waiting.until(lambda: traffic.sent > 20, 60)
        assert grown().flat
        d.switch(release(d, leaks=5))
        leaking = grown()
    assert [measure for measure, *_, held in leaking.lines() if not held] == [
        "service: descriptors, growth in the second half of its life"
    ]


def test_what_is_sampled_of_a_process_is_its_own():
    """Its descriptors and its private memory; None once it is gone."""
    script = "import os, sys; a = [os.dup(0) for _ in range(30)]; b = bytearray(b'x') * (40 << 20); print(flush=True)"
    command = [sys.executable, "-c", f"{script}; sys.stdin.read()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline()
        sample = soak_growth.sampled("service", process.pid)
        process.stdin.close()
    assert 33 <= sample.descriptors < 45
    assert 40 <= sample.memory_mb < 80
    assert soak_growth.sampled("service", process.pid) is None
