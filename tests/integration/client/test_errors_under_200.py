"""Errors that a provider sends under a status of success: for the caller, the retries, the fallbacks and the books
they are the errors that they mean."""

import asyncio
import contextlib
import json
import socket
import threading
from dataclasses import replace
from typing import NamedTuple

import openai
import pytest

from tailrace import AsyncOpenAI, Cache, Fallback, OpenAI, Policy, Retry

MESSAGES = [{"role": "user", "content": "hello"}]
ASKED = {"model": "gpt-4o-mini", "temperature": 0, "messages": MESSAGES}
GOOD = {"id": "c", "object": "chat.completion", "created": 1, "model": "gpt-4o-mini",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hi"}}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}}  # fmt: skip
ENDED = {**GOOD, "choices": [{**GOOD["choices"][0], "finish_reason": "error"}]}
BROKEN_CHOICE = {**GOOD, "choices": [{**GOOD["choices"][0], "error": {"code": 502, "message": "upstream"}}]}
ROLE = {"id": "c", "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}]}
TEXT = {"id": "c", "choices": [{"index": 0, "delta": {"content": "hi"}, "finish_reason": None}]}
LAST = {"id": "c", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}


class Typed(NamedTuple):
    """A body with its content type; None for none."""

    kind: str | None
    body: bytes


def event(document, name=""):
    return (f"event: {name}\n" if name else "").encode() + b"data: " + json.dumps(document).encode() + b"\n\n"


GOOD_STREAM = (event(ROLE), event(TEXT), event(LAST), b"data: [DONE]\n\n")


@contextlib.contextmanager
def provider(answer):
    """Serve what `answer(n, body)` gives for the nth request: JSON, or a tuple of the pieces of a stream."""
    server, bodies = socket.create_server(("127.0.0.1", 0)), []

    def serve(connection):
        held = b""
        with contextlib.suppress(OSError), connection:
            while True:
                while b"\r\n\r\n" not in held:
                    data = connection.recv(65536)
                    if not data:
                        return
                    held += data
                head, _, held = held.partition(b"\r\n\r\n")
                lines = head.lower().split(b"\r\n")
                size = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)
                while len(held) < size:
                    held += connection.recv(65536)
                bodies.append(json.loads(held[:size]))
                held = held[size:]
                send(connection, answer(len(bodies), bodies[-1]))

    def accept():
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    with server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/v1", bodies
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)


def send(connection, answer):
    if type(answer) is tuple:
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        for piece in answer:
            connection.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
        connection.sendall(b"0\r\n\r\n")
        return
    kind, body = answer if isinstance(answer, Typed) else ("application/json", json.dumps(answer).encode())
    lines = ["HTTP/1.1 200 OK", f"content-length: {len(body)}", *([f"content-type: {kind}"] if kind else []), "", ""]
    connection.sendall("\r\n".join(lines).encode() + body)


def ask(asynchronous, url, policy, times=1, **arguments):
    """Return the text of each answer, or the error in its place."""
    arguments = {**ASKED, **arguments}

    def text(answer):
        return answer.choices[0].message.content

    async def asynchronously():
        found = []
        async with AsyncOpenAI(base_url=url, api_key="sk-test", policy=policy) as client:
            for _ in range(times):
                try:
                    answer = await client.chat.completions.create(**arguments)
                    parts = [chunk async for chunk in answer] if arguments.get("stream") else None
                    found.append(text(answer) if parts is None else joined(parts))
                except openai.APIError as error:
                    found.append(error)
        return found

    if asynchronous:
        return asyncio.run(asynchronously())
    found = []
    with OpenAI(base_url=url, api_key="sk-test", policy=policy) as client:
        for _ in range(times):
            try:
                answer = client.chat.completions.create(**arguments)
                found.append(joined(list(answer)) if arguments.get("stream") else text(answer))
            except openai.APIError as error:
                found.append(error)
    return found


def joined(chunks):
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)


