"""How much may be spent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tailrace.client import validation


@dataclass(frozen=True, slots=True)
class Spend:
    """Spend at most `max_usd`: a call reserves the most it can cost, and settles its real cost."""

    max_usd: float
    per_tenant: bool = False
    unknown_price: Literal["reject", "allow"] = "reject"
    """What to do with a model of unknown price, which the limit cannot count."""
    assumed_output_tok: int = 4096
    """Reserved for a call that sets no limit of its own."""

    def __post_init__(self) -> None:
        validation.positive("Spend", max_usd=self.max_usd)
        validation.positive_int("Spend", assumed_output_tok=self.assumed_output_tok)
        if self.unknown_price not in ("reject", "allow"):
            raise ValueError(f"Spend(unknown_price={self.unknown_price!r}): expected 'reject' or 'allow'")
