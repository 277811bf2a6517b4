"""Whom the forms of the client call, and what is left out for a service that is not ours, with the reason."""

from types import SimpleNamespace

import pandas as pd
import pytest

from tailrace.profile import Profile
from tailrace.testbed import client_trial, service_probe
from tailrace.testbed.client_sender import CLIENT_FORMS

FORMS = set(CLIENT_FORMS)
COMMAND = {"command": ["serve"]}
PROVIDER = {"provider_env": {"base_url": "URL"}}


def of(service, **settings):
    """Return the trial of a profile with this service, on a stack that starts nothing."""
    profile = Profile(name="test", service=service, **settings)
    provider = SimpleNamespace(url="http://simulator/v1")
    return client_trial.of(SimpleNamespace(profile=profile, provider=provider, spare_provider=lambda _: provider))


def test_our_client_is_tried_on_a_simulator_of_its_own():
    """The service that serves is not touched; the provider counts."""
    trial = of({})
    assert (set(trial.forms), trial.url, trial.counter) == (FORMS, "http://simulator/v1", "provider")
    assert (trial.no_faults, trial.no_client, trial.whose) == ("", "", "")


@pytest.mark.parametrize(
    ("service", "forms", "no_client", "no_faults"),
    [
        ({**COMMAND, "api": "openai", **PROVIDER}, {"direct", *FORMS}, "", ""),
        ({**COMMAND, "api": "openai"}, {"direct", *FORMS}, "", "service.provider_env"),
        ({**COMMAND, **PROVIDER}, {"direct"}, "service.api is http", ""),
        (COMMAND, {"direct"}, "service.api is http", "service.provider_env"),
    ],
)
def test_another_service_is_called_through_the_edge(service, forms, no_client, no_faults):
    """By the client where it speaks OpenAI's API, and directly; the edge counts, and a reason says what is missing."""
    trial = of({**service, "headers": {"x-a": "1"}})
    assert (set(trial.forms), trial.url, trial.counter, trial.whose) == (forms, "", "edge", "as a caller: ")
    assert all(form.options["headers"] == {"x-a": "1"} for form in trial.forms.values())
    assert (no_client in trial.no_client, no_faults in trial.no_faults) == (True, True)
    assert (trial.provider is None) == bool(no_faults)


def test_a_real_provider_is_not_broken():
    """The faults are a simulator's."""
    provider = {"base_url": "http://real/v1"}
    assert "is a real provider" in of({**COMMAND, "api": "openai", **PROVIDER}, provider=provider).no_faults


@pytest.mark.parametrize(("service", "reason"), [(COMMAND, "provider_env"), ({**COMMAND, **PROVIDER}, "api is http")])
def test_what_cannot_be_asked_has_a_reason(service, reason):
    """No check is made of it, and none is passed over in silence."""
    asked = client_trial.ask(of(service))
    assert asked.answers.empty
    assert asked.outage is None
    assert reason in asked.untested["cache"]
    assert asked.untested["cache"] == asked.untested["retries"]
    assert asked.untested["input"]


def answers(monkeypatch, texts, asked):
    """Return the judged answers of a service that gives these texts and asks its provider so often before each."""
    counts, given = iter(asked), iter(texts)
    monkeypatch.setattr(service_probe, "_asked", lambda _: next(counts))
    monkeypatch.setattr(service_probe, "_answer", lambda *_: next(given))
    frame: pd.DataFrame = service_probe.cached_answers(SimpleNamespace(profile=Profile(name="test")))
    return frame.assign(wrong=frame["answer"] != frame["uncached_answer"])


def test_a_service_that_keeps_its_answers_has_hits(monkeypatch):
    """The provider is asked for the first ones only, and each question has its own answer."""
    counts = [0, 1, 1, 2, 2, 3, 3, 4, *([4] * 8)]
    frame = answers(monkeypatch, ["a", "b", "c", "d"] * 2, counts)
    assert frame["cache"].tolist() == ["miss"] * 4 + ["hit"] * 4
    assert not frame["wrong"].any()


def test_a_service_that_gives_the_answer_to_another_question_is_found(monkeypatch):
    """Two questions with one answer are both wrong, and so is no answer at all."""
    frame = answers(monkeypatch, ["a", "a", "c", ""] * 2, range(16))
    assert set(frame.loc[frame["wrong"], "question"]) == {"one question", "another question", "a longer conversation"}
