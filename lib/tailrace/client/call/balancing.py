"""The targets of a policy: which one each attempt goes to, and how long one that failed cools down.

An attempt goes to the next target by smooth weighted round robin, among those that are ready; a retry goes to one that
this call has not tried yet. The state lives with the destination (`limiters.destinations`), so that the failures of one
model or of one caller's key cool nothing else down.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Final, NamedTuple

import orjson

from tailrace.client.call.causes import Cause
from tailrace.client.call.effects import Sleep, Work
from tailrace.client.call.pending import PendingCall
from tailrace.client.call.retry import Outcome, retry_after_s
from tailrace.client.clock import Clock
from tailrace.client.errors import CircuitOpen
from tailrace.client.limiters.destinations import Destination, Destinations
from tailrace.client.limiters.rate import Rates, rates
from tailrace.client.policy import Limits, Policy, Target
from tailrace.client.request import address, envelope
from tailrace.client.request.envelope import Envelope
from tailrace.client.request.parsed import ParsedRequest
from tailrace.client.wire import Headers, Request, Response

SETTLED_S: Final = 300.0
"""The cool-down of a target without quota, with a wrong key or without the model: that changes by somebody's hand."""
MOST_S: Final = 3600.0
"""The longest cool-down, whatever `Retry-After` says."""
RATE_S: Final = (1.0, 60.0)
"""The first and the longest cool-down after a rate limit without `Retry-After`; it doubles with each in a row."""
FAILED_S: Final = (0.5, 5.0)
"""The same after the second failure of a provider in a row. The first cools nothing down."""
SETTLED: Final[frozenset[str]] = frozenset({"quota", "credential", "model"})
HARD: Final = SETTLED | {"rate_limit"}
"""Causes for which a target is left alone; after others it only comes last."""
PASSED_ON: Final = HARD | {"server", "timeout", "connection", "malformed"}
"""Causes for which another target may succeed; a wrong request is wrong everywhere."""
STATELESS: Final = frozenset({"audio", "images", "models", "moderations"})
"""Operations whose bodies are not read, and which leave nothing behind that a later call would have to find."""
_WAIT_S: Final = 60.0
"""The longest wait for a target to get ready, where `Retry` sets none."""


class Option(NamedTuple):
    """A target for one call: its number, and where the attempt would go."""

    number: int
    target: Target
    current: ParsedRequest
    destination: Destination


class Targets:
    """The targets of one policy. Safe for threads."""

    def __init__(self, policy: Policy, limits: Limits, clock: Clock, destinations: Destinations) -> None:
        self._targets = policy.targets
        self.rates = [rates(limits, clock.monotonic) for _ in policy.targets]
        """Of each target: a provider limits each key by itself."""
        self._destinations = destinations
        self.clock = clock
        self.waits = not policy.fallbacks
        """Whether a call waits until a target is ready; with fallbacks it goes on to them."""
        self.most_wait_s = policy.retry.max_retry_after_s if policy.retry is not None else _WAIT_S
        self._lock = threading.Lock()
        self._addressed = lru_cache(maxsize=256)(_addressed)

    def turn(self, call: PendingCall) -> Turn | None:
        """Return the attempts of `call` among the targets; None when it goes where the client itself points."""
        original, call.target, call.rates = call.original, "", None
        if call.current is not original:  # a fallback
            return None
        if original.known:
            if _keeps_state(original):
                return None
            fitting = [one for one in enumerate(self._targets) if not one[1].serves or original.model in one[1].serves]
        elif original.envelope.operation in STATELESS:  # the model of a body that is not read stays as it is
            fitting = [one for one in enumerate(self._targets) if not one[1].serves and not one[1].model]
        else:
            return None
        return Turn(self, call, [self._option(original, *one) for one in fitting]) if fitting else None

    def choose(self, options: list[Option]) -> Option:
        """Return the option whose turn it is."""
        with self._lock:
            for option in options:
                option.destination.share += option.target.weight
            chosen = max(options, key=_share)  # of equals the first
            chosen.destination.share -= sum(option.target.weight for option in options)
            return chosen

    def _option(self, original: ParsedRequest, number: int, target: Target) -> Option:
        request = original.request
        api_key = os.environ.get(target.api_key_env, "") if target.api_key_env else None
        url, headers, placed = self._addressed(request.url, request.headers, target.base_url, api_key)
        body = request.body
        if target.model and target.model != original.model and original.document is not None:
            body = orjson.dumps({**original.document, "model": target.model})
        current = replace(
            original,
            request=replace(request, url=url, headers=headers, body=body),
            envelope=replace(
                original.envelope, origin=placed.origin, credential=placed.credential, provider=placed.provider
            ),
            model=target.model or original.model,
        )
        return Option(number, target, current, self._destinations.of(current))


