"""Prices of tokens: your own first, then the maintained table of `genai-prices`; None for a model that has none."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Final, NamedTuple

from genai_prices import Usage as Billed
from genai_prices import calc_price
from genai_prices.types import ModelPrice, PriceCalculation

from tailrace.client.call.model_names import ModelName, names
from tailrace.client.policy.spending import Price
from tailrace.protocol.usage import Usage

MOST_RATES: Final = 1000
"""Models whose price is remembered; their names come from callers."""
_RATE_S: Final = 3600.0  # prices may depend on the date: read the table again after this
_PROBE: Final = Billed(input_tokens=3, output_tokens=5, cache_read_tokens=1)
_MILLION: Final = 1_000_000
_NAMELESS: Final = ModelName("")


@dataclass(frozen=True, slots=True)
class _Rate:
    """US dollars per token, valid until the moment `until`."""

    until: float
    fresh: float = 0.0
    cached: float = 0.0
    output: float = 0.0
    known: bool = True
    linear: bool = True
    """Whether the price is the same for any number of tokens; if not, the table is read for each call."""
    own: Price | None = None
    """Your own price, if it asks for more than these three."""
    mine: bool = False
    """Whether it is your own, or that of a model which you named for it."""
    table: ModelName = _NAMELESS
    """The name under which the table has the model."""
    simple: bool = field(init=False)
    """Whether the three prices say all."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "simple", self.known and self.linear and self.own is None)


class Cost(NamedTuple):
    """A cost by the table; `charged` says that the model has a price at all, though perhaps by another unit."""

    usd: float
    charged: bool


class Prices:
    """Prices by model and API address. The table is read once an hour for each; a call then takes three products."""

    def __init__(self, now: Callable[[], float] = time.monotonic, own: Mapping[str, Price | str] | None = None) -> None:
        self._now = now
        self._own = own or {}
        self.any_own = bool(self._own)
        self._rates: dict[tuple[str, str], _Rate] = {}

    def cost_usd(self, model: str, url: str, usage: Usage) -> float | None:
        """Return the cost of `usage`, or None when the model's price or the usage is not known."""
        known, in_tok, out_tok, cached_tok, _ = usage
        if not known:
            return None
        rate = self._rates.get((model, url))
        if rate is None or rate.until < self._now():
            rate = self._read(model, url)
        cached = cached_tok if cached_tok < in_tok else in_tok
        cost = (in_tok - cached) * rate.fresh + cached * rate.cached + out_tok * rate.output
        if rate.simple:
            return cost
        if not rate.known:
            return None
        if not rate.linear:
            billed = Billed(input_tokens=in_tok, output_tokens=out_tok, cache_read_tokens=cached)
            price = _look_up(rate.table, url, billed)
            return None if price is None else float(price.total_price)
        return cost if rate.own is None else cost + _more(rate.own, usage)

    def mine(self, model: str, url: str) -> bool:
        """Whether you gave the price of `model` yourself."""
        rate = self._rates.get((model, url))
        return (self._read(model, url) if rate is None or rate.until < self._now() else rate).mine

    def own(self, *called: str) -> Price | None:
        """Return your own price of the first of these models or operations that has one."""
        for model in called:
            for name in names(model):
                price = self._own_price(name.name)
                if isinstance(price, Price):
                    return price
        return None

    def table(self, model: str, url: str, **units: float) -> Cost | None:
        """Return the table's cost of other units than plain tokens; None for an unknown model."""
        for name in names(self._alias(model) or model):
            found = _look_up(name, url, Billed(**units))
            if found is not None:
                return Cost(float(found.total_price), _is_charged(found.model_price))
        return None

    def _own_price(self, name: str) -> Price | str | None:
        """Return your own price of exactly `name`; a name that has no price here stands for a model of the table."""
        price = self._own.get(name) or self._own.get(name.lower())
        while isinstance(price, str):
            name, price = price, self._own.get(price)
            if price is None:
                return name
        return price

    def _alias(self, model: str) -> str:
        """Return the model of the table that `model` stands for; "" when it stands for none."""
        aliases = (self._own_price(name.name) for name in names(model)) if self._own else ()
        return next((alias for alias in aliases if isinstance(alias, str)), "")

    def _read(self, model: str, url: str) -> _Rate:
        if len(self._rates) >= MOST_RATES:
            self._rates.clear()
        until, price = self._now() + _RATE_S, self.own(model) if self._own else None
        rate = self._of_table(model, url, until) if price is None else _own_rate(price, until)
        self._rates[model, url] = rate
        return rate

    def _of_table(self, model: str, url: str, until: float) -> _Rate:
        alias = self._alias(model)
        for name in names(alias or model):
            probe = _look_up(name, url, _PROBE)
            if probe is not None:
                return replace(_rate(probe, until), table=name, mine=bool(alias))
        return _Rate(until, known=False)


