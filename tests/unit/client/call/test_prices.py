"""The price of an answer, from the maintained table."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.client.call.prices import Prices
from tailrace.protocol.usage import Usage

OPENAI = "https://api.openai.com/v1/chat/completions"


def test_a_known_model_has_a_price():
    """gpt-4o-mini: $0.15 in, $0.075 cached, $0.60 out, per million."""
    cost = Prices().cost_usd("gpt-4o-mini", OPENAI, Usage(True, 1_000_000, 1_000_000, 500_000))
    assert cost == pytest.approx(0.075 + 0.0375 + 0.60)
    assert Prices().cost_usd("gpt-4o-mini", "http://127.0.0.1:1/v1", Usage(True, 1_000_000)) == pytest.approx(0.15)


def test_an_unknown_price_is_none_and_never_0():
    """A model without a price, or an answer without a count, costs None."""
    assert Prices().cost_usd("my-own-model-7b", OPENAI, Usage(True, 10, 10)) is None
    assert Prices().cost_usd("", OPENAI, Usage(True, 10, 10)) is None
    assert Prices().cost_usd("gpt-4o-mini", OPENAI, Usage(False)) is None


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 100))
def test_the_quick_price_is_the_tables_price(fresh, out, cached):
    """The fast price equals the price of genai-prices, for flat prices and for tiered ones."""
    from genai_prices import Usage as Billed
    from genai_prices import calc_price

    prices = Prices()
    for model in ("gpt-4o-mini", "gpt-4.1", "o3-mini", "gpt-5"):
        usage_ = Usage(True, fresh + cached, out, cached)
        billed = Billed(input_tokens=fresh + cached, output_tokens=out, cache_read_tokens=cached)
        table = float(calc_price(billed, model, provider_id="openai").total_price)
        assert prices.cost_usd(model, OPENAI, usage_) == pytest.approx(table, rel=1e-9, abs=1e-15)
