"""A question becomes a chat completion; models that refuse a field are asked without it."""

import pytest

from tailrace.client import AIConfig

REFUSED = {
    "message": "Unsupported parameter: 'max_tokens' is not supported with this model. "
               "Use 'max_completion_tokens' instead.",
    "type": "invalid_request_error", "param": "max_tokens", "code": "unsupported_parameter",
}  # fmt: skip


def test_only_what_is_set_is_sent():
    """Neither a temperature nor a limit of tokens by default; a system prompt goes first."""
    assert AIConfig(model="m").request("hi") == {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    assert AIConfig(model="m", temperature=0, system_prompt="brief", max_tokens=7).request("hi") == {
        "model": "m", "temperature": 0, "max_tokens": 7,
        "messages": [{"role": "system", "content": "brief"}, {"role": "user", "content": "hi"}],
    }  # fmt: skip


@pytest.mark.parametrize("model", ["gpt-5", "gpt-5.1-mini", "o1", "o3-mini", "o4-mini-2025-04-16", "openai/gpt-5-nano",
                                   "azure/o3", "us.openai.o4-mini", "GPT-5"])  # fmt: skip
def test_reasoning_models_get_the_limit_that_they_take(model):
    """OpenAI's reasoning models, behind any prefix."""
    assert AIConfig(model=model, max_tokens=7).request("hi")["max_completion_tokens"] == 7


@pytest.mark.parametrize("model", ["gpt-4o-mini", "gpt-4.1", "gpt-35-turbo", "llama-3.1-8b", "olmo-2", "o300-x",
                                   "gpt-oss-20b", "qwen3-o1nly", "gpt-4o"])  # fmt: skip
def test_other_models_get_the_older_name(model):
    """Older servers ignore the newer name without a word, so others get the older one."""
    assert AIConfig(model=model, max_tokens=7).request("hi")["max_tokens"] == 7


def test_a_refused_name_gives_way_to_the_other():
    """Whatever the model is called, the provider's refusal decides, once."""
    config = AIConfig(model="my-deployment", max_tokens=7)
    other = config.after(REFUSED)
    assert other is not None
    assert other.request("hi")["max_completion_tokens"] == 7
    assert "max_tokens" not in other.request("hi")
    assert other.after(REFUSED) is None
    assert AIConfig(model="gpt-5", max_tokens=7).after({**REFUSED, "param": "max_completion_tokens"}) is not None


@pytest.mark.parametrize("error", [
    {"message": "max_tokens is too large: 100000", "param": "max_tokens", "code": "invalid_value"},
    {"message": "Unsupported value", "param": "temperature", "code": "unsupported_value"},
    {"message": None}, None, "no",
])  # fmt: skip
def test_another_error_is_the_answer(error):
    """Negative control: a limit that is too large, or another field, is no reason to ask again."""
    assert AIConfig(max_tokens=7).after(error) is None


def test_a_name_that_was_chosen_stays():
    """With `limit_field` nothing is tried; without a limit there is nothing to try."""
    chosen = AIConfig(model="gpt-5", max_tokens=7, limit_field="max_tokens")
    assert chosen.request("hi")["max_tokens"] == 7
    assert chosen.after(REFUSED) is None
    assert AIConfig().after(REFUSED) is None
