"""The books: one row for each call, and the money that calls reserve and spend."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from functools import partial
from math import inf, isfinite
from typing import Any, Final, Literal

from tailrace.client.accounting import Call
from tailrace.client.call import charges
from tailrace.client.call.effects import Blocking, Work
from tailrace.client.call.mishaps import Mishaps
from tailrace.client.call.pending import PendingCall
from tailrace.client.call.prices import Prices
from tailrace.client.call.renewal import Renewal, life_s
from tailrace.client.clock import Clock
from tailrace.client.errors import BudgetExceeded, PriceUnknown
from tailrace.client.limiters.spend import SpendLimiter
from tailrace.client.policy import Policy, Spend
from tailrace.client.request.parsed import ParsedRequest
from tailrace.client.stores import Entry
from tailrace.client.stores.budgets import Balance, KeepsBudgets, Reservation
from tailrace.client.stores.tally import Tally
from tailrace.client.wire import Response, Unanswered
from tailrace.protocol import failures
from tailrace.protocol.reading import NO_ANSWER, Answer
from tailrace.protocol.usage import Usage

_WARNING_S: Final = 60.0
_PAUSE_S: Final = 1.0
"""After a failure no call waits for the budget's store for so long."""

log = logging.getLogger(__name__)


class _Paused(Exception):
    """The store of the budget is not asked, because it has just failed."""


