"""The checks of the client pass, fail or stay undecided, and each can fail."""

from types import SimpleNamespace

import pandas as pd
import pytest

from tailrace.checks import client
from tailrace.client import Retry

RIGHT = ("a question", 1, "miss", "A", "A"), ("a question", 2, "hit", "A", "A")


def answers(*rows) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["question", "time", "cache", "answer", "uncached_answer"])


def states(checks) -> list[str]:
    return [check.state for check in checks]


def test_a_cache_that_answers_only_its_own_question_is_correct():
    """The first answer is the provider's, the second one the cache's, and both are right."""
    assert states(client.cache(answers(*RIGHT))) == ["PASS", "PASS"]


@pytest.mark.parametrize("wrong", [("another", 1, "miss", "A", "B"), ("another", 1, "hit", "B", "B")])
def test_an_answer_to_another_question_is_found(wrong):
    """A wrong answer, or a hit for a question that was never put before, is named."""
    correct, _ = client.cache(answers(*RIGHT, wrong))
    assert (correct.state, correct.fact) == (
        "FAIL",
        "2 questions that differ in one thing each, 1 answered wrongly: another",
    )


def test_a_cache_that_never_hits_is_not_used():
    """A miss for a repeated question is right, and no use."""
    assert states(client.cache(answers(RIGHT[0], ("a question", 2, "miss", "A", "A")))) == ["PASS", "FAIL"]


def test_no_question_decides_nothing_about_the_cache():
    """No data is never PASS."""
    assert states(client.cache(answers())) == ["INCONCLUSIVE", "INCONCLUSIVE"]


def test_retries_have_two_bounds(records):
    """Attempts per call, and a share of all calls; a budget that is not set is no bound."""
    calls = records(*[{"phase": "retrying", "attempts": n} for n in (1, 1, 3)])
    assert client.retries(calls, ["retrying"], Retry(attempts=3, budget=0.2, budget_burst=2)).state == "PASS"
    assert client.retries(calls, ["retrying"], Retry(attempts=2, budget=0.2, budget_burst=2)).state == "FAIL"
    assert client.retries(calls, ["retrying"], Retry(attempts=3, budget=0.2, budget_burst=1)).state == "FAIL"
    assert client.retries(calls, ["retrying"], Retry(attempts=3, budget=None)).state == "PASS"
    assert client.retries(calls, ["plain"], Retry()).state == "INCONCLUSIVE"


def test_a_form_has_to_fail_less_than_another(records):
    """With faults that nobody met, there is nothing to compare."""
    failed = {"outcome": "error", "error_type": "http_500"}
    met = records({"phase": "plain"} | failed, {"phase": "plain"}, {"phase": "both"}, {"phase": "both"})
    assert client.fails_less(met, "both", "plain").state == "PASS"
    assert client.fails_less(met, "plain", "plain").state == "FAIL"
    assert client.fails_less(records({"phase": "plain"}, {"phase": "both"}), "both", "plain").state == "INCONCLUSIVE"


def test_every_attempt_has_to_be_at_the_provider(records):
    """One more, or one less, is found."""
    calls = records({"attempts": 2}, {"attempts": 0})
    assert [client.attempts_counted(calls, n).state for n in (1, 2, 3)] == ["FAIL", "PASS", "FAIL"]


def test_bad_input_that_is_sent_is_named():
    """One kind that left is a failure, and no kind at all decides nothing."""
    assert client.rejections({"too large": True}).state == "PASS"
    sent = client.rejections({"too large": True, "an unknown role": False})
    assert (sent.state, sent.fact.partition("; ")[2]) == ("FAIL", "sent on: an unknown role")
    assert client.rejections({}).state == "INCONCLUSIVE"


def test_what_was_not_asked_is_skipped_with_its_reason(records):
    """It is neither a pass nor undecided."""
    skipped = [
        *client.cache(answers(), "no cache"),
        client.rejections({}, "up to it"),
        client.retries(records(), ["both"], Retry(), "as a caller: ", "no chat"),
        client.fails_less(records(), "both", "plain", "no faults"),
        *client.service_retries(None, "no provider"),
    ]
    assert {check.state for check in skipped} == {"SKIPPED"}
    assert [check.fact for check in skipped] == ["no cache", "up to it", "no chat", "no faults", "no provider"]


def test_the_retries_of_a_service_are_counted_at_its_provider():
    """Up to the limit for each request; none at all shows that the outage was not met."""

    def decided(provider_requests: int):
        (check,) = client.service_retries(SimpleNamespace(requests=10, provider_requests=provider_requests))
        return check.state

    assert [decided(n) for n in (10, 50, 51, 0)] == ["PASS", "PASS", "FAIL", "INCONCLUSIVE"]
    assert client.service_retries(None) == []


def test_a_service_that_hides_all_faults_leaves_nothing_to_compare(records):
    """Without a service in between, faults that nobody met are no evidence."""
    met = records({"phase": "plain"}, {"phase": "both"})
    assert client.fails_less(met, "both", "plain", may_hide=True).state == "SKIPPED"
    assert client.fails_less(met, "both", "plain").state == "INCONCLUSIVE"
