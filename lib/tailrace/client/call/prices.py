"""Prices of tokens, from the maintained table of `genai-prices`; None for a model that is not in it."""

from __future__ import annotations

import time
from collections.abc import Callable
from decimal import Decimal
from typing import NamedTuple

from genai_prices import Usage as Billed
from genai_prices import calc_price
from genai_prices.types import PriceCalculation

from tailrace.protocol.usage import Usage

_RATE_S = 3600.0  # prices may depend on the date: read the table again after this
_PROBE = Billed(input_tokens=3, output_tokens=5, cache_read_tokens=1)


class _Rate(NamedTuple):
    """US dollars per token, valid until the moment `until`."""

    until: float
    fresh: float = 0.0
    cached: float = 0.0
    output: float = 0.0
    known: bool = True
    linear: bool = True
    """Whether the price is the same for any number of tokens; if not, the table is read for each call."""


class Prices:
    """Prices by model and API address. The table is read once an hour for each; a call then takes three products."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._rates: dict[tuple[str, str], _Rate] = {}

    def cost_usd(self, model: str, url: str, usage: Usage) -> float | None:
        """Return the cost of `usage`, or None when the model's price or the usage is not known."""
        if not usage.known:
            return None
        rate = self._rates.get((model, url))
        if rate is None or rate.until < self._now():
            rate = self._read(model, url)
        if not rate.known:
            return None
        cached = usage.cached_tok if usage.cached_tok < usage.in_tok else usage.in_tok
        if not rate.linear:
            billed = Billed(input_tokens=usage.in_tok, output_tokens=usage.out_tok, cache_read_tokens=cached)
            price = _look_up(model, url, billed)
            return None if price is None else float(price.total_price)
        return (usage.in_tok - cached) * rate.fresh + cached * rate.cached + usage.out_tok * rate.output

    def _read(self, model: str, url: str) -> _Rate:
        if len(self._rates) > 1000:  # names come from callers
            self._rates.clear()
        rate = self._rates[model, url] = _rate(_look_up(model, url, _PROBE), self._now() + _RATE_S)
        return rate


def _rate(probe: PriceCalculation | None, until: float) -> _Rate:
    """Return the price per token, taken from the price of `_PROBE`."""
    if probe is None:
        return _Rate(until, known=False)
    prices = [getattr(probe.model_price, name, None) for name in ("input_mtok", "cache_read_mtok", "output_mtok")]
    fresh, cached, output = (price if isinstance(price, Decimal) else None for price in prices)
    if any(price is not None and not isinstance(price, Decimal) for price in prices) or fresh is None:
        return _Rate(until, linear=False)
    million = 1_000_000
    rate = _Rate(
        until,
        float(fresh) / million,
        float(fresh if cached is None else cached) / million,
        float(output or 0) / million,
    )
    expected = 2 * rate.fresh + rate.cached + 5 * rate.output
    holds = abs(expected - float(probe.total_price)) <= 1e-9 * max(1.0, expected) + 1e-15
    return rate if holds else rate._replace(linear=False)


def _look_up(model: str, url: str, billed: Billed) -> PriceCalculation | None:
    if not model:
        return None
    # a proxy or a gateway has an address of its own: then the model's name decides
    for price in (_by_address, _by_name, _as_openai):
        try:
            return price(billed, model, url)
        except LookupError:
            continue
    return None


def _by_address(billed: Billed, model: str, url: str) -> PriceCalculation:
    return calc_price(billed, model, provider_api_url=url)


def _by_name(billed: Billed, model: str, _url: str) -> PriceCalculation:
    return calc_price(billed, model)


def _as_openai(billed: Billed, model: str, _url: str) -> PriceCalculation:
    return calc_price(billed, model, provider_id="openai")