class Ledger:
    """Accounts for the calls of one policy."""

    def __init__(self, policy: Policy, clock: Clock) -> None:
        self._hooks = policy.hooks
        self._tally: Tally | None = getattr(policy.cache.store, "tally", None) if policy.cache is not None else None
        self._spend = policy.spend
        others = [target.model for target in policy.targets] + [fallback.model for fallback in policy.fallbacks]
        self._fallback_models = tuple(filter(None, others))
        self.mishaps = Mishaps()
        self.prices = Prices(clock.monotonic, policy.prices)
        self.spend_limiter = _limiter(policy, clock)
        self.unsettled: Collection[Any] = self.spend_limiter.unsettled if self.spend_limiter is not None else ()
        """What waits for a `flush`."""
        self._now = clock.monotonic
        self._warned_at = self._paused_until = -inf

    def reserve(self, call: PendingCall) -> Work[None] | None:
        """Reserve the most that `call` can cost. Raise BudgetExceeded when less than that is left, and
        PriceUnknown when nobody knows it.

        Returns what is still to be carried out, when the budget is in a store.
        """
        original, spend, limiter = call.original, self._spend, self.spend_limiter
        if spend is None or limiter is None:
            return None
        by: charges.By = "tokens" if original.known and original.doubt is None else charges.charged_by(original)
        if by == "nothing":
            return None
        reservation = limiter.reservation(call.tenant, self._most_usd(original, by, spend))
        call.reservation = reservation  # also if the caller leaves now
        if limiter.stored:
            return self._reserve_in_store(call, spend, limiter, reservation)
        balance = limiter.reserve(reservation)
        if not balance.granted:
            raise _exceeded(call, spend, limiter, balance)
        return None

    def _reserve_in_store(
        self, call: PendingCall, spend: Spend, limiter: SpendLimiter, reservation: Reservation
    ) -> Work[None]:
        """Reserve in the store. Raise BudgetExceeded when less is left, or the store fails and that must not be."""
        try:
            if self._now() < self._paused_until:
                raise _Paused("it failed a moment ago")
            if limiter.slow:
                balance = yield Blocking(partial(limiter.reserve, reservation, life_s(call)))
            else:
                balance = limiter.reserve(reservation, life_s(call))
            call.renewal = Renewal(call, limiter, self._store_failed)
        except Exception as error:  # only a store fails
            self._store_failed(error)
            if spend.store_failure == "reject":
                call.reservation = None
                raise BudgetExceeded(
                    f"the budget in {limiter.place!r} cannot be asked ({type(error).__name__}); check that its path or "
                    "server exists, answers and is writable, or let calls go on: Spend(store_failure='allow')",
                    call.original.request,
                    _PAUSE_S,
                ) from None
            return
        if not balance.granted:
            raise _exceeded(call, spend, limiter, balance)

    def _most_usd(self, parsed: ParsedRequest, by: charges.By, spend: Spend) -> float:
        """Return the most that a call can cost, 0 for an unknown price that is allowed; else raise PriceUnknown."""
        try:
            if not parsed.known or by != "tokens":
                cost_usd = charges.most_usd(parsed, by, self.prices, spend.assumed_output_tok)
                return self._known_usd(cost_usd, parsed, parsed.model, spend)
            most_tok, url = parsed.max_output_tok, parsed.request.url
            # no tokenizer makes more tokens of a text than it has bytes; the tokens of images cannot be known here
            worst = Usage(True, len(parsed.request.body), spend.assumed_output_tok if most_tok is None else most_tok)
            most_usd = self._known_usd(self.prices.cost_usd(parsed.model, url, worst), parsed, parsed.model, spend)
            for model in self._fallback_models:
                cost_usd = self._known_usd(self.prices.cost_usd(model, url, worst), parsed, model, spend)
                most_usd = max(most_usd, cost_usd)
            return most_usd
        except BudgetExceeded:
            raise
        except Exception as error:
            self.mishaps.add("the price of a call", error)
            return self._known_usd(None, parsed, parsed.model, spend)

    def _known_usd(self, cost_usd: float | None, parsed: ParsedRequest, model: str, spend: Spend) -> float:
        """Return a known cost, and 0 for an unknown one that is allowed; else raise PriceUnknown."""
        if cost_usd is not None:
            return cost_usd
        if spend.unknown_price == "allow":
            return 0.0
        operation = parsed.envelope.operation
        of, key = (f"model {model[:80]!r}", model[:80]) if model else (f"operation {operation!r}", operation)
        raise PriceUnknown(
            f"the price of {of} is not known for this call, so the limit of ${spend.max_usd:g} cannot count it; choose "
            f"another model, give its price: Policy(prices={{{key!r}: Price(…)}}), or Spend(unknown_price='allow')",
            parsed.request,
        )

    def flush(self) -> None:
        """Settle in the store what is unsettled; may block. What fails is logged, and tried again with a later call."""
        try:
            if self.spend_limiter is not None and self._now() >= self._paused_until:
                self.spend_limiter.flush()
        except Exception as error:
            self._store_failed(error)

    def _store_failed(self, error: Exception) -> None:
        """Leave the store of the budget alone for a moment, and log its failure at most once a minute."""
        now = self._now()
        if not isinstance(error, _Paused):
            self._paused_until = now + _PAUSE_S
        if self.spend_limiter is not None and now - self._warned_at >= _WARNING_S:
            self._warned_at = now
            log.warning(
                "the budget in %r cannot be asked (%s: %s); check that its path or server exists, answers and is "
                "writable (logged at most once in %.0f s)",
                self.spend_limiter.place, type(error).__name__, error, _WARNING_S,
            )  # fmt: skip

    def cost_usd(self, call: PendingCall, answer: Answer, response: Response[Any] | None) -> float | None:
        """Return the cost of an answer: 0 for an error status; None when its tokens or its price are not known."""
        try:
            cost_usd = self._cost_usd(call, answer, response)
        except Exception as error:
            self.mishaps.add("the price of an answer", error)
            return None
        return cost_usd if cost_usd is None or isfinite(cost_usd) else None

    def _cost_usd(self, call: PendingCall, answer: Answer, response: Response[Any] | None) -> float | None:
        if response is not None and response.status >= 400 and not response.failure:
            return 0.0
        parsed = call.current
        if not parsed.known:
            return self._charged_usd(parsed, response)
        url = parsed.request.url
        if self.prices.any_own and self.prices.mine(parsed.model, url):
            return self.prices.cost_usd(parsed.model, url, answer.usage)
        cost_usd = self.prices.cost_usd(answer.model or parsed.model, url, answer.usage)
        # the answer's dated or private name of the model may be missing from the table, and the requested one not
        return self.prices.cost_usd(parsed.model, url, answer.usage) if cost_usd is None else cost_usd

    def _charged_usd(self, parsed: ParsedRequest, response: Response[Any] | None) -> float | None:
        """Return the cost of an operation whose answer the policy does not read otherwise, if anybody asks for it."""
        if self._spend is None and not self._hooks:
            return None
        by = charges.charged_by(parsed)
        if by == "nothing":
            return 0.0
        return charges.cost_usd(parsed, by, self.prices, None if response is None else response.body)

    def settle(self, call: PendingCall, cost_usd: float | None) -> None:
        """Give back the reservation, once, and count the cost."""
        reservation, call.reservation = call.reservation, None
        if reservation is not None and self.spend_limiter is not None:
            try:
                self.spend_limiter.settle(reservation, cost_usd)
            except Exception as error:
                self.mishaps.add("the budget of a call", error)

    def failed(self, call: PendingCall, error: BaseException, answer: Answer = NO_ANSWER, status: int = 0) -> None:
        """Book a call that got no answer, or only a part of one."""
        kind = type(error).__name__
        if isinstance(error, Unanswered):
            # once the answer has begun, a broken connection has cut it
            kind = failures.CUT_STREAM if status and error.kind == "connection" else f"unanswered_{error.kind}"
        cost_usd = None if call.sent else 0.0  # the provider may bill what was sent
        cancelled = isinstance(error, asyncio.CancelledError | GeneratorExit)
        self.book(call, status, cost_usd, kind, answer, cancelled=cancelled)

    def shared(self, call: PendingCall, response: Response[Any], saved_usd: float | None, error_type: str) -> None:
        """Book a call that got the answer to another call: nothing was sent for it."""
        self.book(call, response.status, 0.0, error_type, saved_usd=saved_usd)

    def hit(self, call: PendingCall, entry: Entry, cost_usd: float | None = 0.0) -> None:
        """Book an answer from the store. `cost_usd` is the cost of the attempts that were made before."""
        self.book(call, entry.status, cost_usd, model=entry.model, usage=entry, saved_usd=entry.cost_usd)

    def book(
        self, call: PendingCall, status: int, cost_usd: float | None, error_type: str = "",
        answer: Answer = NO_ANSWER, *, model: str = "", usage: Usage | Entry | None = None,
        saved_usd: float | None = None, cancelled: bool = False,
    ) -> None:  # fmt: skip
        """Hand one row to each hook. A hook that fails is counted; the call and the other hooks go on.

        `error_type` is "" for a good answer.
        """
        if self._tally is not None and call.cache != "bypass":
            self._tally.add(call.original.model, call.tenant, call.cache != "miss")
        if not self._hooks:
            return
        parsed, counted = call.current, usage or answer.usage
        outcome: Literal["ok", "error", "cancelled"] = "cancelled" if cancelled else "error" if error_type else "ok"
        row = Call(
            operation=parsed.envelope.operation,
            model=model or answer.model or parsed.model,
            tenant=call.tenant,
            outcome=outcome,
            cache=call.cache,
            status=status,
            attempts=call.sent,
            duration_s=call.elapsed_s(),
            backoff_s=call.backoff_s,
            queued_s=call.queued_s,
            in_tok=counted.in_tok,
            out_tok=counted.out_tok,
            cached_tok=counted.cached_tok,
            reasoning_tok=counted.reasoning_tok,
            cost_usd=cost_usd,
            saved_usd=saved_usd,
            error_type=error_type,
            streamed=parsed.stream,
            attempts_s=tuple(call.attempts_s),
            detections=call.detections,
            asked_model=parsed.model,
            provider=parsed.envelope.provider,
            fallback=parsed is not call.original and not call.target,  # a target is no fallback
        )
        if answer.chunks:
            row = row._replace(
                chunks=answer.chunks,
                ttft_s=answer.first_token_ns / 1e9 - call.started,
                tpot_s=_tpot_s(answer),
                gaps_us=answer.gaps_us,
            )
        for hook in self._hooks:
            try:
                hook(row)
            except Exception as error:  # a reporter must not break the call that it reports
                self.mishaps.add(f"hook {getattr(hook, '__qualname__', type(hook).__name__)}", error)