BODIES = [
    ("a code that is a status", {"error": {"message": "m", "code": 429}}, 429, True),
    ("502, and no choices", {"id": "x", "choices": [], "error": {"message": "m", "code": 502}}, 502, True),
    ("a code in digits", {"error": {"message": "m", "code": "503"}}, 503, True),
    ("no code", {"error": {"message": "Provider returned error"}}, 502, True),
    ("a text", {"error": "Model is overloaded"}, 502, True),
    ("a rate by its type", {"error": {"message": "m", "type": "rate_limit_error"}}, 429, True),
    ("Anthropic's", {"type": "error", "error": {"type": "overloaded_error", "message": "m"}}, 502, True),
    ("vLLM's", {"object": "error", "message": "m", "code": 500}, 500, True),
    ("a list", [{"error": {"code": 503, "message": "m", "status": "UNAVAILABLE"}}], 503, True),
    ("a gateway's", {"code": 500, "msg": "internal", "success": False}, 500, True),
    ("FastAPI's", {"detail": "upstream failed"}, 502, True),
    ("finish_reason error", ENDED, 502, True),
    ("an error in a choice", BROKEN_CHOICE, 502, True),
    ("choices null", {**GOOD, "choices": None}, 502, True),
    ("no choices", {**GOOD, "choices": []}, 502, True),
    ("quota", {"error": {"message": "m", "code": "insufficient_quota"}}, 429, False),
    ("credential", {"error": {"message": "m", "code": 401}}, 401, False),
    ("context length", {"error": {"message": "maximum context length is 5"}}, 400, False),
    ("a wrong request", {"error": {"message": "m", "type": "invalid_request_error"}}, 400, False),
]


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize(("body", "status", "retried"), [row[1:] for row in BODIES], ids=[row[0] for row in BODIES])
def test_an_error_under_200_is_the_error_that_it_means(asynchronous, body, status, retried):
    """The caller gets the SDK's error of that status, after retries where they can help, and it is booked and never
    stored."""
    calls = []
    policy = Policy(cache=Cache(), retry=Retry(attempts=2, base_s=0.001), hooks=(calls.append,))
    with provider(lambda n, asked: body) as (url, bodies):
        first, second = ask(asynchronous, url, policy, 2)
    assert [first.status_code, second.status_code] == [status, status]
    assert len(bodies) == (4 if retried else 2)
    assert {(call.outcome, call.status) for call in calls} == {("error", status)}


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("body", [row[1] for row in BODIES if row[3]], ids=[row[0] for row in BODIES if row[3]])
def test_the_answer_of_a_retry_takes_its_place(asynchronous, body):
    """Negative control of the above: a good answer under 200 is one, and is stored."""
    policy = Policy(cache=Cache(), retry=Retry(attempts=2, base_s=0.001))
    with provider(lambda n, asked: body if n == 1 else GOOD) as (url, bodies):
        assert ask(asynchronous, url, policy, 2) == ["hi", "hi"]
    assert len(bodies) == 2


PIECES = [
    ("at once", [event({"error": {"message": "m", "code": 429}})], 429),
    ("after comments", [b": WAIT\n\n", b": WAIT\n\n", event({"error": {"message": "m", "code": 502}})], 502),
    ("after the role", [event(ROLE), event({"error": {"message": "m", "code": 503}})], 503),
    ("after a role in pieces", [event(ROLE)[:20], event(ROLE)[20:], event({"error": {"message": "m"}})], 502),
    ("of an event named error", [event({"message": "m", "type": "overloaded_error"}, "error")], 502),
    ("of an event that is text", [b"event: error\ndata: upstream failed\n\n"], 502),
    ("a choice that ends with it", [event({**ROLE, "choices": [{"index": 0, "delta": {}, "finish_reason": "error"}]})],
     502),
    ("JSON in place of events", [json.dumps({"error": {"message": "m", "code": 502}}).encode()], 502),
]  # fmt: skip


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize(("pieces", "status"), [row[1:] for row in PIECES], ids=[row[0] for row in PIECES])
def test_a_stream_that_begins_with_an_error_is_that_error(asynchronous, pieces, status):
    """Before its first token, an error of a stream is retried and given to the fallback; else it is raised at once."""
    retry, calls = Retry(attempts=2, base_s=0.001), []
    with provider(lambda n, asked: tuple(pieces)) as (url, bodies):
        policy = Policy(retry=retry, hooks=(calls.append,))
        (error,) = ask(asynchronous, url, policy, stream=True)
    assert (error.status_code, len(bodies)) == (status, 2)
    assert [(call.outcome, call.status, call.attempts) for call in calls] == [("error", status, 2)]

    def other(n, asked):
        return GOOD_STREAM if asked["model"] == "gpt-4.1" else tuple(pieces)

    with provider(other) as (url, bodies):
        policy = Policy(retry=None, fallbacks=(Fallback(model="gpt-4.1"),))
        assert ask(asynchronous, url, policy, stream=True) == ["hi"]
    assert [asked["model"] for asked in bodies] == ["gpt-4o-mini", "gpt-4.1"]


@pytest.mark.parametrize("asynchronous", [False, True])
def test_an_error_after_the_first_token_is_the_readers(asynchronous):
    """Negative control: what the caller has begun to read is never sent again."""
    pieces = (event(ROLE), event(TEXT), event({"error": {"message": "m", "code": 502}}))
    with provider(lambda n, asked: tuple(pieces)) as (url, bodies):
        (error,) = ask(asynchronous, url, Policy(retry=Retry(base_s=0.001)), stream=True)
    assert type(error) is openai.APIError
    assert len(bodies) == 1


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_good_stream_is_handed_on_byte_for_byte(asynchronous):
    """Reading ahead loses no chunk, neither for the caller nor for the cache."""
    with provider(lambda n, asked: (b": hello\n\n", *GOOD_STREAM)) as (url, bodies):
        assert ask(asynchronous, url, Policy(), 2, stream=True) == ["hi", "hi"]
    assert len(bodies) == 1


