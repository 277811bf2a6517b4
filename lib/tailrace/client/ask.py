"""One line for one question: `ask(prompt)`."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal

import openai
from openai.types.chat import ChatCompletion, ChatCompletionMessageParam
from pydantic import BaseModel, ConfigDict, Field

from tailrace.client.openai import AsyncOpenAI, OpenAI

LimitField = Literal["max_tokens", "max_completion_tokens"]
_REASONING: Final = re.compile(r"(?:.*[/.:])?(?:o\d|gpt-[5-9])(?![a-z\d])", re.IGNORECASE)
"""OpenAI's models that refuse `max_tokens`, behind any prefix: o3-mini, gpt-5, openai/gpt-5-nano, azure.o4-mini."""


class AIConfig(BaseModel):
    """Validated, frozen settings of a question. What is None is not sent, and the provider's default holds."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    model: Annotated[str, Field(min_length=1, max_length=200)] = "gpt-4o-mini"
    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] | None = None
    """With 0, the cache answers a repeated question. Reasoning models refuse any but their own."""
    max_tokens: Annotated[int, Field(gt=0)] | None = None
    """Limit of the answer, reasoning included."""
    limit_field: LimitField | None = None
    """The name under which `max_tokens` is sent; None chooses by the model's name, and by what the provider refuses."""
    system_prompt: str = ""

    def messages(self, prompt: str) -> list[ChatCompletionMessageParam]:
        """Return the messages that ask `prompt`."""
        question: ChatCompletionMessageParam = {"role": "user", "content": prompt}
        return [{"role": "system", "content": self.system_prompt}, question] if self.system_prompt else [question]

    def request(self, prompt: str) -> dict[str, Any]:
        """Return the body of the chat completion that asks `prompt`."""
        optional = {"temperature": self.temperature, self._limit_field: self.max_tokens}
        sent = {name: value for name, value in optional.items() if value is not None}
        return {"model": self.model, **sent, "messages": self.messages(prompt)}

    def after(self, error: object) -> AIConfig | None:
        """Return the settings to ask with instead, when `error`, of the API, refuses the name of the limit; else None.

        Older servers ignore `max_completion_tokens` without a word, so `max_tokens` is tried first where it may do.
        """
        if self.limit_field is not None or self.max_tokens is None or not isinstance(error, dict):
            return None
        used: LimitField = self._limit_field
        other: LimitField = "max_tokens" if used == "max_completion_tokens" else "max_completion_tokens"
        unsupported = str(error.get("code")).startswith("unsupported") and error.get("param") == used
        if not unsupported and not {used, other} <= set(re.findall(r"\w+", str(error.get("message")))):
            return None
        return self.model_copy(update={"limit_field": other})

    @property
    def _limit_field(self) -> LimitField:
        if self.limit_field is not None:
            return self.limit_field
        return "max_completion_tokens" if _REASONING.match(self.model) else "max_tokens"


def ask(prompt: str, config: AIConfig | None = None, *, client: openai.OpenAI | None = None) -> str:
    """Return the answer to `prompt`.

    Without a `client` one is made for this question, from the SDK's environment variables, and closed after it;
    pass one to share its cache and limits between questions.
    """
    config = config or AIConfig()
    if client is None:
        with OpenAI() as own:
            return ask(prompt, config, client=own)
    try:
        return _text(client.chat.completions.create(**config.request(prompt)))
    except openai.BadRequestError as error:
        other = config.after(error.body)
        if other is None:
            raise
        return ask(prompt, other, client=client)


async def aask(prompt: str, config: AIConfig | None = None, *, client: openai.AsyncOpenAI | None = None) -> str:
    """Return the answer to `prompt`; see `ask`."""
    config = config or AIConfig()
    if client is None:
        async with AsyncOpenAI() as own:
            return await aask(prompt, config, client=own)
    try:
        return _text(await client.chat.completions.create(**config.request(prompt)))
    except openai.BadRequestError as error:
        other = config.after(error.body)
        if other is None:
            raise
        return await aask(prompt, other, client=client)


def _text(answer: ChatCompletion) -> str:
    return answer.choices[0].message.content or ""