class Turn:
    """The attempts of one call among the targets."""

    def __init__(self, targets: Targets, call: PendingCall, options: list[Option]) -> None:
        self._targets = targets
        self._call = call
        self._options = options
        self._tried: set[int] = set()
        self._last: Option | None = None
        self._why: Cause | None = None
        self._more: Headers = ()
        """The headers of an attempt beyond those of the request."""
        self.unpaid = 0
        """Attempts that went on to another target without being a retry."""

    def next(self, tagged: Request) -> Work[Request]:
        """Return the next attempt's request, with the headers that `tagged` has beyond the original; wait if need be.

        Raises CircuitOpen when no target is ready in time and nothing is known that an attempt could tell.
        """
        self._more = tagged.headers[len(self._call.original.request.headers) :]
        option = yield from self._chosen()
        self._tried.add(option.number)
        self.took(option)
        return self.request_to(option)

    def took(self, option: Option) -> None:
        """Note that the attempt that counts goes to `option`."""
        self._last, call = option, self._call
        call.current, call.target, call.rates = option.current, option.target.label, self.rates_of(option)

    def request_to(self, option: Option) -> Request:
        """Return the request to `option`."""
        request, more = option.current.request, self._more
        return replace(request, headers=(*request.headers, *more)) if more else request

    def rates_of(self, option: Option) -> Rates | None:
        """Return the rates of `option`."""
        return self._targets.rates[option.number]

    def beside(self) -> Option | None:
        """Return the target for an attempt beside the last one: one that is ready and was not tried; None without."""
        ready = self._untried()
        return self._targets.choose(ready) if ready else None

    def goes_to(self, option: Option) -> None:
        """Note that an attempt goes to `option` as well."""
        self._tried.add(option.number)

    def another(self) -> bool:
        """Whether a target is ready that this call has not tried."""
        return bool(self._untried())

    def _untried(self) -> list[Option]:
        now = self._targets.clock.monotonic()
        return [one for one in self._options if one.number not in self._tried and one.destination.wait_s(now) <= 0]

    def ready_in_s(self) -> float:
        """Return the seconds until the first target is ready; 0.0 when one is."""
        now = self._targets.clock.monotonic()
        return min(option.destination.wait_s(now) for option in self._options)

    @property
    def waits(self) -> bool:
        """Whether the call waits until a target is ready; with fallbacks it goes on to them."""
        return self._targets.waits

    @property
    def cools_down(self) -> bool:
        """Whether the last target is now left alone, so that to go on to another one adds nothing to the load."""
        return self._why in HARD

    def hopeful(self) -> bool:
        """Whether another target may succeed where the last one failed."""
        if self._why not in SETTLED:
            return self._why in PASSED_ON and self.another()
        now = self._targets.clock.monotonic()
        return any(option.destination.cools(now) not in SETTLED for option in self._options)

    def ended(self, outcome: Outcome, cause: Cause | None) -> None:
        """Note how the last attempt ended; None when it succeeded."""
        self._why = cause
        self.lost(None, outcome, cause)

    def lost(self, option: Option | None, outcome: Outcome, cause: Cause | None) -> None:
        """Note how an attempt at `option` ended; None for the one to which the last attempt went."""
        at = option or self._last
        assert at is not None
        clock, destination = self._targets.clock, at.destination
        now = clock.monotonic()
        if cause is None:
            if destination.cause not in HARD:
                destination.ready_at = now
            destination.strikes = 0
        elif cause in PASSED_ON:
            destination.strikes += 1
            asked_s = retry_after_s(outcome.headers, clock.wall()) if isinstance(outcome, Response) else None
            cools_s = _cool_down_s(cause, destination.strikes, asked_s or 0.0, clock.chance)
            if now + cools_s >= destination.ready_at:
                destination.ready_at, destination.cause = now + cools_s, cause

    def _chosen(self) -> Work[Option]:
        targets, call = self._targets, self._call
        while True:
            now = targets.clock.monotonic()
            waits = {option.number: option.destination.wait_s(now) for option in self._options}
            ready = [option for option in self._options if waits[option.number] <= 0]
            if ready:
                return targets.choose([option for option in ready if option.number not in self._tried] or ready)
            at_once, wait_s = self._not_ready(waits, now)
            if at_once is not None:
                return at_once
            if wait_s is None:
                raise call.traced(CircuitOpen(self._refusal(now), call.original.request))
            left_s = call.left_s()
            if left_s is not None and wait_s >= left_s:
                raise call.late(f"every target cools down, the first for {wait_s:.1f} s", "target", wait_s)
            yield Sleep(wait_s)
            call.queued_s += targets.clock.monotonic() - now

    def _not_ready(self, waits: dict[int, float], now: float) -> tuple[Option | None, float | None]:
        """Return what to do when no target is ready: (go to this one at once, or None; else wait so long, or None)."""
        by_wait = sorted(self._options, key=lambda one: waits[one.number])
        causes = {one.number: one.destination.cools(now) for one in by_wait}
        admitted = [one for one in by_wait if one.destination.admits]
        # a provider that failed just now may be asked again at once, unless its circuit is open
        if soft := [one for one in admitted if causes[one.number] not in HARD]:
            return soft[0], None
        wait_s = next((waits[one.number] for one in by_wait if causes[one.number] not in SETTLED), None)
        if wait_s is not None and wait_s <= self._targets.most_wait_s:
            return None, wait_s if self.waits else None
        # nobody can tell the caller better than the provider what is wrong
        settled = next((one for one in admitted if causes[one.number] in SETTLED), None)
        return settled, None

    def _refusal(self, now: float) -> str:
        reasons = ", ".join(
            f"{option.target.label}: {option.destination.cools(now) or 'circuit open'}" for option in self._options
        )
        return f"not sent: every target cools down ({reasons}); the first is ready in {self.ready_in_s():.1f} s"