FALLBACKS = [
    ({"message": "Insufficient Balance", "code": 402}, "quota"),
    ({"message": "m", "code": 404}, "model"),
    ({"message": "m", "code": 401}, "credential"),
    ({"message": "m", "code": "context_length_exceeded"}, "context_length"),
    ({"message": "m", "code": "content_filter"}, "content_filter"),
    ({"message": "m", "code": 429}, "rate_limit"),
    ({"message": "m", "code": 500}, "server"),
]


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize(("error", "cause"), FALLBACKS, ids=[row[1] for row in FALLBACKS])
def test_a_fallback_is_asked_for_the_causes_that_the_policy_names(asynchronous, error, cause):
    """By default for every cause but a wrong request. Negative control: not for a cause that was taken out."""

    def answer(n, asked):
        return GOOD if asked["model"] == "gpt-4.1" else {"error": error}

    def run(**settings):
        policy = Policy(cache=None, retry=None, fallbacks=(Fallback(model="gpt-4.1"),), **settings)
        with provider(answer) as (url, bodies):
            return ask(asynchronous, url, policy)[0], len(bodies)

    assert run() == ("hi", 2)
    assert run(fallback_on={cause}) == ("hi", 2)
    assert run(fallback_on=Policy().fallback_on - {cause})[1] == 1


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_wrong_request_is_wrong_at_a_fallback_too(asynchronous):
    """No fallback is asked for it, unless the policy says so."""
    fallbacks, wrong = (Fallback(model="gpt-4.1"),), {"error": {"message": "m", "type": "invalid_request_error"}}
    for fallback_on, requests in ((Policy().fallback_on, 1), ({"request"}, 2)):
        with provider(lambda n, asked: wrong) as (url, bodies):
            policy = Policy(cache=None, fallbacks=fallbacks, fallback_on=fallback_on)
            assert ask(asynchronous, url, policy)[0].status_code == 400
            assert len(bodies) == requests


KINDS = ["application/json", "Application/JSON; charset=utf-8", "text/json", "application/problem+json", "text/plain",
         "Text/Plain; charset=utf-8", "text/html", "application/octet-stream", None]  # fmt: skip


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_json_is_json_under_any_content_type(asynchronous, kind):
    """What the SDK gives its caller is a good answer in the books, and is stored; an error in it is one."""
    calls = []
    policy = Policy(retry=None, hooks=(calls.append,))
    with provider(lambda n, asked: Typed(kind, json.dumps(GOOD).encode())) as (url, _bodies):
        assert ask(asynchronous, url, policy, 2) == ["hi", "hi"]
    assert [(call.outcome, call.cache, call.in_tok) for call in calls] == [("ok", "miss", 3), ("ok", "hit", 3)]
    uncached = replace(policy, cache=None)  # the next provider may get the port of the last one
    with provider(lambda n, asked: Typed(kind, b'{"error": {"code": 503, "message": "m"}}')) as (url, _bodies):
        assert ask(asynchronous, url, uncached)[0].status_code == 503
    assert (calls[-1].outcome, calls[-1].status) == ("error", 503)


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("kind", ["text/event-stream", "Text/Event-Stream; charset=utf-8", *KINDS])
def test_events_are_events_under_any_content_type(asynchronous, kind):
    """The same for a stream. Negative control: what is neither JSON nor events is malformed JSON, where it says so."""
    calls = []
    policy = Policy(retry=Retry(attempts=2, base_s=0.001), hooks=(calls.append,))
    with provider(lambda n, asked: Typed(kind, b"".join(GOOD_STREAM))) as (url, bodies):
        assert ask(asynchronous, url, policy, 2, stream=True) == ["hi", "hi"]
    assert [(call.outcome, call.cache) for call in calls] == [("ok", "miss"), ("ok", "hit")]
    uncached = replace(policy, cache=None)  # the next provider may get the port of the last one
    with provider(lambda n, asked: Typed(kind, event({"error": {"code": 503, "message": "m"}}))) as (url, bodies):
        assert ask(asynchronous, url, uncached, stream=True)[0].status_code == 503
    with provider(lambda n, asked: Typed("application/json", b"<html>")) as (url, bodies):
        ask(asynchronous, url, uncached, stream=True)
    assert (calls[-1].outcome, calls[-1].error_type, len(bodies)) == ("error", "bad_body", 2)


def test_a_cause_that_does_not_exist_is_refused():
    """The message names those that do."""
    with pytest.raises(ValueError, match=r"fallback_on=.*'late'.*expected a set of connection, content_filter"):
        Policy(fallback_on={"late"})
