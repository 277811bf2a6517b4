"""The names under which one model is called: by its maker, through a gateway, dated, or as a variant.

A name resolves only by the rules here; a name that merely begins like a known one has no known price.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

MOST_CHARACTERS: Final = 256
"""A longer name is no name: callers send them."""

PREFIXES: Final = {
    "openai": "openai", "azure": "azure", "azure_ai": "azure", "azure_openai": "azure", "azureopenai": "azure",
    "text-completion-openai": "openai", "openrouter": "openrouter",
    "anthropic": "anthropic", "bedrock": "aws", "bedrock_converse": "aws", "amazon-bedrock": "aws", "amazon": "aws",
    "vertex_ai": "google", "vertex": "google", "google": "google", "google-vertex": "google", "gemini": "google",
    "google-gla": "google", "google-ai-studio": "google", "models": "google",
    "mistral": "mistral", "mistralai": "mistral", "codestral": "mistral", "cohere": "cohere", "cohere_chat": "cohere",
    "deepseek": "deepseek", "groq": "groq", "xai": "x-ai", "x-ai": "x-ai", "perplexity": "perplexity",
    "together_ai": "together", "together": "together", "fireworks_ai": "fireworks", "fireworks": "fireworks",
    "cerebras": "cerebras", "cloudflare": "cloudflare", "databricks": "databricks", "novita": "novita",
    "moonshot": "moonshotai", "moonshotai": "moonshotai", "voyage": "voyageai", "minimax": "minimax",
}  # fmt: skip
"""What LiteLLM (docs.litellm.ai/docs/providers), OpenRouter (openrouter.ai/docs: `author/model`), Pydantic AI
(`provider:model`), LangChain and Google (`models/…`) put before a model's name, and the provider whose prices hold."""

_VIA: Final = frozenset({"litellm_proxy", "proxy", "hosted", "chat", "responses", "converse", "invoke", "global"})
"""Parts of a name that say by which way a call goes (LiteLLM); they have no price."""
_REGION: Final = re.compile(r"(?:eu|us|apac|au|jp|ca)(?:-[a-z]+-\d)?")
"""A region of Azure or of Bedrock within a name."""
_DATE: Final = r"20\d\d-?[01]\d-?[0-3]\d"
_SUFFIXES: Final = (
    re.compile(r":(?:nitro|floor|exacto|beta|thinking)$"),  # openrouter.ai/docs/guides/routing/model-variants
    re.compile(rf"[-@]{_DATE}$"),  # OpenAI 2024-07-18; Anthropic 20250929, on Vertex after an @
    re.compile(r"-preview-[01]\d-(?:20)?[0-3]?\d{1,3}$"),  # Google 05-20
    re.compile(r"-v\d+(?::\d+)?$"),  # Bedrock -v1:0
    re.compile(r"[-@]00\d$"),  # Google 001
    re.compile(r"-latest$"),
)
_BEDROCK: Final = re.compile(
    r"(?:[a-z]{2,6}\.)?(?:ai21|amazon|anthropic|cohere|deepseek|meta|mistral|openai|qwen|writer)\.[a-z].*", re.DOTALL
)
"""docs.aws.amazon.com/bedrock: `anthropic.claude-…`, and `us.anthropic.claude-…` for a group of regions."""
_FINE_TUNED: Final = re.compile(r"(ft:[^:]+):.*", re.DOTALL)


class ModelName(NamedTuple):
    """A name to look up; `provider` is by the ids of genai-prices, "" for any."""

    name: str
    provider: str = ""


def names(model: str) -> Iterator[ModelName]:
    """Yield the names by which the price of `model` may be known, the most exact first."""
    if not model or len(model) > MOST_CHARACTERS:
        return
    seen = set()
    for routed in _routed(model):
        for name in _undated(routed.name):
            found = ModelName(name, routed.provider)
            if found not in seen:
                seen.add(found)
                yield found


def _routed(model: str) -> Iterator[ModelName]:
    """Yield `model`, and then without what stands before it; the provider named last is the nearest to the model."""
    provider, rest = "", model
    yield ModelName(rest)
    if _BEDROCK.fullmatch(model):
        yield ModelName(rest, "aws")
    while True:
        head, separator, tail = rest.partition("/")
        if not separator:
            head, separator, tail = rest.partition(":")
        head = head.lower()
        if not tail or head == "ft":
            return
        if head in PREFIXES:
            provider = PREFIXES[head]
        elif not (provider and (head in _VIA or _REGION.fullmatch(head))) and head not in _VIA:
            return
        rest = tail
        yield ModelName(rest, provider)


def _undated(name: str) -> Iterator[str]:
    """Yield `name`, and then without its variant and date."""
    yield name
    tuned = _FINE_TUNED.fullmatch(name)
    if tuned is not None:
        name = tuned[1]
        yield name
    for suffix in _SUFFIXES:
        shorter = suffix.sub("", name)
        if shorter != name:
            name = shorter
            yield name