def _own_rate(price: Price, until: float) -> _Rate:
    cached = price.in_mtok if price.cached_mtok is None else price.cached_mtok
    more = bool(price.call) or price.reasoning_mtok is not None
    return _Rate(
        until, price.in_mtok / _MILLION, cached / _MILLION, price.out_mtok / _MILLION, own=price if more else None,
        mine=True,
    )  # fmt: skip


def _more(price: Price, usage: Usage) -> float:
    """Return what a price asks besides input and output."""
    if price.reasoning_mtok is None:
        return price.call
    reasoning = min(usage.reasoning_tok, usage.out_tok)
    return price.call + reasoning * (price.reasoning_mtok - price.out_mtok) / _MILLION


def _rate(probe: PriceCalculation, until: float) -> _Rate:
    """Return the price per token, taken from the price of `_PROBE`; unknown for a model that is billed otherwise."""
    if not probe.total_price and _is_charged(probe.model_price):
        return _Rate(until, known=False)
    prices = [getattr(probe.model_price, name, None) for name in ("input_mtok", "cache_read_mtok", "output_mtok")]
    fresh, cached, output = (price if isinstance(price, Decimal) else None for price in prices)
    if any(price is not None and not isinstance(price, Decimal) for price in prices) or fresh is None:
        return _Rate(until, linear=False)
    rate = _Rate(
        until,
        float(fresh) / _MILLION,
        float(fresh if cached is None else cached) / _MILLION,
        float(output or 0) / _MILLION,
    )
    expected = 2 * rate.fresh + rate.cached + 5 * rate.output
    holds = abs(expected - float(probe.total_price)) <= 1e-9 * max(1.0, expected) + 1e-15
    return rate if holds else replace(rate, linear=False)


def _is_charged(price: ModelPrice) -> bool:
    """Whether a model has any price; a free one has none, or only zeros."""
    return any(isinstance(value, Decimal) and value > 0 for value in vars(price).values())


def _look_up(model: ModelName, url: str, billed: Billed) -> PriceCalculation | None:
    if not model.name:
        return None
    # a proxy or a gateway has an address of its own: then the model's name decides
    for price in (_by_provider,) if model.provider else (_by_address, _by_name, _as_openai):
        try:
            return price(billed, model, url)
        except (LookupError, ValueError):  # ValueError: the table bills it by a unit that is not known here
            continue
    return None


def _by_address(billed: Billed, model: ModelName, url: str) -> PriceCalculation:
    return calc_price(billed, model.name, provider_api_url=url)


def _by_name(billed: Billed, model: ModelName, _url: str) -> PriceCalculation:
    return calc_price(billed, model.name)


def _as_openai(billed: Billed, model: ModelName, _url: str) -> PriceCalculation:
    return calc_price(billed, model.name, provider_id="openai")


def _by_provider(billed: Billed, model: ModelName, _url: str) -> PriceCalculation:
    return calc_price(billed, model.name, provider_id=model.provider)
