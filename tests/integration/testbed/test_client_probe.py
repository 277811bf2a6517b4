"""The client probed against a simulator: its cache answers variations of a question rightly, bad input is not sent."""

from tailrace.checks import client
from tailrace.testbed import client_probe


def test_the_cache_of_our_client_is_correct_and_used(provider):
    """Twelve questions that differ in one thing each: none gets the answer of another one."""
    answers = client_probe.cached_answers(provider.url)
    assert list(answers.columns) == client_probe.COLUMNS
    assert answers["question"].nunique() == len(client_probe.VARIATIONS) + 2
    assert [check.state for check in client.cache(answers)] == ["PASS", "PASS"]


def test_an_answer_from_the_cache_of_another_question_would_show(provider):
    """The negative control: with the answers of two questions exchanged, the check fails."""
    answers = client_probe.cached_answers(provider.url)
    answers.loc[[0, 2], "answer"] = answers.loc[[2, 0], "answer"].to_numpy()
    assert client.cache(answers)[0].state == "FAIL"


def test_bad_input_is_rejected_before_it_is_sent(provider):
    """The provider counts no request."""
    before = provider.stats()["requests"]
    assert client_probe.rejected_input(provider.url) == dict.fromkeys(client_probe.BAD_INPUT, True)
    assert provider.stats()["requests"] == before
