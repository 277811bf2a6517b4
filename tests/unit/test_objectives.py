"""Objectives as they are written on the command line."""

import pytest

from tailrace.objectives import Goodput, Objectives, read_goodput, read_limits


def test_limits_by_measure():
    """A percentile alone limits latency; with a measure in front it limits that one."""
    found = read_limits(["p99=800", "ttft_p95=300", "tpot_p99.9=4", "itl_p50=1"])
    assert found == Objectives({"p99": 800}, {"p95": 300}, {"p99.9": 4}, {"p50": 1})
    assert set(found.limits_ms) == {"latency", "ttft", "tpot", "itl"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("99=5", "expected a percentile and its limit in ms"),
        ("p99=fast", "expected a percentile and its limit in ms"),
        ("ttft=300", "expected a percentile and its limit in ms"),
        ("ttfx_p99=300", "or of ttft, tpot, itl: ttft_p95=300"),
        ("p99=0", "expected milliseconds above 0"),
        ("p99=inf", "expected milliseconds above 0"),
        ("p99=nan", "expected milliseconds above 0"),
    ],
)
def test_what_is_no_limit_is_refused(text, reason):
    """The refusal quotes the text and says what would be right."""
    with pytest.raises(ValueError, match=reason) as refused:
        read_limits([text])
    assert str(refused.value).startswith(f"{text}: ")


def test_a_percentile_has_one_limit():
    """Two limits of one percentile contradict each other; those of two measures do not."""
    with pytest.raises(ValueError, match="has a limit already"):
        read_limits(["p99=1", "latency_p99=2"])
    assert read_limits(["p99=1", "ttft_p99=1"])


def test_goodput_from_text():
    """A share, and a limit for each measure of a request."""
    assert read_goodput("ttft=300, tpot=40,share=0.95") == Goodput(0.95, ttft_ms=300, tpot_ms=40)
    assert Goodput(0.95, ttft_ms=300, tpot_ms=40).limits_ms == {"ttft": 300, "tpot": 40}


@pytest.mark.parametrize(
    "text",
    ["", "ttft=300", "share=0.9", "ttft=soon,share=1", "ttft=3,share=2", "itl=3,share=1", "ttft=1,ttft=2,share=1",
     "ttft=-1,share=1", "ttft=nan,share=1", "ttft=3,share=nan"],
)  # fmt: skip
def test_what_is_no_goodput_is_refused(text):
    """Without a share, without a limit, and with a measure that a request has many values of."""
    with pytest.raises(ValueError, match="expected"):
        read_goodput(text)


def test_objectives_of_a_short_measurement():
    """Percentiles up to one are kept; where a measure has higher ones alone, the lowest of these."""
    objectives = Objectives({"p50": 1, "p95": 2, "p99": 3}, {"p99.9": 9, "p99": 8}, error_rate=0.1)
    assert objectives.up_to("p95") == Objectives({"p50": 1, "p95": 2}, {"p99": 8}, error_rate=0.1)
    assert objectives.up_to("p99.9") == objectives


def test_the_limits_of_a_good_request():
    """Those of goodput or, where there is none, the widest of each measure."""
    assert Objectives({"p50": 10, "p99": 80}, {"p95": 30}, itl_ms={"p99": 1}).good_ms == {"latency": 80, "ttft": 30}
    assert Objectives({"p99": 80}, goodput=Goodput(0.9, tpot_ms=4)).good_ms == {"tpot": 4}
    assert Objectives(error_rate=0.1).good_ms == {}


def test_all_limits_are_the_bounds_of_a_histogram():
    """Every limit of a time counts once, goodput's too; a share and an error rate are no times."""
    objectives = Objectives(
        {"p99": 800}, {"p95": 300}, {"p99": 40}, error_rate=0.1, goodput=Goodput(0.95, ttft_ms=300, tpot_ms=50)
    )
    assert objectives.all_limits_ms == {800, 300, 40, 50}
    assert Objectives(error_rate=0.1).all_limits_ms == frozenset()
