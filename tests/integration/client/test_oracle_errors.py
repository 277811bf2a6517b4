"""The official SDK as oracle, to the last header: answers, refusals and failures are the same."""

import asyncio
import json

import openai
import pytest

from tailrace import AsyncOpenAI, Limits, OpenAI, Policy

EMPTY = Policy(cache=None, retry=None, guard=None)
FULL = Policy(retry=None, limits=Limits(deadline_s=30))
CHAT = {"model": "gpt-4o-mini", "temperature": 0, "messages": [{"role": "user", "content": "hi"}],
        "extra_headers": {"x-mine": "1"}, "extra_query": {"q": "a b"}}  # fmt: skip
MOMENT = {"date"}
ON_THE_WAY = {"content-length", "connection", "keep-alive", "transfer-encoding"}
"""What is about one connection, which a sender that unpacks an answer does not hand on."""
SAID = {"x-request-id": "req_7", "retry-after": "3", "x-ratelimit-remaining-tokens": "0", "www-authenticate": "Bearer",
        "set-cookie": "a=b; Path=/", "X-Mixed-Case": "Kept", "openai-version": "2020-10-01"}  # fmt: skip
REFUSAL = {"error": {"message": "it is wrong", "type": "some_kind", "param": "messages", "code": "some_code"}}
STATUSES = {400: openai.BadRequestError, 401: openai.AuthenticationError, 403: openai.PermissionDeniedError,
            404: openai.NotFoundError, 409: openai.ConflictError, 418: openai.APIStatusError,
            422: openai.UnprocessableEntityError, 429: openai.RateLimitError, 500: openai.InternalServerError,
            503: openai.InternalServerError}  # fmt: skip
BODIES = {"an error": json.dumps(REFUSAL).encode(), "no JSON": b"<html>away</html>", "nothing": b"", "a list": b"[1]"}


def asked(request):
    """Return every part of a request."""
    return request.method, str(request.url), sorted(request.headers.raw), request.content


def answered(response, without=frozenset()):
    """Return every part of an answer but its time, with its headers as they came over the wire, and its request."""
    headers = sorted((name.lower(), value) for name, value in response.headers.raw)
    kept = [(name, value) for name, value in headers
            if name.decode() not in MOMENT | without and not name.startswith(b"x-tailrace-")]  # fmt: skip
    body = response.content if response.is_stream_consumed else None
    return response.status_code, kept, body, response.http_version, response.is_closed, asked(response.request)


def told(error, without=frozenset()):
    """Return every part of an error."""
    kind = next(kind for kind in type(error).__mro__ if kind.__module__.startswith("openai"))
    found = [kind, str(error), error.message, error.code, error.param, error.type, error.body, asked(error.request)]
    if isinstance(error, openai.APIStatusError):
        assert error.response.request is error.request
        found += [error.status_code, error.request_id, answered(error.response, without)]
    return found


def outcome(kind, url, key, call, policy=None, **client):
    """Return the outcome of `call` with the SDK's own client, or ours under `policy`: "sync" or "async"."""
    ours = {"policy": policy} if policy is not None else {"max_retries": 0}
    if kind == "sync":
        with (openai.OpenAI if policy is None else OpenAI)(api_key=key, base_url=url, **ours, **client) as one:
            try:
                return call(one)
            except openai.OpenAIError as error:
                return error

    async def asynchronous():
        made = openai.AsyncOpenAI if policy is None else AsyncOpenAI
        async with made(api_key=key, base_url=url, **ours, **client) as one:
            try:
                return await call(one)
            except openai.OpenAIError as error:
                return error

    return asyncio.run(asynchronous())


def chat(client):
    return client.chat.completions.create(**CHAT)


def raw(client):
    return client.chat.completions.with_raw_response.create(**CHAT)


