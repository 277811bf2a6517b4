"""The trial of step 04: whom the forms of the client call, what may be broken behind it, and who counts the requests.

tailrace's own service holds the client, so the client is tried on a simulator of its own, which hurts nobody. Any other
service that speaks OpenAI's API is called by the client as an application would: through the edge.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from tailrace.records import HIT
from tailrace.testbed import client_probe, faults, service_probe, users
from tailrace.testbed.client_sender import CLIENT_FORMS, SENDER
from tailrace.testbed.provider import Provider
from tailrace.testbed.stack import Stack

DIRECT = "direct"
"""The form without the client: the load generator's own requests."""


@dataclass(frozen=True)
class Form:
    """A way to send the same requests: a sender of the load generator, and its options."""

    sender: str
    options: Mapping[str, Any]


@dataclass(frozen=True)
class ClientTrial:
    """The forms to compare, and the provider that fails meanwhile, if one may be broken."""

    stack: Stack
    forms: Mapping[str, Form]
    provider: Provider | None
    url: str = ""
    """What they call; empty: the service, through the edge."""
    no_faults: str = ""
    """Why no provider is broken."""

    @property
    def on_service(self) -> bool:
        """Whether the service itself is called, and the client is its caller and no part of it."""
        return not self.url

    @property
    def counter(self) -> str:
        """Who counts the requests that the forms make."""
        return "edge" if self.on_service else "provider"

    @property
    def no_client(self) -> str:
        """Why the forms of the client are not tried; "" when they are."""
        return "" if set(CLIENT_FORMS) <= set(self.forms) else users.no_chat(self.stack.profile)

    @property
    def whose(self) -> str:
        """What begins the name of a check of the client when that is no part of the service."""
        return "as a caller: " if self.on_service else ""

    @property
    def figures(self) -> Mapping[str, tuple[str, Mapping[str, Any]]]:
        """The figures that say something about these forms, each with its caption and options."""
        forms = {"order": list(self.forms)}
        if self.no_client:
            return {
                "clients": ("The load generator's own requests: how many succeeded, and how long they took.", forms)
            }
        compared = "The same users and faults" if self.provider else "The same users, without faults"
        lesson = ": retries lose nobody, at the price of a longer tail." if self.url else ", by the form of the caller."
        return {
            "clients": (compared + lesson, forms),
            "spend": ("What that costs, at list prices: an answer from the cache costs nothing.", forms),
            "events": ("One form after the other, second by second.", {"records": f"records:{','.join(self.forms)}"}),
        }

    def requests(self) -> int:
        """Return how many requests `counter` has counted so far."""
        if self.on_service:
            return self.stack.deployment.counters().requests
        assert self.provider is not None
        return int(self.provider.stats()["requests"])

    def inject(self, *scripted: Mapping[str, Any]) -> None:
        """Begin the sequence of these faults anew, where there is a provider to break."""
        if self.provider is not None:
            self.provider.inject(*scripted)

    def repair(self) -> None:
        """Remove all faults."""
        if self.provider is not None:
            self.provider.repair()


def of(stack: Stack, **limits: float) -> ClientTrial:
    """Return the trial of the profile; `limits` are the client's: attempt_timeout_s, deadline_s."""
    profile = stack.profile
    options = users.sender_options(profile)
    forms = {name: Form(SENDER, {**form, **limits}) for name, form in CLIENT_FORMS.items()}
    if profile.service.ours:
        provider = stack.spare_provider("faulty")
        return ClientTrial(stack, forms, provider, provider.url)
    direct = {DIRECT: Form("http", options)}
    called = {} if users.no_chat(profile) else {n: Form(f.sender, {**f.options, **options}) for n, f in forms.items()}
    no_faults = faults.skipped(profile).get(faults.PROVIDER_OUTAGE, "")
    return ClientTrial(stack, direct | called, None if no_faults else stack.provider, no_faults=no_faults)


@dataclass(frozen=True)
class Asked:
    """What was found out one question at a time; `untested` says why something was not, or is ""."""

    answers: pd.DataFrame
    rejected: Mapping[str, bool]
    outage: service_probe.Outage | None
    untested: Mapping[Literal["cache", "input", "retries"], str]


def ask(trial: ClientTrial) -> Asked:
    """Ask the client, where it is a part of the service, else the service itself: about its cache and its retries."""
    if trial.url:
        answers, rejected = client_probe.cached_answers(trial.url), client_probe.rejected_input(trial.url)
        return Asked(answers, rejected, None, dict.fromkeys(("cache", "input", "retries"), ""))
    untested: dict[Literal["cache", "input", "retries"], str] = {"input": "what this service refuses is up to it"}
    none = pd.DataFrame(columns=client_probe.COLUMNS)
    if reason := trial.no_faults or trial.no_client:
        return Asked(none, {}, None, {**untested, "cache": reason, "retries": reason})
    answers = service_probe.cached_answers(trial.stack)
    cached = bool((answers["cache"] == HIT).any())
    untested |= {"cache": "" if cached else "the service asked its provider for every answer: it keeps none"}
    return Asked(answers, {}, service_probe.outage(trial.stack), {**untested, "retries": ""})
