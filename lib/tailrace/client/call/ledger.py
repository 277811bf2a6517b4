"""The books: one row for each call, and the money that calls reserve and spend."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Literal

from tailrace.client.accounting import Call
from tailrace.client.call.causes import error_of
from tailrace.client.call.pending import PendingCall
from tailrace.client.call.prices import Prices
from tailrace.client.clock import Clock
from tailrace.client.errors import BudgetExceeded
from tailrace.client.limiters.spend import SpendLimiter
from tailrace.client.policy import Policy
from tailrace.client.stores import Entry
from tailrace.client.stores.budgets import KeepsBudgets
from tailrace.client.wire import Response, Unanswered
from tailrace.protocol import failures
from tailrace.protocol.reading import NO_ANSWER, Answer
from tailrace.protocol.usage import Usage

log = logging.getLogger(__name__)


class Ledger:
    """Accounts for the calls of one policy."""

    def __init__(self, policy: Policy, clock: Clock) -> None:
        self._hooks = policy.hooks
        self._spend = policy.spend
        self._fallback_models = tuple(fallback.model for fallback in policy.fallbacks if fallback.model)
        self.prices = Prices(clock.monotonic, policy.prices)
        self.spend_limiter = _limiter(policy, clock)

    def reserve(self, call: PendingCall) -> None:
        """Reserve the most that `call` can cost. Raise BudgetExceeded when less than that is left."""
        spend, parsed = self._spend, call.original
        if spend is None or self.spend_limiter is None or not parsed.known:
            return
        request, most_tok = parsed.request, parsed.max_output_tok
        # no tokenizer makes more tokens of a text than it has bytes; the tokens of images cannot be known here
        worst = Usage(True, len(request.body), spend.assumed_output_tok if most_tok is None else most_tok)
        most_usd = 0.0
        for model in (parsed.model, *self._fallback_models):
            cost_usd = self.prices.cost_usd(model, request.url, worst)
            if cost_usd is not None:
                most_usd = cost_usd if cost_usd > most_usd else most_usd
            elif spend.unknown_price == "reject":
                raise BudgetExceeded(
                    f"the price of model {model[:80]!r} is not known, so the limit of ${spend.max_usd:g} cannot count "
                    "it; choose another model, or Spend(unknown_price='allow')",
                    request,
                )
        reservation = self.spend_limiter.reservation(call.tenant, most_usd)
        balance = self.spend_limiter.reserve(reservation)
        if not balance.granted:
            period = "" if spend.per == "ever" else f" per {spend.per}"
            raise BudgetExceeded(
                f"the call could cost ${most_usd:.6f}, ${max(balance.left_usd, 0.0):.6f} of ${spend.max_usd:g}{period} "
                "is left; lower max_tokens, or raise Spend(max_usd=…)",
                request,
                self.spend_limiter.resets_in_s(),
            )
        call.reservation = reservation

    def cost_usd(self, call: PendingCall, answer: Answer, response: Response[Any] | None) -> float | None:
        """Return the cost of an answer: 0 for an error, None when the answer does not count its tokens."""
        if response is not None and response.status >= 400:
            return 0.0
        parsed = call.current
        if not parsed.known:
            return None
        url = parsed.request.url
        if self.prices.mine(parsed.model, url):
            return self.prices.cost_usd(parsed.model, url, answer.usage)
        cost_usd = self.prices.cost_usd(answer.model or parsed.model, url, answer.usage)
        # the answer's dated or private name of the model may be missing from the table, and the requested one not
        return self.prices.cost_usd(parsed.model, url, answer.usage) if cost_usd is None else cost_usd

    def settle(self, call: PendingCall, cost_usd: float | None) -> None:
        """Give back the reservation, once, and count the cost."""
        reservation, call.reservation = call.reservation, None
        if reservation is not None and self.spend_limiter is not None:
            self.spend_limiter.settle(reservation, cost_usd)

    def answered(self, call: PendingCall, answer: Answer, status: int, cost_usd: float | None, error_type: str) -> None:
        """Book a call that got an answer from the provider; `error_type` is "" for a good one."""
        self._book(call, status, cost_usd, error_type, answer)

    def failed(
        self, call: PendingCall, error: BaseException, answer: Answer = NO_ANSWER, status: int = 0
    ) -> None:  # fmt: skip
        """Book a call that got no answer, or only a part of one."""
        kind = type(error).__name__
        if isinstance(error, Unanswered):
            # once the answer has begun, a broken connection has cut it
            kind = failures.CUT_STREAM if status and error.kind == "connection" else f"unanswered_{error.kind}"
        cost_usd = None if call.sent else 0.0  # the provider may bill what was sent
        cancelled = isinstance(error, asyncio.CancelledError | GeneratorExit)
        self._book(call, status, cost_usd, kind, answer, cancelled=cancelled)

    def shared(self, call: PendingCall, response: Response[Any], saved_usd: float | None, error_type: str) -> None:
        """Book a call that got the answer to another call: nothing was sent for it."""
        self._book(call, response.status, 0.0, error_type, saved_usd=saved_usd)

    def hit(self, call: PendingCall, entry: Entry, cost_usd: float | None = 0.0) -> None:
        """Book an answer from the store. `cost_usd` is the cost of the attempts that were made before."""
        self._book(call, entry.status, cost_usd, model=entry.model, usage=entry, saved_usd=entry.cost_usd)

    def _book(
        self, call: PendingCall, status: int, cost_usd: float | None, error_type: str = "",
        answer: Answer = NO_ANSWER, *, model: str = "", usage: Usage | Entry | None = None,
        saved_usd: float | None = None, cancelled: bool = False,
    ) -> None:  # fmt: skip
        """Hand one row to each hook. A hook that fails is logged by name; the call and the other hooks go on."""
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
                name = getattr(hook, "__qualname__", type(hook).__name__)
                log.warning("hook %s failed: %s", name, type(error).__name__)


def _limiter(policy: Policy, clock: Clock) -> SpendLimiter | None:
    """Return the spend limit of `policy`. The cache's store may keep the budget, if other processes share it."""
    if policy.spend is None:
        return None
    store = policy.cache.store if policy.cache is not None else None
    shared = store if getattr(store, "shared", False) and isinstance(store, KeepsBudgets) else None
    return SpendLimiter(policy.spend, clock.wall, shared)


def failure(call: PendingCall, answer: Answer, response: Response[Any]) -> str:
    """Return the class of the failure that an answer is; "" for a good one."""
    if call.malformed:
        return failures.BAD_BODY
    if response.status >= 400:
        return error_of(response).word or f"http_{response.status}"
    return answer.failure


def _tpot_s(answer: Answer) -> float | None:
    """Return (last token − first token) ÷ (tokens out − 1); None where that says nothing."""
    if answer.failure or answer.usage.out_tok < 2:
        return None
    return (answer.last_token_ns - answer.first_token_ns) / 1e9 / (answer.usage.out_tok - 1)
