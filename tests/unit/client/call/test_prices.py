"""The price of an answer, from the maintained table."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace import Price
from tailrace.client.call import prices as prices_module
from tailrace.client.call.prices import Prices
from tailrace.protocol.usage import Usage

MILLION = Usage(True, 1_000_000, 1_000_000)
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


MINI = [
    "gpt-4o-mini", "openai/gpt-4o-mini", "azure/gpt-4o-mini", "openrouter/openai/gpt-4o-mini", "openai:gpt-4o-mini",
    "OpenAI/GPT-4o-mini", "gpt-4o-mini-2024-07-18", "gpt-4o-mini-2031-01-01", "azure/eu/gpt-4o-mini-2024-07-18",
    "litellm_proxy/gpt-4o-mini", "openai/gpt-4o-mini:nitro", "azure_ai/gpt-4o-mini", "gpt-4o-mini-latest",
]  # fmt: skip
ALIKE = {
    "anthropic/claude-sonnet-4-5": "claude-sonnet-4-5", "vertex_ai/claude-sonnet-4-5@20250929": "claude-sonnet-4-5",
    "gemini/gemini-2.5-flash": "gemini-2.5-flash", "models/gemini-2.5-flash": "gemini-2.5-flash",
    "gemini-2.5-flash-001": "gemini-2.5-flash", "vertex_ai/gemini-2.5-flash": "gemini-2.5-flash",
    "bedrock/us-east-1/anthropic.claude-sonnet-4-5-20250929-v1:0": "anthropic.claude-sonnet-4-5-20250929-v1:0",
    "deepseek/deepseek-chat": "deepseek-chat", "openai/text-embedding-3-small": "text-embedding-3-small",
}  # fmt: skip
NAMELESS = [
    "my-own-7b", "gpt-4o-minimal", "gpt-4o-miniature", "foo/gpt-4o-mini", "my/own/gpt-4o", "openai/gpt-4o-mini:free",
    "openai/gpt-4o-mini:online", "openai/", "/", ":", "openai:", "tts-1", "whisper-1", "x" * 10_000,
    "openai/" * 40 + "gpt-4o-mini",
]  # fmt: skip


def cost(model, own=None, used=MILLION, url="http://127.0.0.1:1/v1/chat/completions"):
    return Prices(own=own).cost_usd(model, url, used)


@pytest.mark.parametrize("model", MINI)
def test_a_model_has_its_price_under_all_its_names(model):
    """With the prefix of its maker or of a gateway, dated, as a variant: one model, one price."""
    assert cost(model) == pytest.approx(0.75)


@pytest.mark.parametrize(("model", "plain"), ALIKE.items())
def test_prefixes_of_other_makers_resolve(model, plain):
    """The price is that of the plain name."""
    assert cost(model) == cost(plain) is not None


@pytest.mark.parametrize("model", NAMELESS)
def test_a_name_that_only_looks_alike_has_no_price(model):
    """The negative control: another model, a variant that costs otherwise, a model without a price of tokens."""
    assert cost(model) is None


def test_own_prices_come_first_and_reach_all_names():
    """A price of your own holds for the dated and the prefixed name; a name for another model is that model's price."""
    own = {
        "gpt-4o-mini": Price(in_mtok=1.0, out_mtok=2.0),
        "fast": "gpt-4.1-nano",
        "faster": "fast",
        "mine": "gpt-4o-mini",
    }
    for model in (*MINI, "mine", "azure/mine"):
        assert cost(model, own) == pytest.approx(3.0)
    assert cost("fast", own) == cost("faster", own) == cost("gpt-4.1-nano") is not None
    assert cost("gpt-4.1", own) == cost("gpt-4.1")


def test_own_prices_of_cached_input_reasoning_and_calls():
    """1 of input, 0.5 of cached input, 2 of output, 3 of reasoning, and 0.25 for the call."""
    price = Price(in_mtok=1, cached_mtok=0.5, out_mtok=2, reasoning_mtok=3, call=0.25)
    used = Usage(True, 1_000_000, 1_000_000, 500_000, 100_000)
    assert cost("m", {"m": price}, used) == pytest.approx(0.5 + 0.25 + 0.9 * 2 + 0.1 * 3 + 0.25)
    assert cost("m", {"m": Price(in_mtok=1, out_mtok=2)}, used) == pytest.approx(3.0)
    assert cost("m", {"m": Price()}, used) == 0.0


def test_remembered_prices_are_bounded():
    """However many names callers make up, so many prices are kept at the most."""
    prices = Prices()
    for number in range(prices_module.MOST_RATES + 50):
        prices.cost_usd(f"model {number}", OPENAI, MILLION)
    assert len(prices._rates) <= prices_module.MOST_RATES