def _keeps_state(original: ParsedRequest) -> bool:
    """Whether a later call has to find what this one leaves at the provider, or this one what an earlier one left."""
    stores = original.envelope.operation == "responses" and (original.document or {}).get("store") is not False
    return stores or original.has_side_effect


def _cool_down_s(cause: str, strikes: int, asked_s: float, chance: Callable[[], float]) -> float:
    """Return the seconds of a cool-down; `asked_s` is what the provider asks for, 0 when it asks for nothing."""
    if cause in SETTLED:
        return min(MOST_S, max(SETTLED_S, asked_s))
    if asked_s > 0:
        return min(MOST_S, asked_s)
    first_s, most_s = RATE_S if cause == "rate_limit" else FAILED_S
    doublings = strikes - 1 if cause == "rate_limit" else strikes - 2
    if doublings < 0:
        return 0.0
    return min(most_s, first_s * 2.0 ** min(doublings, 30)) * (0.5 + 0.5 * chance())


def _addressed(url: str, headers: Headers, base_url: str, api_key: str | None) -> tuple[str, Headers, Envelope]:
    """Return where a request goes instead, and its headers and envelope there."""
    there = address.moved(url, base_url) if base_url else url
    sent = address.headers(headers, url, there, api_key)
    return there, sent, envelope.read(Request("POST", there, sent, b""))


def _share(option: Option) -> float:
    return option.destination.share
