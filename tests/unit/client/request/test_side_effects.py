"""Calls that do more than ask a model: by the values of their arguments, not by their names."""

import orjson
import pytest

from tailrace.client.request import envelope
from tailrace.client.request.parsed import parse
from tailrace.client.request.side_effects import ARGUMENTS
from tailrace.client.wire import Request

FUNCTION = {
    "type": "function",
    "function": {"name": "f", "parameters": {"properties": {"file_id": {"type": "string"}}}},
}
PARTS = [{"type": "input_text", "text": 'say "file_id" and store=true'}]


def said(fields, path="/responses"):
    body = orjson.dumps({"model": "m", "temperature": 0, **fields})
    request = Request("POST", f"https://h/v1{path}", (), body)
    return parse(request, envelope.read(request))


def user(part):
    return [{"role": "user", "content": [{"type": "text", "text": "hi"}, part]}]


DOES = {
    "a conversation": {"conversation": "conv_1"},
    "a conversation as an object": {"conversation": {"id": "conv_1"}},
    "a response before": {"previous_response_id": "resp_1"},
    "kept at the provider": {"store": True},
    "kept, by a server that reads text": {"store": "true"},
    "in the background": {"background": True},
    "a search, by a chat completion": {"web_search_options": {}},
    "a search, by the tools": {"tools": [{"type": "web_search"}]},
    "a hosted tool after one of the caller's": {"tools": [FUNCTION, {"type": "code_interpreter", "container": "c"}]},
    "a remote server of tools": {"tools": [{"type": "mcp", "server_url": "https://h"}]},
    "files": {"tools": [{"type": "file_search", "vector_store_ids": ["vs_1"]}]},
    "a shell in a container": {"tools": [{"type": "shell", "environment": {"type": "container_auto"}}]},
    "a shell without a place": {"tools": [{"type": "shell"}]},
    "a search for tools": {"tools": [{"type": "tool_search"}]},
    "a tool without a type": {"tools": [{"google_search": {}}]},
    "a tool that is no object": {"tools": ["search"]},
    "tools that are no list": {"tools": {"type": "web_search"}},
    "hosted tools in a namespace": {"tools": [{"type": "namespace", "tools": [{"type": "mcp"}]}]},
    "tools within the input": {"input": [{"type": "additional_tools", "tools": [{"type": "web_search"}]}]},
    "an approval": {"input": [{"type": "mcp_approval_response", "approve": True}]},
    "an item of the provider": {"input": [{"type": "item_reference", "id": "msg_1"}]},
    "an item without its type": {"input": [{"id": "msg_1"}]},
    "a file": {"input": user({"type": "input_file", "file_id": "file_1"})},
    "a file of a chat": {"messages": user({"type": "file", "file": {"file_id": "file_1"}})},
    "a prompt of the dashboard": {"prompt": {"id": "pmpt_1"}},
    "Azure: an index": {"data_sources": [{"type": "azure_search"}]},
    "Anthropic: a container": {"container": "container_1"},
    "Anthropic: servers of tools": {"mcp_servers": [{"url": "https://h"}]},
    "xAI: a search": {"search_parameters": {"mode": "auto"}},
    "xAI: a search by default": {"search_parameters": {}},
    "OpenRouter: a search": {"plugins": [{"id": "response-healing"}, {"id": "web"}]},
    "Alibaba: a search": {"enable_search": True},
    "Cohere: a connector": {"connectors": [{"id": "web-search"}]},
    "a thread of the server's": {"thread_id": "t"},
}
DOES_NOT = {
    "nothing": {},
    "not kept": {"store": False},
    "null": dict.fromkeys(ARGUMENTS),
    "false": dict.fromkeys(sorted(ARGUMENTS), False),
    "empty": {"previous_response_id": "", "conversation": {}, "data_sources": [], "plugins": [], "mcp_servers": []},
    "no tools": {"tools": []},
    "tools that are null": {"tools": None},
    "tools of the caller's": {"tools": [FUNCTION, {"type": "custom", "name": "c"}, {"type": "apply_patch"}]},
    "a shell of the caller's": {
        "tools": [{"type": "local_shell"}, {"type": "shell", "environment": {"type": "local"}}]
    },
    "functions in a namespace": {"tools": [{"type": "namespace", "tools": [{"type": "function", "name": "f"}]}]},
    "a search by the caller": {"tools": [{"type": "tool_search", "execution": "client"}]},
    "more tools of the caller's": {"input": [{"type": "additional_tools", "tools": [{"type": "custom"}]}]},
    "items of its own": {"input": [{"type": "reasoning", "id": "rs_1"}, {"role": "user", "id": "m", "content": PARTS}]},
    "a file that is null": {"input": user({"type": "input_file", "file_id": None, "file_data": "x"})},
    "xAI: no search": {"search_parameters": {"mode": "off"}},
    "OpenRouter: no search": {"plugins": [{"id": "web", "enabled": False}, {"id": "file-parser"}]},
    "what only labels it": {"metadata": {"store": "true"}, "user": "conversation", "prompt_cache_key": "thread_id"},
}


@pytest.mark.parametrize("fields", DOES.values(), ids=DOES.keys())
def test_a_call_that_does_more_is_recognised(fields):
    """State at the provider, and tools that it runs, are a side effect, so the call is not deterministic either."""
    parsed = said(fields)
    assert parsed.has_side_effect
    assert not parsed.deterministic


@pytest.mark.parametrize("fields", DOES_NOT.values(), ids=DOES_NOT.keys())
def test_a_name_alone_says_nothing(fields):
    """The negative control: the same names with values that turn nothing on."""
    parsed = said(fields)
    assert not parsed.has_side_effect
    assert parsed.deterministic


@pytest.mark.parametrize(("path", "fields"), [("/completions", {"prompt": "hi"}), ("/completions", {"prompt": ["hi"]}),
                                              ("/embeddings", {"input": ["a", "b"]}),
                                              ("/embeddings", {"input": [[1, 2]], "user": "u"})])  # fmt: skip
def test_prompts_and_inputs_of_other_operations_are_text(path, fields):
    """The prompt of a completion, and the input of an embedding, name nothing at the provider."""
    assert not said(fields, path).has_side_effect


def test_a_body_that_parsers_read_differently_may_do_anything():
    """When a name occurs twice, the provider may read the value that does something."""
    body = b'{"model":"m","temperature":0,"store":true,"store":false}'
    request = Request("POST", "https://h/v1/responses", (), body)
    assert parse(request, envelope.read(request)).has_side_effect
