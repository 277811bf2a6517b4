"""Only what a profile uses is started: a simulator runs where the service, or a proof about it, asks for a provider."""

from types import SimpleNamespace

import pytest

from tailrace.profile import Profile
from tailrace.testbed import candidates, client_trial, faults, stack
from tailrace.testbed.provider import Provider
from tailrace.testbed.stack import Stack

COMMAND = {"command": ["serve"]}
PROVIDER = {"provider_env": {"base_url": "URL"}}
REAL = {"base_url": "https://api.example.com/v1"}


class Release:
    """A release that can be configured, and nothing else."""

    environment = {}  # noqa: RUF012

    def configured(self, **_):
        return self


def started(monkeypatch, service, provider=None):
    """Return the simulators that a deploy and the steps 02 to 04 start for this service."""
    names = []

    def simulated(settings, engine, deployment, name):
        names.append(name)
        return SimpleNamespace(url="http://s/v1", internal_url="http://s/v1", broken=Provider("", "").broken)

    monkeypatch.setattr(stack.providers, "simulated", simulated)
    monkeypatch.setattr(Provider, "_admin", lambda *_: None)
    profile = Profile(name="test", service=service, provider=provider or {})
    opened = Stack(profile, None, SimpleNamespace(engine=None))
    opened.environment()  # deploy, and `up` of each step
    opened._questions()  # the probes of step 02
    faults.provider_outage(opened)
    for candidate in (candidates.good, candidates.never_ready, candidates.failing):
        candidate(opened, Release())
    client_trial.of(opened)
    return names


@pytest.mark.parametrize("provider", [None, REAL], ids=["simulated", "real"])
@pytest.mark.parametrize("api", ["http", "openai"])
def test_a_service_that_asks_for_no_provider_starts_no_simulator(monkeypatch, api, provider):
    """Neither at a deploy nor in a run, whatever it speaks."""
    assert started(monkeypatch, {**COMMAND, "api": api}, provider) == []


def test_a_service_that_asks_for_a_provider_gets_one(monkeypatch):
    """Negative control: one that says how it learns the address has one simulator; ours has two more to be broken."""
    assert started(monkeypatch, {**COMMAND, **PROVIDER}) == ["provider"]
    assert started(monkeypatch, {}) == ["provider", "failing", "faulty"]


def test_with_a_real_provider_only_what_is_broken_on_purpose_is_simulated(monkeypatch):
    """A service of one's own gets the real one; our client is proved, and our bad release fails, on simulators."""
    assert started(monkeypatch, {**COMMAND, **PROVIDER}, REAL) == []
    assert started(monkeypatch, {}, REAL) == ["failing", "faulty"]
