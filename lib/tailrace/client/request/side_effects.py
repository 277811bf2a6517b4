"""Whether a call does more than ask a model: it writes or reads state at the provider, or lets the provider run tools.

Such a call is never answered from the cache and never shared, whatever its caller opted in to: the second "yes" of a
conversation is another turn. Values decide, not names: `store=False` and `tools=[]` say that there is nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final


def _searches(value: object) -> bool:
    return isinstance(value, dict) and value.get("mode") != "off"


def _plugged_in(value: object) -> bool:
    if not isinstance(value, list):
        return bool(value)
    return any(not isinstance(one, dict) or (one.get("enabled") is not False and one.get("id") not in _PURE_PLUGINS)
               for one in value)  # fmt: skip


def _given(value: object) -> bool:
    return value is not None and value is not False  # an empty object turns it on


ARGUMENTS: Final[Mapping[str, Callable[[object], bool]]] = {
    # OpenAI, https://platform.openai.com/docs/api-reference: responses, and `store` of chat completions
    "background": bool,
    "conversation": bool,
    "previous_response_id": bool,
    "store": bool,
    "web_search_options": _given,
    # Azure, https://learn.microsoft.com/azure/ai-services/openai/references/on-your-data
    "data_sources": bool,
    # Anthropic, https://docs.anthropic.com/en/api/messages
    "container": bool,
    "mcp_servers": bool,
    # xAI, https://docs.x.ai/docs/guides/live-search
    "search_parameters": _searches,
    # OpenRouter, https://openrouter.ai/docs/guides/features/plugins
    "plugins": _plugged_in,
    # Alibaba Cloud, https://help.aliyun.com/zh/model-studio/web-search
    "enable_search": bool,
    # Cohere, https://docs.cohere.com/v1/reference/chat
    "connectors": bool,
    # servers that keep a conversation by a name of the caller's
    "conversation_id": bool,
    "session_id": bool,
    "thread_id": bool,
}
"""Arguments by which a call does more, each with the values that do: given any value, "does it?"."""
_NAMES: Final = frozenset(ARGUMENTS)
_PURE_PLUGINS: Final = frozenset({"context-compression", "file-parser", "response-healing"})
"""Plugins of OpenRouter that rewrite the request or the answer, and look nothing up."""
_RUN_BY_CALLER: Final = frozenset(
    {"apply_patch", "computer", "computer_use_preview", "custom", "function", "local_shell"}
)
"""Types of tools of which the model only writes the call."""
_FEW: Final = 4
_STORED_ITEMS: Final = frozenset({"item_reference", "mcp_approval_response"})
"""Items of a responses input that stand for something at the provider, or have it run a tool."""


def has_side_effect(operation: str, fields: Mapping[str, Any], body: bytes) -> bool:
    """Whether a request with these arguments, parsed from `body`, does more than ask a model."""
    if not _NAMES.isdisjoint(fields) and any(ARGUMENTS[name](fields[name]) for name in _NAMES & fields.keys()):
        return True
    if "tools" in fields and _run_by_provider(fields["tools"]):
        return True
    if operation == "responses" and _uses_stored_items(fields):
        return True
    if "input" not in fields and _is_plain(fields.get("messages")):
        return False
    # CPython searches bytes from the end two to three times as fast; text that says the same has escaped quotes
    if body.rfind(b'"file_id"') < 0:
        return False
    return any(_names_a_file(fields.get(name)) for name in ("messages", "input"))


def _is_plain(messages: object) -> bool:
    """Whether `messages` are a few of a role and a text each: most are, and need no search of the body."""
    if type(messages) is not list or len(messages) > _FEW:
        return False
    for message in messages:
        if type(message) is not dict or len(message) != 2:
            return False
        if type(message.get("content")) is not str or type(message.get("role")) is not str:
            return False
    return True


def _run_by_provider(tools: object) -> bool:
    """Whether the provider runs any of the tools itself: a search finds something else tomorrow."""
    if not isinstance(tools, list):
        return bool(tools)
    return any(not isinstance(tool, dict) or not _only_called(tool) for tool in tools)


def _only_called(tool: Mapping[str, Any]) -> bool:
    """Whether the model only writes calls of `tool`; of an unknown type it is not."""
    kind = tool.get("type")
    if kind == "namespace":
        return not _run_by_provider(tool.get("tools"))
    if kind == "shell":
        environment = tool.get("environment")
        return isinstance(environment, dict) and environment.get("type") == "local"
    return (kind == "tool_search" and tool.get("execution") == "client") or kind in _RUN_BY_CALLER


def _uses_stored_items(fields: Mapping[str, Any]) -> bool:
    """Whether a responses request uses a prompt or items that the provider keeps, or adds tools that it runs."""
    if isinstance(fields.get("prompt"), dict):  # a prompt of its dashboard: others may change it, and give it tools
        return True
    items = fields.get("input")
    return isinstance(items, list) and any(isinstance(item, dict) and _is_stored(item) for item in items)


def _is_stored(item: Mapping[str, Any]) -> bool:
    kind = item.get("type")
    if kind is None:
        return "id" in item and "role" not in item  # a reference may leave out its type
    return kind in _STORED_ITEMS or (kind == "additional_tools" and _run_by_provider(item.get("tools")))


def _names_a_file(value: object) -> bool:
    """Whether `file_id` names a file at the provider anywhere in `value`. It does not recurse."""
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            if part.get("file_id"):
                return True
            waiting.extend(part.values())
        elif isinstance(part, list):
            waiting.extend(part)
    return False
