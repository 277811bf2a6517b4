"""The summary of a load as text."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.cli.load.test_document import PLAIN, STREAM, summarised

from tailrace.analysis import labels
from tailrace.cli.load.tables import summary, wrapped
from tailrace.load.sessions import SessionCounts


@pytest.fixture
def streams(tmp_path: Path) -> dict:
    records = [STREAM._replace(seq=n, intended_ns=n * 10**7, send_lag_us=1000, model=f"m{n % 2}") for n in range(1000)]
    return summarised(tmp_path, records, gaps_us=[5_000] * 15, limits_ms={"ttft": 300.0})


def lines(content: dict, width: int = 120) -> dict[str, str]:
    """Return the lines of a summary by the word that they begin with; of several, the first."""
    return {line.split()[0]: line for line in reversed(summary(content, width).splitlines()) if line.strip()}


def test_the_first_line_names_the_loop(tmp_path: Path):
    """The loop, the rates and the lag; a percentile that n is too small for is n/a."""
    text = summary(summarised(tmp_path, [PLAIN._replace(seq=n, service_us=2500) for n in range(100)]))
    assert text.startswith("open loop · ")
    assert "n/a" in text
    assert "TTFT" not in text


def test_no_records_are_invalid(tmp_path: Path):
    """A load without records says that before anything else, and shows no number."""
    text = summary(summarised(tmp_path, []))
    assert "INVALID: no records" in text
    assert lines(summarised(tmp_path / "more", []))["latency"].split()[1:] == ["0", "0", *["n/a"] * 6]


def test_streams_have_every_measure(streams: dict):
    """TTFT, TPOT and ITL have n, percentiles and an interval; tokens per second are those of one user and of all."""
    text = lines(streams)
    assert text["TTFT"].split() == ["TTFT", "1,000", "0", *["21"] * 4, "n/a", "21", "p99", "[21,", "21]"]
    assert text["TPOT"].split()[:4] == ["TPOT", "1,000", "0", "5"]
    assert text["ITL"].split()[:3] == ["ITL", "15,000", "0"]
    assert "in all (n = 1,000); 200 [200, 200] for one user (n = 1,000)" in text["tokens/s"]
    assert text["tokens"] == "tokens    12,000 in, 16,000 out, of 1,000 answers"
    assert text["goodput"].startswith("goodput   1,000 of 1,000 good, 100 %")
    assert [line.split()[1] for line in summary(streams).splitlines() if line.startswith("model ")] == ["m0", "m1"]


def test_tokens_off_the_plan_are_a_line_of_their_own(streams: dict):
    """Counted and planned tokens stand side by side; more than 2 % apart, the summary says so."""
    text = lines(streams)
    assert (
        text["plan"]
        == "plan      12,000 in counted, 10,000 planned (+20.0%); 16,000 out counted, 16,000 planned (+0.0%)"
    )
    assert text["DEVIATES:"] == "DEVIATES: input tokens deviate by +20.0% from the plan (limit 2%)"
    assert "DEVIATES" not in summary(streams | {"deviations": []})


def test_a_reused_prefix_is_shown(streams: dict):
    """The plan's share, and what the server says that it had in its cache."""
    assert lines(streams)["prefix"] == (
        "prefix    50 % of the planned tokens in were sent before; the server had 33.3 % in its cache"
    )


def test_sessions_say_what_was_not_sent(streams: dict):
    """Each reason stands beside its number of sessions and turns; one that did not occur does not."""
    counts = SessionCounts(begun=9, complete=6, failed=2, unfinished=1, turns_after_failure=5, turns_after_end=3)
    assert lines(streams | {"sessions": counts.__dict__})["sessions"] == (
        "sessions  9 begun, 6 complete; 2 ended by a turn that failed (5 turns not sent); "
        "1 by the end of the schedule (3 turns not sent)"
    )
    assert lines(streams | {"sessions": SessionCounts(begun=9, complete=9).__dict__})["sessions"].endswith("9 complete")


@pytest.mark.parametrize(("width", "columns"), [(80, 3), (100, 6), (120, 6)])
def test_the_table_is_as_wide_as_the_terminal(streams: dict, width: int, columns: int):
    """On 80 columns it leaves out percentiles, never n, p50, p99 or the interval."""
    table = summary(streams, width).split("\n\n")[1].splitlines()
    assert max(map(len, table)) <= width
    assert len({len(line) for line in table}) == 1
    heading = table[0].split()
    assert {"p50", "p99", "n", "errors"} <= set(heading)
    assert (
        len([name for name in heading if name in {"p50", "p90", "p95", "p99", "p99.9", "max"}]) == columns
    )  # "95 % of p99"


def test_with_few_requests_the_interval_is_that_of_a_lower_percentile(tmp_path: Path):
    """100 requests have no p99, and so the line names the percentile whose interval it shows."""
    text = lines(summarised(tmp_path, [PLAIN._replace(seq=n, service_us=2500) for n in range(100)]))
    assert text["latency"].endswith(" p95 [2.5, 2.5]")


def test_a_long_line_is_folded_on_a_terminal():
    """What follows is indented; a line that fits, and a line that is empty, are left as they are."""
    text = "short\n\n" + "word " * 30
    folded = wrapped(text, 80).splitlines()
    assert folded[:2] == ["short", ""]
    assert len(folded) == 4
    assert folded[3].startswith(" " * 10 + "word")
    assert max(map(len, folded)) <= 80


def test_invented_colours_are_bounded_and_counted(tmp_path: Path):
    """120 colours are twelve groups and a line that says how many are left out; the control has all of its two."""
    invented = [PLAIN._replace(seq=n, intended_ns=n, colour=f"c{n % 120}") for n in range(480)]
    content = summarised(tmp_path / "many", invented)
    assert content["left_out"] == {"colour": 108}
    assert sum(group["group"].startswith("c") for group in content["groups"][::2]) == labels.MOST
    assert "108 further values of colour" in lines(content)["left"]
    assert len(summary(content).splitlines()) < 40
    two = summarised(tmp_path / "two", [record._replace(colour=f"c{record.seq % 2}") for record in invented])
    assert two["left_out"] == {}
    assert "left" not in lines(two)