def streamed(client):
    return client.chat.completions.create(**CHAT, stream=True)


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("policy", [EMPTY, FULL], ids=["empty", "full"])
def test_an_answer_has_the_headers_that_came(provider, make, key, kind, policy):
    """Headers, bytes and request of an answer are the plain SDK's; a full policy adds only its own headers."""
    provider.usual = lambda seen: make.answer(body=make.completion(), headers=SAID)
    without = ON_THE_WAY if policy is FULL else frozenset()
    expected = answered(outcome(kind, provider.url, key, raw).http_response, without)
    found = outcome(kind, provider.url, key, raw, policy).http_response
    assert answered(found, without) == expected
    assert (b"set-cookie", b"a=b; Path=/") in expected[1], "negative control: the headers were looked at"
    assert any(name.startswith("x-tailrace-") for name in found.headers) == (policy is FULL)


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("policy", [EMPTY, FULL], ids=["empty", "full"])
@pytest.mark.parametrize("status", STATUSES)
def test_a_refusal_is_the_sdks_own_to_the_last_header(provider, make, key, kind, policy, status):
    """For every status, class, message, body, headers and request of the error are the SDK's, also for streams."""
    provider.usual = lambda seen: make.answer(status, BODIES["an error"], SAID)
    without = ON_THE_WAY if policy is FULL else frozenset()
    for call in (chat, streamed):
        expected = outcome(kind, provider.url, key, call)
        found = outcome(kind, provider.url, key, call, policy)
        assert type(found) is type(expected) is STATUSES[status]
        assert told(found, without) == told(expected, without)
    assert expected.request_id == "req_7", "negative control: the headers were looked at"


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("policy", [EMPTY, FULL], ids=["empty", "full"])
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_a_refusal_in_any_words_is_the_sdks_own(provider, make, key, kind, policy, body):
    """A refusal that is empty, not JSON, or not in OpenAI's form, gives the same error as the plain SDK."""
    provider.usual = lambda seen: make.answer(502, body, {"content-type": "text/html"})
    without = ON_THE_WAY if policy is FULL else frozenset()
    expected = outcome(kind, provider.url, key, chat)
    assert told(outcome(kind, provider.url, key, chat, policy), without) == told(expected, without)


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("failure", ["refused", "cut", "timeout"])
def test_a_failure_is_the_sdks_own_with_its_request(provider, make, key, kind, failure):
    """Connection refused, no answer, timeout: class, message, cause and request are the plain SDK's."""
    answers = {"cut": make.answer(cut=True), "timeout": make.answer(body=make.completion(), delay_s=10)}
    provider.usual = lambda seen: answers[failure]
    url = "http://127.0.0.1:9/v1" if failure == "refused" else provider.url
    timeout_s = 0.2 if failure == "timeout" else 60
    expected = outcome(kind, url, key, chat, timeout=timeout_s)
    found = outcome(kind, url, key, chat, EMPTY, timeout=timeout_s)
    wanted = openai.APITimeoutError if failure == "timeout" else openai.APIConnectionError
    assert type(found) is type(expected) is wanted
    assert told(found) == told(expected)
    assert (type(found.__cause__), str(found.__cause__)) == (type(expected.__cause__), str(expected.__cause__))
    assert asked(found.request)[3], "negative control: the body was looked at"


CHANGES = {
    "a header less": lambda response: response.headers.pop("retry-after"),
    "a header more": lambda response: response.headers.update({"x-new": "1"}),
    "another value": lambda response: response.headers.update({"set-cookie": "a=c; Path=/"}),
    "another body": lambda response: setattr(response, "_content", b"{}"),
    "another header asked": lambda response: response.request.headers.update({"x-mine": "2"}),
    "another URL asked": lambda response: setattr(response.request, "url", response.request.url.join("/v2")),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_difference_is_seen(provider, make, key, change):
    """Negative control: the comparison detects a change in any part of an answer."""
    provider.usual = lambda seen: make.answer(429, BODIES["an error"], SAID)
    error = outcome("sync", provider.url, key, chat)
    for without in (frozenset(), ON_THE_WAY):
        before = told(error, without)
        assert told(error, without) == before
        change(error.response)
        assert told(error, without) != before
        error = outcome("sync", provider.url, key, chat)
