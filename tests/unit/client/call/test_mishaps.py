"""Accounting never costs an answer: what fails in it is counted, logged once, and the call goes on."""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from tailrace import Limits, Policy, Spend
from tailrace.client import AsyncDriver, BudgetExceeded, wire
from tailrace.client.accounting import Attempt, Call
from tailrace.client.call import prices
from tailrace.client.limiters.spend import SpendLimiter

ASKED = wire.Request(
    "POST", "http://h/v1/chat/completions", (("authorization", "Bearer sk-test"),),
    orjson.dumps({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "x"}]}),
)  # fmt: skip
USAGE = {"prompt_tokens": 3, "completion_tokens": 5}
GOOD = orjson.dumps({
    "model": "gpt-4o-mini", "usage": USAGE,
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hi"}}],
})  # fmt: skip
STREAM = b'data: {"choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'


def failing(*_: Any, **__: Any) -> Any:
    raise OSError(24, "Too many open files")


async def whole(driver: AsyncDriver) -> bytes:
    """Make one call; return its answer."""
    response = await driver(ASKED)
    if isinstance(response.body, bytes):
        return response.body
    return b"".join([chunk async for chunk in response.body])


def driver_of(policy: Policy, *, stream: bool = False) -> AsyncDriver:
    async def chunks() -> AsyncIterator[bytes]:
        yield STREAM

    async def send(_: wire.Request) -> wire.Response:
        kind = "text/event-stream" if stream else "application/json"
        return wire.Response(200, (("content-type", kind),), chunks() if stream else GOOD)

    return AsyncDriver(policy, send)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("error", [OSError, ImportError, OverflowError, RecursionError])
def test_a_price_that_cannot_be_looked_up_costs_no_answer(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, stream: bool, error: type[Exception]
) -> None:
    """Its cost is not known, and the row says so; it is logged once and counted each time."""

    def broken(*_: Any, **__: Any) -> Any:
        raise error

    monkeypatch.setattr(prices, "calc_price", broken)
    rows: list[Call] = []
    driver = driver_of(Policy(cache=None, hooks=(rows.append,)), stream=stream)

    async def calls() -> list[bytes]:
        return [await whole(driver) for _ in range(3)]

    with caplog.at_level(logging.WARNING):
        answers = asyncio.run(calls())
    assert answers == [STREAM if stream else GOOD] * 3
    assert [(row.outcome, row.cost_usd) for row in rows] == [("ok", None)] * 3
    if not stream:  # this stream counts no tokens, so that nobody asks for its price
        assert driver.pipeline.mishaps == 3
        assert [record.getMessage() for record in caplog.records] == [
            f"the price of an answer failed: {error.__name__} (logged once; the call goes on)"
        ]


def test_a_price_that_is_known_is_booked() -> None:
    """The same calls have a cost where nothing fails."""
    rows: list[Call] = []
    driver = driver_of(Policy(cache=None, hooks=(rows.append,)))
    asyncio.run(whole(driver))
    assert rows[0].cost_usd
    assert driver.pipeline.mishaps == 0


@pytest.mark.parametrize("unknown_price", ["allow", "reject"])
def test_a_budget_whose_price_fails_does_as_for_an_unknown_price(
    monkeypatch: pytest.MonkeyPatch, unknown_price: Any
) -> None:
    """The policy says whether a call of unknown price may be sent: before it is sent, it is refused or allowed."""
    monkeypatch.setattr(prices, "calc_price", failing)
    driver = driver_of(Policy(cache=None, spend=Spend(max_usd=1, unknown_price=unknown_price)))
    if unknown_price == "allow":
        assert asyncio.run(whole(driver)) == GOOD
    else:
        with pytest.raises(BudgetExceeded, match="not known"):
            asyncio.run(whole(driver))


def test_hooks_and_budgets_that_fail_are_logged_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Each by its name; all are counted."""
    monkeypatch.setattr(SpendLimiter, "settle", failing)

    def broken_hook(row: Call) -> None:
        raise ValueError(row.tenant)

    def broken_attempt_hook(row: Attempt) -> None:
        raise ValueError(row.tenant)

    policy = Policy(
        cache=None, spend=Spend(max_usd=1), hooks=(broken_hook,), attempt_hooks=(broken_attempt_hook,), limits=Limits()
    )
    driver = driver_of(policy)

    async def calls() -> list[bytes]:
        return [await whole(driver) for _ in range(5)]

    with caplog.at_level(logging.WARNING):
        assert asyncio.run(calls()) == [GOOD] * 5
    assert driver.pipeline.mishaps == 15
    assert len(caplog.records) == 3
    assert not any("broken" not in text and "budget" not in text for text in caplog.messages)
