"""The books: what each call took, what it cost, what may still be spent."""

from __future__ import annotations

import asyncio
from typing import Any

from tailrace.client import accounting
from tailrace.client.accounting import Call, Label
from tailrace.client.call import Asked, Trail
from tailrace.client.clock import Clock
from tailrace.client.errors import BudgetExceeded
from tailrace.client.limiters.spend import Purse
from tailrace.client.policy import Policy
from tailrace.client.prices import Prices
from tailrace.client.retry import error_code
from tailrace.client.stores import Entry
from tailrace.client.usage import UNREAD, Reading, Usage
from tailrace.client.wire import Response, Unanswered


class Ledger:
    """Costs and the calls' rows, for one policy."""

    def __init__(self, policy: Policy, clock: Clock) -> None:
        self._policy = policy
        self._clock = clock
        self.prices = Prices(clock.monotonic)
        self.purse = Purse(policy.spend) if policy.spend is not None else None
        self._instead = tuple(fallback.model for fallback in policy.fallbacks if fallback.model)

    def reserve(self, asked: Asked, trail: Trail) -> None:
        """Set aside what `asked` could cost at most; BudgetExceeded when that is more than is left."""
        spend = self._policy.spend
        if spend is None or self.purse is None or not asked.operation.known:
            return
        most, request = asked.operation.max_output_tok, asked.request
        # no tokenizer makes more tokens of a text than it has bytes; what images take, nobody can know here
        worst = Usage(True, len(request.body), spend.assumed_output_tok if most is None else most)
        wanted = 0.0
        for model in (asked.operation.model, *self._instead):
            cost = self.prices.cost_usd(model, request.url, worst)
            if cost is not None:
                wanted = cost if cost > wanted else wanted
            elif spend.unknown_price == "reject":
                raise BudgetExceeded(
                    f"the price of model {model[:80]!r} is not known, so a limit of ${spend.max_usd:g} cannot count "
                    "it; choose another model, or Spend(unknown_price='allow')",
                    request,
                )
        left = self.purse.reserve(asked.tenant, wanted)
        if left is not None:
            raise BudgetExceeded(
                f"the call could cost ${wanted:.6f}, ${max(left, 0.0):.6f} of ${spend.max_usd:g} is left; "
                "lower max_tokens, or raise Spend(max_usd=…)",
                request,
            )
        trail.reserved_usd = wanted

    def cost_usd(self, asked: Asked, read: Reading, response: Response[Any] | None) -> float | None:
        """Return what an answer cost. A refusal costs nothing; an answer that does not count its tokens: not known."""
        if response is not None and response.status >= 400:
            return 0.0
        if not asked.operation.known:
            return None
        url = asked.request.url
        cost = self.prices.cost_usd(read.model or asked.operation.model, url, read.usage)
        # a dated or private name of the model may not be in the table, the one that was asked for is
        return self.prices.cost_usd(asked.operation.model, url, read.usage) if cost is None else cost

    def settle(self, asked: Asked, trail: Trail, cost_usd: float | None) -> None:
        """Give back the reservation, once, and count the cost."""
        if self.purse is not None and asked.operation.known:
            reserved, trail.reserved_usd = trail.reserved_usd, 0.0
            self.purse.settle(asked.tenant, reserved, cost_usd)

    def done(self, asked: Asked, trail: Trail, read: Reading, response: Response[Any], cost: float | None) -> None:
        """Book an answer that came back, good or bad."""
        failed = response.status >= 400 or trail.malformed
        kind = (error_code(response) or f"http_{response.status}") if failed else ""
        kind = "malformed_answer" if trail.malformed else kind
        self._tell(asked, trail, read, response.status, cost, "error" if failed else "ok", kind)

    def failed(self, asked: Asked, trail: Trail, error: BaseException, read: Reading = UNREAD, status: int = 0) -> None:
        """Book a call that brought no answer, or not all of it."""
        gone = isinstance(error, asyncio.CancelledError | GeneratorExit)
        kind = f"unanswered_{error.kind}" if isinstance(error, Unanswered) else type(error).__name__
        cost = None if trail.sent else 0.0  # what was sent may have been billed
        self._tell(asked, trail, read, status, cost, "cancelled" if gone else "error", kind)

    def shared(self, asked: Asked, label: Label, response: Response[Any], cost_usd: float | None) -> None:
        """Book a call that got the answer of another: nothing was sent for it."""
        if self._policy.hooks:
            kind = f"http_{response.status}" if response.status >= 400 else ""
            accounting.tell(self._policy.hooks, self._shared(asked, label, response.status, cost_usd, kind))

    def hit(
        self, asked: Asked, entry: Entry, label: Label, trail: Trail | None = None, cost_usd: float | None = 0.0
    ) -> None:
        """Book an answer from the store: it saved what it had cost. `trail` and `cost_usd` are of what went before."""
        if self._policy.hooks:
            row = self._shared(asked, label, entry.status, entry.cost_usd, "")
            row = row._replace(
                model=entry.model or row.model, in_tok=entry.in_tok, out_tok=entry.out_tok,
                cached_tok=entry.cached_tok, reasoning_tok=entry.reasoning_tok,
            )  # fmt: skip
            if trail is not None and trail.sent:
                row = row._replace(
                    attempts=trail.sent, backoff_s=trail.backoff_s, queued_s=trail.queued_s,
                    attempts_s=tuple(trail.attempts_s), cost_usd=cost_usd,
                )  # fmt: skip
            accounting.tell(self._policy.hooks, row)

    def _tell(
        self, asked: Asked, trail: Trail, read: Reading, status: int, cost: float | None, outcome: Any, kind: str
    ) -> None:
        if self._policy.hooks:
            accounting.tell(self._policy.hooks, self._row(asked, trail, read, status, cost, None, outcome, kind))

    def _shared(self, asked: Asked, label: Label, status: int, saved: float | None, kind: str) -> Call:
        """Return the row of a call for which nothing was sent."""
        outcome = "error" if kind else "ok"
        return self._row(asked, Trail(label, asked), UNREAD, status, 0.0, saved, outcome, kind)

    def _row(
        self, asked: Asked, trail: Trail, read: Reading, status: int, cost: float | None, saved: float | None,
        outcome: Any, kind: str,
    ) -> Call:  # fmt: skip
        wanted, usage = asked.operation, read.usage
        return Call(
            wanted.name, read.model or wanted.model, asked.tenant, outcome, trail.label, status, trail.sent,
            self._clock.monotonic() - asked.started, trail.backoff_s, trail.queued_s, usage.in_tok, usage.out_tok,
            usage.cached_tok, usage.reasoning_tok, cost, saved, kind, wanted.stream, tuple(trail.attempts_s),
            asked.detections, wanted.model, asked.envelope.provider,
        )  # fmt: skip
