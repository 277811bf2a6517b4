"""What a user has asked to be told of each attempt, and asked to be asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tailrace.client.accounting import Attempt
from tailrace.client.call.causes import Cause
from tailrace.client.call.mishaps import Mishaps
from tailrace.client.call.pending import PendingCall
from tailrace.client.policy import AttemptHook, Policy
from tailrace.client.wire import Response, Unanswered


class AttemptHooks:
    """The hooks of a policy's attempts, and its predicate. One that fails is counted, and the call goes on."""

    def __init__(self, hooks: tuple[AttemptHook, ...], retry_if: Callable[[Attempt], bool | None] | None) -> None:
        self.mishaps = Mishaps()
        self._hooks = hooks
        self._retry_if = retry_if

    def row(self, call: PendingCall, outcome: Response[Any] | Unanswered, why: Cause | None) -> Attempt:
        """Return the row of the attempt of `call` that was made last."""
        current = call.current
        return Attempt(
            operation=current.envelope.operation,
            model=current.model,
            tenant=call.tenant,
            provider=current.envelope.provider,
            number=len(call.attempts_s),
            target=call.target,
            status=0 if isinstance(outcome, Unanswered) else outcome.status,
            cause=why,
            duration_s=call.attempts_s[-1],
        )

    def retryable(self, attempt: Attempt, judgement: bool) -> bool:
        """Return whether the next attempt may succeed: as the predicate says, else as the policy judges."""
        if self._retry_if is None:
            return judgement
        try:
            answer = self._retry_if(attempt)
        except Exception as error:
            self.mishaps.add(_name("predicate", self._retry_if), error)
            return judgement
        return judgement if answer is None else bool(answer)

    def tell(self, attempt: Attempt, wait_s: float | None) -> None:
        """Hand the row to each hook; `wait_s` is the wait before the next attempt."""
        row = attempt if wait_s is None else attempt._replace(wait_s=wait_s)
        for hook in self._hooks:
            try:
                hook(row)
            except Exception as error:  # a reporter must not break the call that it reports
                self.mishaps.add(_name("hook", hook), error)


def attempt_hooks(policy: Policy) -> AttemptHooks | None:
    """Return what `policy` wants to be told of attempts; None when it wants nothing."""
    retry_if = policy.retry.retry_if if policy.retry is not None else None
    return AttemptHooks(policy.attempt_hooks, retry_if) if policy.attempt_hooks or retry_if is not None else None


def _name(kind: str, function: Any) -> str:
    return f"{kind} {getattr(function, '__qualname__', type(function).__name__)}"