def _limiter(policy: Policy, clock: Clock) -> SpendLimiter | None:
    """Return the spend limit of `policy`. The cache's store may keep the budget, if other processes share it."""
    if policy.spend is None:
        return None
    store = policy.cache.store if policy.cache is not None else None
    shared = store if getattr(store, "shared", False) and isinstance(store, KeepsBudgets) else None
    return SpendLimiter(policy.spend, clock.wall, shared)


def _exceeded(call: PendingCall, spend: Spend, limiter: SpendLimiter, balance: Balance) -> BudgetExceeded:
    """Return the error for a call whose reservation is refused, and take the reservation from the call."""
    most_usd = call.reservation.usd if call.reservation is not None else 0.0
    call.reservation = None
    period = "" if spend.per == "ever" else f" per {spend.per}"
    return BudgetExceeded(
        f"the call could cost ${most_usd:.6f}, ${max(balance.left_usd, 0.0):.6f} of ${spend.max_usd:g}{period} "
        "is left; lower max_tokens, or raise Spend(max_usd=…)",
        call.original.request,
        limiter.resets_in_s() if most_usd <= spend.max_usd else None,
    )


def _tpot_s(answer: Answer) -> float | None:
    """Return (last token − first token) ÷ (tokens out − 1); None where that says nothing."""
    if answer.failure or answer.usage.out_tok < 2:
        return None
    return (answer.last_token_ns - answer.first_token_ns) / 1e9 / (answer.usage.out_tok - 1)
