"""One line for one question: `ask(prompt)`."""

from __future__ import annotations

from typing import Annotated

import openai
from openai.types.chat import ChatCompletionMessageParam
from pydantic import BaseModel, ConfigDict, Field

from tailrace.client.openai import AsyncOpenAI, OpenAI


class AIConfig(BaseModel):
    """Validated, frozen settings of a question. With `temperature` 0, the cache answers a repeated question."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    model: Annotated[str, Field(min_length=1, max_length=200)] = "gpt-4o-mini"
    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] = 0.0
    max_tokens: Annotated[int, Field(gt=0)] | None = None
    """Limit of the answer; None leaves it to the provider."""
    system_prompt: str = ""

    def messages(self, prompt: str) -> list[ChatCompletionMessageParam]:
        """Return the messages that ask `prompt`."""
        question: ChatCompletionMessageParam = {"role": "user", "content": prompt}
        return [{"role": "system", "content": self.system_prompt}, question] if self.system_prompt else [question]


def ask(prompt: str, config: AIConfig | None = None, *, client: openai.OpenAI | None = None) -> str:
    """Return the answer to `prompt`.

    Without a `client` one is made for this question, from the SDK's environment variables, and closed after it;
    pass one to share its cache and limits between questions.
    """
    config = config or AIConfig()
    if client is None:
        with OpenAI() as own:
            return ask(prompt, config, client=own)
    answer = client.chat.completions.create(
        model=config.model,
        messages=config.messages(prompt),
        temperature=config.temperature,
        max_tokens=openai.omit if config.max_tokens is None else config.max_tokens,
    )
    return answer.choices[0].message.content or ""


async def aask(prompt: str, config: AIConfig | None = None, *, client: openai.AsyncOpenAI | None = None) -> str:
    """Return the answer to `prompt`; see `ask`."""
    config = config or AIConfig()
    if client is None:
        async with AsyncOpenAI() as own:
            return await aask(prompt, config, client=own)
    answer = await client.chat.completions.create(
        model=config.model,
        messages=config.messages(prompt),
        temperature=config.temperature,
        max_tokens=openai.omit if config.max_tokens is None else config.max_tokens,
    )
    return answer.choices[0].message.content or ""
