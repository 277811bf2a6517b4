"""How much may be spent, and what is paid for what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Final, Literal, TypeAlias

from tailrace.client import validation
from tailrace.client.stores.budgets import KeepsBudgets

Period: TypeAlias = Literal["ever", "day", "month"]
PERIODS: Final = ("ever", "day", "month")


@dataclass(frozen=True, slots=True)
class Spend:
    """Spend at most `max_usd` in a period: a call reserves the most it can cost, and settles its real cost.

    Days and months begin at 0:00 UTC. A call counts for the period in which it began.
    """

    max_usd: float
    per: Period = "ever"
    per_tenant: bool = False
    unknown_price: Literal["reject", "allow"] = "reject"
    """What to do with a call of unknown price, which the limit cannot count."""
    assumed_output_tok: int = 4096
    """Reserved for a call that sets no limit of its own."""
    store: KeepsBudgets | None = None
    """Where the budget is kept, as `Sqlite(path)` or `Redis(url)`: it then holds for all processes that use it, and
    after a restart. None: a budget per day or month is kept in the cache's store, if other processes share that one;
    any other in this client."""
    name: str = ""
    """Budgets of one name in one store are one budget."""
    store_failure: Literal["reject", "allow"] = "reject"
    """What to do with a call when the store cannot be asked; an allowed one is counted as soon as it can."""
    reservation_s: float = 900.0
    """For this long a store keeps what a call has reserved, should its process die before it settles. A call with a
    longer deadline reserves until then; any other is renewed before each attempt and while its stream is read, so give
    more than the longest wait for an answer or a chunk."""

    def __post_init__(self) -> None:
        validation.positive("Spend", max_usd=self.max_usd, reservation_s=self.reservation_s)
        validation.positive_int("Spend", assumed_output_tok=self.assumed_output_tok)
        validation.instance("Spend", str, name=self.name)
        if self.per not in PERIODS:
            raise ValueError(f"Spend(per={self.per!r}): expected 'ever', 'day' or 'month'")
        for name, value in (("unknown_price", self.unknown_price), ("store_failure", self.store_failure)):
            if value not in ("reject", "allow"):
                raise ValueError(f"Spend({name}={value!r}): expected 'reject' or 'allow'")
        if self.store is not None and not callable(getattr(self.store, "budgets", None)):
            raise ValueError(
                f"Spend(store=…): expected a store that keeps budgets, found {type(self.store).__name__}; "
                "give Sqlite(path), Redis(url), Memory() or None"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What a model costs, in US dollars. `Price()` is free of charge."""

    in_mtok: float = 0.0
    """For a million tokens of input."""
    out_mtok: float = 0.0
    cached_mtok: float | None = None
    """For a million tokens of input that the provider had cached; None: as `in_mtok`."""
    reasoning_mtok: float | None = None
    """For a million tokens of reasoning; None: as `out_mtok`."""
    call: float = 0.0
    """For each call, besides all else."""
    image: float = 0.0
    """For each image that is made."""
    mchar: float = 0.0
    """For a million characters that are spoken."""
    audio_min: float = 0.0
    """For each minute of sound that is transcribed or translated."""
    video_s: float = 0.0
    """For each second of video that is made."""

    def __post_init__(self) -> None:
        for field in fields(self):
            optional = field.default is None
            validation.not_negative("Price", optional=optional, **{field.name: getattr(self, field.name)})


def checked_prices(prices: object) -> None:
    """Raise ValueError unless `prices` maps names to a Price or to another name, and no name leads back to itself."""
    if not isinstance(prices, Mapping):
        raise ValueError(f"Policy(prices={prices!r}): expected a mapping: prices={{'my-model': Price(in_mtok=0.1)}}")
    for name, price in prices.items():
        if not isinstance(name, str) or not name or not isinstance(price, Price | str):
            raise ValueError(f"Policy(prices={{{name!r}: …}}): expected a name, and for it a Price or another name")
        met = {name}
        while isinstance(price, str):
            if price in met:
                raise ValueError(f"Policy(prices={{{name!r}: …}}): the name leads back to {price!r}; give it a Price")
            met.add(price)
            price = prices.get(price)
