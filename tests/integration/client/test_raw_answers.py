"""The official SDK as oracle for raw bytes: what a server may send, as it stands on the wire, and what callers get."""

import asyncio
import contextlib
import gzip
import json
import socket
import struct
import threading
import zlib
from typing import NamedTuple

import httpx2
import openai
import pytest

from depth import FULL
from tailrace import AsyncOpenAI, OpenAI, Policy, Retry
from tailrace.client.senders.aiohttp import AiohttpSender
from tailrace.client.senders.fallback_parser import FallbackParser
from tailrace.client.senders.sockets import SocketSender

CHAT = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]}
TEXT = "héllo 😀"
BODY = json.dumps(
    {"id": "c", "object": "chat.completion", "created": 1, "model": "gpt-4o-mini",
     "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": TEXT}}],
     "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}}, ensure_ascii=False
).encode()  # fmt: skip
LONG = BODY.replace(TEXT.encode(), b"long " * 100_000)
ERROR = json.dumps({"error": {"message": "no", "type": "some_type", "code": "some_code", "param": None}}).encode()
JSON = "content-type: application/json\r\n"
ATTEMPTS = 2
TIMEOUT_S = 20
POLICY = Policy(cache=None, limits=None, guard=None, retry=Retry(attempts=ATTEMPTS, base_s=0.001, budget=None))
ON_THE_WAY = {"content-length", "connection", "keep-alive", "transfer-encoding", "content-encoding"}


class Closed(bytes):
    """An answer after which the server closes the connection. After others it waits: no client may need their end."""


class Reset(Closed):
    """An answer after which the server resets the connection."""


def http(body=BODY, head="", status="200 OK", length=True, kind=JSON, version="1.1"):
    """Return an answer; `head` stands between its other headers and its length."""
    head = f"HTTP/{version} {status}\r\n{kind}{head}" + (f"content-length: {len(body)}\r\n" if length else "") + "\r\n"
    return head.encode("latin-1") + body


def chunked(body=BODY, size=50, end=b"0\r\n\r\n", extension=b""):
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x%b\r\n%b\r\n" % (len(part), extension, part) for part in parts) + end


def flat(body):
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(body) + packer.flush()


def said(document, status="200 OK", head="", kind=JSON):
    return http(json.dumps(document).encode(), head, status, kind=kind)


def refusal(status, **error):
    return said({"error": error}, status)


def choice(**changed):
    good = json.loads(BODY)
    return {**good, "choices": [{**good["choices"][0], **changed}]}


def streamed(*documents, name=""):
    named = f"event: {name}\n" if name else ""
    return http("".join(f"{named}data: {json.dumps(one)}\n\n" for one in documents).encode() + DONE, kind=SSE)


def chunk(reason=None, **delta):
    choices = [{"index": 0, "delta": delta, "finish_reason": reason}]
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o-mini", "choices": choices}


def events(*texts):
    made = [*(chunk(content=text) for text in texts), chunk("stop")]
    return b"".join(b"data: %b\n\n" % json.dumps(one).encode() for one in made) + DONE


DONE = b"data: [DONE]\n\n"
CHUNKED, CLOSE = "transfer-encoding: chunked\r\n", "connection: close\r\n"
SSE = "content-type: text/event-stream\r\n"
GZIP, DEFLATE = "content-encoding: gzip\r\n", "content-encoding: deflate\r\n"
LENGTH = f"content-length: {len(BODY)}\r\n"
ERROR_502 = {"error": {"message": "m", "code": 502}}
MOVED = "location: /moved/v1/chat/completions\r\n"

SAME = {
    # status lines
    "no reason": http(status="200 "),
    "no reason and no blank": http(status="200"),
    "a reason in Latin-1": http(status="200 Tr\xe8s bien"),
    "a reason in UTF-8": http(status="200 d'accord \xc3\xa9"),
    "status 201": http(status="201 Created"),
    "status 299": http(status="299 Odd"),
    "status 418": http(ERROR, status="418 I'm a teapot"),
    "status 499": http(ERROR, status="499 Client Closed Request"),
    "status 529": http(ERROR, status="529 Overloaded"),
    "status 599": http(ERROR, status="599 Odd"),
    "HTTP/2.0": http(version="2.0"),
    "HTTP/3": http(version="3"),
    "status 600": http(ERROR, status="600 Odd"),
    "status 999": http(ERROR, status="999 Odd"),
    "status 099": http(ERROR, status="099 Odd"),
    "status 20": http(status="20 OK"),
    "HTTP/1.0": http(version="1.0"),
    "HTTP/1.0 to its end": Closed(http(version="1.0", length=False)),
    "no HTTP at all": Closed(b"220 smtp.example ESMTP\r\n"),
    "HTTP/0.9": Closed(BODY),
    "lower case http": http().replace(b"HTTP/1.1", b"http/1.1"),
    "two blanks after the version": http().replace(b"HTTP/1.1 ", b"HTTP/1.1  "),
    "nothing": Closed(b""),
    # interim answers
    "100 before": b"HTTP/1.1 100 Continue\r\n\r\n" + http(),
    "103 with headers before": b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\nx-early: 1\r\n\r\n" + http(),
    "three 102 before": b"HTTP/1.1 102 Processing\r\n\r\n" * 3 + http(),
    "a folded header in 103": b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n  </b>\r\n\r\n" + http(),
    "101 unasked": b"HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n",
    "200 that offers h2c": http(head="upgrade: h2,h2c\r\nconnection: upgrade\r\n"),
    # framing
    "LF line ends": http().replace(b"\r\n", b"\n"),
    "LF after the head": http().replace(b"\r\n\r\n", b"\n\n"),
    "to the end of the connection": Closed(http(length=False)),
    "chunks": http(chunked(), CHUNKED, length=False),
    "Chunked in capitals": http(chunked(), "Transfer-Encoding: CHUNKED\r\n", length=False),
    "chunks of one byte": http(chunked(size=1), CHUNKED, length=False),
    "chunk sizes with zeros": http(b"0000%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY), CHUNKED, length=False),
    "chunk sizes in capitals": http(b"%X\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY), CHUNKED, length=False),
    "chunk sizes with blanks": http(chunked(extension=b"  "), CHUNKED, length=False),
    "chunk extensions": http(chunked(extension=b";a=b;c=\"d e\""), CHUNKED, length=False),
    "chunk extensions beyond ASCII": http(chunked(extension=b";a=\xc3\xa9"), CHUNKED, length=False),
    "trailers": http(chunked(end=b"0\r\nx-sum: 1\r\ncontent-length: 3\r\n\r\n"), CHUNKED, length=False),
    "length and chunks": http(chunked(), LENGTH + CHUNKED, length=False),
    "a wrong length and chunks": http(chunked(), "content-length: 3\r\n" + CHUNKED, length=False),
    "length twice": http(head=LENGTH),
    "length twice, and a long body": http(LONG, f"content-length: {len(LONG)}\r\n"),
    "a folded header, and a long body": http(LONG, "x-a: 1\r\n 2\r\n"),
    "length as a list": http(head=f"content-length: {len(BODY)}, {len(BODY)}\r\n", length=False),
    "two lengths": Closed(http(head="content-length: 3\r\n")),
    "a negative length": http(head="content-length: -1\r\n", length=False),
    "a length with a plus": http(head=f"content-length: +{len(BODY)}\r\n", length=False),
    "a length in words": http(head="content-length: all\r\n", length=False),
    "another transfer encoding": Closed(http(chunked(), "transfer-encoding: gzip, chunked\r\n", length=False)),
    "transfer encoding identity": Closed(http(head="transfer-encoding: identity\r\n", length=False)),
    "a length without end": Closed(http(head=f"content-length: {'9' * 23}\r\n", length=False)),
    "no length in its header": Closed(http(head="content-length:\r\n", length=False)),
    "garbage after the answer": http() + b"garbage\r\n",
    "another answer after the answer": http() + http(ERROR, status="408 Request Timeout"),
    "data after a close": http(head=CLOSE) + b"more",
    # ends that come too early
    "cut in its length": Closed(http(head=f"content-length: {len(BODY) + 10}\r\n", length=False)),
    "cut in its chunks": Closed(http(chunked()[:-40], CHUNKED, length=False)),
    "cut before the last chunk": Closed(http(chunked(end=b""), CHUNKED, length=False)),
    "cut after the last chunk": Closed(http(chunked(end=b"0\r\n"), CHUNKED, length=False)),
    "cut in its head": Closed(http()[:40]),
    "reset after the answer": Reset(http()),
    "a chunk size that is none": http(b"zz\r\n", CHUNKED, length=False),
    # headers
    "UTF-8 in a header": http(head="x-organisation: J\xc3\xb6rg GmbH\r\n"),
    "Latin-1 in a header": http(head="x-organisation: J\xf6rg GmbH\r\n"),
    "both in headers": http(head="x-a: J\xf6rg\r\nx-b: J\xc3\xb6rg\r\n"),
    "CJK in an error's header": http(ERROR, head="x-a: \xe4\xbd\xa0\xe5\xa5\xbd\r\n", status="500 Oops"),
    "a folded header": http(head="x-a: 1\r\n 2\r\n"),
    "an empty header": http(head="x-a:\r\nx-b:   \r\n"),
    "a header with a tab": http(head="x-a: 1\t2\r\n"),
    "control characters in a header": http(head="x-a: a\x01b\x7f\r\n"),
    "names in mixed case": http(head="X-MiXeD: 1\r\nX_under: 2\r\n"),
    "a name with odd characters": http(head="x.a!#$%&'*+^`|~: 1\r\n"),
    "the same header three times": http(head="set-cookie: a=b\r\nset-cookie: c=d\r\nx-a: 1\r\nx-a: 2\r\n"),
    "a zero byte in a header": http(head="x-a: a\0b\r\n"),
    "a blank before the colon": http(head="x-a : 1\r\n"),
    "a name beyond ASCII": http(head="x\xc3\xa9: 1\r\n"),
    "a header without a colon": http(head="nonsense\r\n"),
    "a header without a name": http(head=": 1\r\n"),
    "a header of 60 KiB": http(head=f"x-a: {'a' * 60_000}\r\n"),
    "300 headers": http(head="".join(f"x-{number}: {number}\r\n" for number in range(300))),
    "a head of 99 KiB": http(head="".join(f"x-{number}: {'a' * 1000}\r\n" for number in range(99))),
    "a header of 99 KiB": http(head=f"x-a: {'a' * 99_000}\r\n"),
    "a head of 300 KiB in many headers": http(head="".join(f"x-{n}: {'a' * 3000}\r\n" for n in range(100))),
    "a head of 300 KiB": http(head=f"x-a: {'a' * 300_000}\r\n"),
    "two content types": http(head=JSON),
    # encodings
    "gzip": http(gzip.compress(BODY), GZIP),
    "gzip in chunks": http(chunked(gzip.compress(BODY), 7), GZIP + CHUNKED, length=False),
    "gzip of an error": http(gzip.compress(ERROR), GZIP, status="400 Bad Request"),
    "GZIP in capitals": http(gzip.compress(BODY), "Content-Encoding: GZIP\r\n"),
    "deflate": http(zlib.compress(BODY), DEFLATE),
    "raw deflate": http(flat(BODY), DEFLATE),
    "gzip twice": http(gzip.compress(gzip.compress(BODY)), "content-encoding: gzip, gzip\r\n"),
    "gzip after deflate, in two headers": http(gzip.compress(zlib.compress(BODY)), DEFLATE + GZIP),
    "gzip without its checksum": http(gzip.compress(BODY)[:-8], GZIP),
    "identity": http(head="content-encoding: identity\r\n"),
    "an empty encoding": http(head="content-encoding:\r\n"),
    "an encoding of one's own": http(head="content-encoding: aws-chunked\r\n"),
    "gzip that is none": http(BODY, GZIP),
    "gzip with a wrong checksum": http(gzip.compress(BODY)[:-8] + b"\0" * 8, GZIP),
    "401, gzip, and no body": http(b"", GZIP, status="401 Unauthorized"),
    "204 and gzip": http(b"", GZIP, status="204 No Content", length=False),
    # bodies
    "JSON after a byte order mark": http(b"\xef\xbb\xbf" + BODY),
    "JSON in UTF-16": http(BODY.decode().encode("utf-16")),
    "JSON after blank lines": http(b"\r\n \n" + BODY),
    "NaN in JSON": http(BODY.replace(b'"created": 1', b'"created": 1, "x": NaN')),
    # redirections
    "307": http(b"", MOVED, status="307 Temporary Redirect"),
    "307 with a page": http(b"<html>", MOVED, status="307 Temporary Redirect", kind="content-type: text/html\r\n"),
    "308": http(b"", MOVED, status="308 Permanent Redirect", kind=""),
    "302 without a location": http(b"", status="302 Found"),
    "307 without a location": http(b"", status="307 Temporary Redirect"),
    "300 with JSON": http(ERROR, status="300 Multiple Choices"),
    "304": http(b"", status="304 Not Modified", length=False),
    "304 with a length": http(b"", LENGTH, status="304 Not Modified", length=False),
    # refusals
    "401 without a body": http(b"", status="401 Unauthorized", kind=""),
    "413 of nginx": Closed(
        http(b"<html>413", CLOSE, status="413 Payload Too Large", kind="content-type: text/html\r\n")
    ),
    "422 of FastAPI": http(b'{"detail": [{"loc": ["body"], "msg": "wrong"}]}', status="422 Unprocessable Entity"),
    "400 as a list": http(b'[{"error": {"code": 400, "message": "no", "status": "INVALID_ARGUMENT"}}]',
                          status="400 Bad Request"),
    "400 as a string": http(b'{"error": "no"}', status="400 Bad Request"),
    "429 in plain text": http(b"slow down", status="429 Too Many Requests", kind="content-type: text/plain\r\n"),
    "x-should-retry: false": http(ERROR, "x-should-retry: false\r\n", status="500 Oops"),
    "x-should-retry: true": http(ERROR, "x-should-retry: true\r\n", status="400 Bad Request"),
    "500 to the end of the connection": Closed(http(ERROR, status="500 Oops", length=False)),
    "429 on a page": http(b"<html><title>429</title><p>insufficient balance", status="429 No",
                          kind="content-type: text/html\r\n"),
    "402 with a page": http(b"<html><h1>402 Payment Required</h1>", status="402 No",
                            kind="content-type: text/html\r\n"),
    "402": refusal("402 Payment Required", message="Insufficient Balance", type="unknown_error", code="x"),
    "402 without a body": http(b"", status="402 Payment Required"),
    "quota under 403": refusal("403 Forbidden", message="x", code="insufficient_user_quota"),
    "budget exceeded under 400": refusal("400 Bad Request", message="x", type="budget_exceeded", code="400"),
    "a quota for a minute": refusal("429 No", message="Quota exceeded for requests per minute", code=429),
    "a rate in a list": said([{"error": {"code": 429, "message": "Resource has been exhausted (e.g. check quota).",
                                         "status": "RESOURCE_EXHAUSTED"}}], "429 No"),
    "a numeric code of a rate": refusal("429 No", message="x", code="1302"),
    "rate_limit_exceeded": refusal("429 No", message="x", type="requests", code="rate_limit_exceeded"),
    # what only looks like an error under 200
    "error null": said({**choice(), "error": None}),
    "an empty error": said({**choice(), "error": {}}),
    "a detail beside choices": said({**choice(), "detail": "none"}),
    "a code beside choices": said({**choice(), "code": 200, "msg": "ok"}),
    "an error in the text": said(choice(message={"role": "assistant", "content": json.dumps(ERROR_502)})),
    "a filtered answer": said(choice(finish_reason="content_filter")),
    "no finish reason": said(choice(finish_reason=None)),
    "an empty object": said({}),
    "null": said(None),
    "502 of a proxy": http(b"<html>bad gateway</html>", status="502 Bad Gateway", kind="content-type: text/html\r\n"),
}  # fmt: skip
STREAMED = {
    "a stream": http(chunked(events("a", "b")), CHUNKED, length=False, kind=SSE),
    "a stream to the end of the connection": Closed(http(events("a", "b"), length=False, kind=SSE)),
    "a stream with LF line ends": http(events("a"), kind=SSE).replace(b"\r\n", b"\n"),
    "a stream in gzip": http(chunked(gzip.compress(events("a", "b")), 9), GZIP + CHUNKED, length=False, kind=SSE),
    "a stream with blanks in chunk sizes": http(chunked(events("a"), extension=b" "), CHUNKED, length=False, kind=SSE),
    "a stream with length and chunks": http(chunked(events("a")), LENGTH + CHUNKED, length=False, kind=SSE),
    "a stream with a header in UTF-8": http(events("a"), "x-a: \xc3\xa9\r\n", kind=SSE),
    "a stream with trailers": http(chunked(events("a"), end=b"0\r\nx-a: 1\r\n\r\n"), CHUNKED, length=False, kind=SSE),
    "a stream with an error after text": streamed(chunk(content="a"), ERROR_502),
    "a stream with error null": streamed({**chunk(content="a"), "error": None}, chunk("stop")),
    "a refused stream": http(ERROR, status="400 Bad Request"),
}  # fmt: skip


MOST_BYTES = 1_000_000
SYNC_AND_ASYNC = ("sync", "async")


class Different(NamedTuple):
    """An answer that ours reads differently from the SDK: what each makes of it after how many requests, and why."""

    stock: str
    ours: str
    why: str
    raw: bytes
    kinds: tuple[str, ...] = SYNC_AND_ASYNC
    stream: bool = False


MORE_LENIENT = "an answer is better than none"
MALFORMED = "JSON that is cut or none counts as no answer, and is asked for again"
EXHAUSTED = "an exhausted quota is not asked again"
HIDDEN = "an error under a status of success is the error that it means"


def hidden(raw, ours, stock="answer 200 after 1", stream=False):
    return Different(stock, ours, HIDDEN, raw, stream=stream)


def exhausted(raw, error="RateLimitError 429"):
    return Different(f"{error} after 2", f"{error} after 1", EXHAUSTED, raw)


SERVER_ERROR = "InternalServerError 502 after 2"
DIFFERENT = {
    "chunks twice": Different("APIConnectionError after 2", "answer 200 after 1", MORE_LENIENT,
                              http(chunked(), CHUNKED * 2, length=False)),
    "a blank line before": Different("APIConnectionError after 2", "answer 200 after 1", MORE_LENIENT,
                                     b"\r\n" + http()),
    "a blank before the first header": Different(
        "APIConnectionError after 2", "answer 200 after 1", MORE_LENIENT,
        http().replace(b"OK\r\n", b"OK\r\n x-a: 1\r\n"), ("async",)),
    "a header folded with blanks": Different("answer 200 after 1", "answer 200 after 1", "aiohttp keeps all blanks",
                                             http(head="x-a: 1\r\n  2\r\n\t3\r\n"), ("async",)),
    "gzip of two members": Different("JSONDecodeError after 1", "answer 200 after 1", MORE_LENIENT,
                                     http(gzip.compress(BODY[:99]) + gzip.compress(BODY[99:]), GZIP)),
    "gzip that is cut": Different("JSONDecodeError after 1", "APIConnectionError after 2", MALFORMED,
                                  http(gzip.compress(BODY)[:-30], GZIP)),
    "a stream in gzip that is cut": Different("answer 200 after 1", "APIConnectionError after 1", "no end, no answer",
                                              http(gzip.compress(events("a"))[:-20], GZIP, kind=SSE), stream=True),
    "an unknown encoding": Different("UnicodeDecodeError after 1", "UnicodeDecodeError after 2", MALFORMED,
                                     http(b"\x8b\x01\x80xx", "content-encoding: none-such\r\n")),
    "no JSON": Different("JSONDecodeError after 1", "JSONDecodeError after 2", MALFORMED, http(b"<html>")),
    "JSON that is cut": Different("JSONDecodeError after 1", "JSONDecodeError after 2", MALFORMED, http(BODY[:50])),
    "no body": Different("JSONDecodeError after 1", "JSONDecodeError after 2", MALFORMED, http(b"")),
    "307 to itself": Different("APIConnectionError after 42", "APIConnectionError after 21",
                               "a circle of redirections is not gone through again",
                               http(b"", "location: \r\n", status="307 Temporary Redirect")),
    # quota
    "quota by code": exhausted(refusal("429 No", message="x", type="x", code="insufficient_quota")),
    "quota by type": exhausted(refusal("429 No", message="x", type="insufficient_quota", code=429)),
    "quota by message": exhausted(refusal("429 No", message="You exceeded your current quota, please check it.")),
    "quota by a string": exhausted(said({"error": "You exceeded your current quota"}, "429 No")),
    "quota at the top": exhausted(said({"code": "insufficient_quota", "message": "x"}, "429 No")),
    "quota in a detail": exhausted(said({"detail": {"code": "budget_exceeded", "message": "x"}}, "429 No")),
    "quota in a list": exhausted(said([{"error": {"message": "x", "code": "insufficient_quota"}}], "429 No")),
    "quota in gzip": exhausted(http(gzip.compress(b'{"error": {"code": "insufficient_quota"}}'), GZIP, "429 No")),
    "quota of Gemini": exhausted(said([{"error": {
        "code": 429, "message": "You exceeded your current quota, please check your plan and billing details.",
        "status": "RESOURCE_EXHAUSTED"}}], "429 No")),
    "quota of Zhipu": exhausted(refusal("429 No", message="x", code="1113")),
    "quota of Zhipu as a number": exhausted(refusal("429 No", message="x", code=1113)),
    "quota of LiteLLM": exhausted(refusal("429 No", message="x", type="budget_exceeded", code="400")),
    "quota of Anthropic": exhausted(said({"type": "error", "error": {"type": "billing_error", "message": "x"}},
                                         "429 No")),
    "quota of a day": exhausted(refusal("429 No", message="Quota exceeded for requests per day", code=429)),
    "quota as 402": exhausted(refusal("429 No", message="x", type="x", code=402)),
    "quota as 402 in digits": exhausted(refusal("429 No", message="x", code="402")),
    "quota in plain text": exhausted(http(b"You exceeded your current quota, please check your plan", status="429 No",
                                          kind="content-type: text/plain\r\n")),
    "quota in a list of messages": exhausted(refusal("429 No", message=["x", "You exceeded your current quota"])),
    "quota in problem details": exhausted(said({"title": "Insufficient credits", "status": 429}, "429 No")),
    "quota in camel case": exhausted(refusal("429 No", message="x", code="InsufficientFunds")),
    "quota on a page": exhausted(http(b"<html><title>402 Payment Required</title>", status="429 No",
                                      kind="content-type: text/html\r\n")),
    "quota after a byte order mark": exhausted(http(b'\xef\xbb\xbf{"error": {"code": "billing_error"}}',
                                                    status="429 No")),
    "quota with Retry-After": exhausted(said({"error": {"code": "insufficient_quota"}}, "429 No",
                                             "retry-after: 1\r\n")),
    "quota with x-should-retry": exhausted(said({"error": {"code": "insufficient_quota"}}, "429 No",
                                                "x-should-retry: true\r\n")),
    "quota under 500": exhausted(refusal("500 Oops", message="Budget has been exceeded!", type="budget_exceeded"),
                                 "InternalServerError 500"),
    "too large for a minute": exhausted(refusal("429 No", message="Request too large for x: limit 9", type="tokens"))
    ._replace(why="a request that is larger than the limit of a minute never succeeds"),
    # errors under a status of success
    "200 with 429 in it": hidden(refusal("200 OK", message="m", code=429), "RateLimitError 429 after 2"),
    "200 with 502 in it and no choices": hidden(said({"choices": [], **ERROR_502}), SERVER_ERROR),
    "200 with 503 in digits": hidden(refusal("200 OK", message="m", code="503"), "InternalServerError 503 after 2"),
    "200 with 401 in it": hidden(refusal("200 OK", message="m", code=401), "AuthenticationError 401 after 1"),
    "200 with a quota": hidden(refusal("200 OK", message="m", code="insufficient_quota"), "RateLimitError 429 after 1"),
    "200 with a context length": hidden(refusal("200 OK", message="maximum context length is 5"),
                                        "BadRequestError 400 after 1"),
    "200 with an error without a code": hidden(refusal("200 OK", message="Provider returned error"), SERVER_ERROR),
    "200 with an error as a string": hidden(said({"error": "overloaded"}), SERVER_ERROR),
    "200 with an error in a list": hidden(said([{"error": {"code": 503, "message": "m", "status": "UNAVAILABLE"}}]),
                                          "InternalServerError 503 after 2"),
    "200 with a detail": hidden(said({"detail": "upstream failed"}), SERVER_ERROR),
    "200 with a list of details": hidden(said({"detail": [{"loc": ["body"], "msg": "wrong", "type": "missing"}]}),
                                         "BadRequestError 400 after 1"),
    "200 with an error of Anthropic": hidden(
        said({"type": "error", "error": {"type": "overloaded_error", "message": "m"}}), SERVER_ERROR),
    "200 with an error of vLLM": hidden(said({"object": "error", "message": "m", "code": 500}),
                                        "InternalServerError 500 after 2"),
    "200 with finish_reason error": hidden(said(choice(finish_reason="error")), SERVER_ERROR),
    "200 with an error in a choice": hidden(said(choice(error=ERROR_502["error"])), SERVER_ERROR),
    "200 with choices null": hidden(said({**choice(), "choices": None}), SERVER_ERROR),
    "200 without choices": hidden(said({**choice(), "choices": []}), SERVER_ERROR),
    "200 with an error in plain text": hidden(said(ERROR_502, kind="content-type: text/plain\r\n"), SERVER_ERROR),
    "201 with an error": hidden(said(ERROR_502, "201 Created"), SERVER_ERROR, "answer 201 after 1"),
    # the same in streams
    "a stream that begins with an error": hidden(streamed(ERROR_502), SERVER_ERROR, "APIError after 1", True),
    "a stream with an error after the role": hidden(streamed(chunk(role="assistant", content=""), ERROR_502),
                                                    SERVER_ERROR, "APIError after 1", True),
    "a stream with a quota": hidden(streamed({"error": {"message": "m", "code": "insufficient_quota"}}),
                                    "RateLimitError 429 after 1", "APIError after 1", True),
    "a stream with an event named error": hidden(streamed({"message": "m", "type": "overloaded_error"}, name="error"),
                                                 SERVER_ERROR, stream=True),
    "a stream that ends with error": hidden(streamed(chunk("error")), SERVER_ERROR, stream=True),
    "a stream that ends with error after text": hidden(streamed(chunk(content="a"), chunk("error")),
                                                       "APIError after 1", stream=True),
    "JSON with an error for a stream": hidden(said(ERROR_502), SERVER_ERROR, stream=True),
}  # fmt: skip


class Server:
    """Answers each first segment of a path with its bytes, whatever is asked, and notes the paths."""

    def __init__(self, answers):
        self.answers = answers
        self.requests = []
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection):
        with connection, connection.makefile("rb") as said, contextlib.suppress(OSError, ValueError):
            while line := said.readline():
                target = line.split()[1].decode()
                length = 0
                while (line := said.readline()).strip():
                    if line.lower().startswith(b"content-length:"):
                        length = int(line[15:])
                answer = self.answers[target.split("/")[1]]
                self.requests.append(target)
                if length <= MOST_BYTES:  # else it is refused by its length, before it is read
                    said.read(length)
                connection.sendall(answer)
                if isinstance(answer, Reset):
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                if isinstance(answer, Closed):
                    return


class Stock(openai.OpenAI):
    def _calculate_retry_timeout(self, *_):
        return 0.0


class AsyncStock(openai.AsyncOpenAI):
    def _calculate_retry_timeout(self, *_):
        return 0.0


class Clients:
    """The SDK's two clients and ours, on one event loop, all with two attempts and the same server."""

    def __init__(self, server, key):
        self.server = server
        self._runner = asyncio.Runner()
        sdk = {"api_key": key, "base_url": server.url, "timeout": TIMEOUT_S, "max_retries": ATTEMPTS - 1}
        ours = {"api_key": key, "base_url": server.url, "timeout": TIMEOUT_S, "policy": POLICY}
        fresh = httpx2.Limits(max_keepalive_connections=0)  # else the SDK reads what came after one answer as the next
        self.made = {
            ("sync", "stock"): Stock(**sdk, http_client=openai.DefaultHttpxClient(limits=fresh)),
            ("async", "stock"): AsyncStock(**sdk, http_client=openai.DefaultAsyncHttpxClient(limits=fresh)),
            ("sync", "ours"): OpenAI(**ours),
            ("async", "ours"): AsyncOpenAI(**ours),
        }

    def close(self):
        for (kind, _), client in self.made.items():
            self._runner.run(client.close()) if kind == "async" else client.close()
        self._runner.close()
        self.server.close()

    def ask(self, kind, whose, path, stream=False, **arguments):
        """Return what a caller sees, and how often the provider was asked."""
        self.server.requests.clear()
        client = self.made[kind, whose].with_options(base_url=f"{self.server.url}/{path}/v1")
        create = client.chat.completions.with_raw_response.create
        arguments = {**CHAT, **arguments, "stream": stream}
        try:
            found = self._runner.run(_asked(create, arguments)) if kind == "async" else _ask(create, arguments)
        except openai.APIStatusError as error:
            sdks = next(one for one in type(error).__mro__ if one.__module__.startswith("openai"))
            answer = error.response
            found = sdks, error.status_code, error.code, error.message, _headers(answer.headers), answer.content
        except openai.APIConnectionError as error:
            found = (next(one for one in type(error).__mro__ if one.__module__.startswith("openai")),)
        except (ValueError, openai.APIError) as error:
            found = (type(error),)
        return found, len(self.server.requests)


def _ask(create, arguments):
    answer = create(**arguments)
    return _told(answer, list(answer.parse()) if arguments["stream"] else answer.parse())


async def _asked(create, arguments):
    answer = await create(**arguments)
    return _told(answer, [one async for one in answer.parse()] if arguments["stream"] else answer.parse())


def _told(answer, parsed):
    dumped = [one.model_dump() for one in parsed] if isinstance(parsed, list) else parsed and parsed.model_dump()
    return "answer", answer.status_code, dumped, _headers(answer.headers)


def _headers(headers):
    return sorted((name, value) for name, value in headers.multi_items()
                  if name not in ON_THE_WAY and not name.startswith("x-tailrace-"))  # fmt: skip


def _path(name):
    return "".join(letter if letter.isalnum() else "-" for letter in name)


@pytest.fixture(scope="module")
def clients():
    """The four clients."""
    answers = {"moved": http(), **{_path(name): raw for name, raw in {**SAME, **STREAMED}.items()},
               **{_path(name): one.raw for name, one in DIFFERENT.items()}}  # fmt: skip
    made = Clients(Server(answers), "sk-test")
    assert isinstance(made.made["sync", "ours"]._client._transport._send, SocketSender)
    assert isinstance(made.made["async", "ours"]._client._transport._send, AiohttpSender)
    yield made
    made.close()


def _rows(names):
    """Return names with kinds: all at full depth, at quick depth each name with one kind, in turn."""
    kinds = [SYNC_AND_ASYNC if FULL else (SYNC_AND_ASYNC[number % 2],) for number in range(len(names))]
    return [(name, kind) for name, some in zip(names, kinds, strict=True) for kind in some]


@pytest.mark.parametrize(("name", "kind"), _rows([*SAME, *STREAMED]))
def test_an_answer_is_what_the_sdk_makes_of_it(clients, kind, name):
    """Value, headers and error are the SDK's, and the provider is asked as often as the SDK asks it."""
    stream = name in STREAMED
    expected = clients.ask(kind, "stock", _path(name), stream)
    assert clients.ask(kind, "ours", _path(name), stream) == expected


@pytest.mark.parametrize(("name", "kind"), _rows(DIFFERENT))
def test_each_difference_is_known(clients, kind, name):
    """Where ours differs, it differs as the table says, and no row of the table is out of date."""
    row = DIFFERENT[name]
    stock, ours = (clients.ask(kind, whose, _path(name), row.stream) for whose in ("stock", "ours"))
    if kind not in row.kinds:
        assert ours == stock
        return
    assert ours != stock
    assert (_short(stock), _short(ours)) == (row.stock, row.ours)


@pytest.mark.filterwarnings("ignore:Sending a large body directly:ResourceWarning")  # aiohttp's advice
@pytest.mark.parametrize("kind", SYNC_AND_ASYNC)
def test_a_refusal_before_the_body_is_read_is_the_answer(clients, kind):
    """A proxy refuses a body by its length and closes: the caller gets the refusal, after one request."""
    big = [{"role": "user", "content": "x" * 12_000_000}]
    ours = clients.ask(kind, "ours", _path("413 of nginx"), messages=big)
    assert _short(ours) == "APIStatusError 413 after 1"
    if kind == "sync":  # the SDK's `AsyncOpenAI` does not read on when it cannot write on: a connection error
        assert ours == clients.ask(kind, "stock", _path("413 of nginx"), messages=big)


@pytest.mark.parametrize("kind", SYNC_AND_ASYNC)
@pytest.mark.parametrize("name", ["length and chunks", "length as a list", "a stream with length and chunks"])
def test_without_the_second_parser_the_answer_is_lost(clients, kind, name, monkeypatch):
    """Negative control: h11 reads what the fast parsers refuse; without it these rows fail."""

    def refuse(*_):
        raise ConnectionError("no second parser")

    monkeypatch.setattr(FallbackParser, "feed", refuse)
    assert _short(clients.ask(kind, "ours", _path(name), name in STREAMED)) == "APIConnectionError after 2"


OTHERS = [("gzip", "401, gzip, and no body"), ("UTF-8 in a header", "an empty header"),
          ("a header with a tab", "a folded header"), ("502 of a proxy", "500 to the end of the connection"),
          ("x-should-retry: true", "400 as a string")]  # fmt: skip


@pytest.mark.parametrize(("one", "other"), OTHERS)
def test_a_difference_is_seen(clients, one, other):
    """Negative control: another status, header, body or number of requests is another outcome."""
    for kind in SYNC_AND_ASYNC:
        assert clients.ask(kind, "ours", _path(one)) != clients.ask(kind, "ours", _path(other))


def _short(outcome):
    """Return an outcome in words, as in the table."""
    (what, *rest), requests = outcome
    status = f" {rest[0]}" if rest else ""
    return f"{what if isinstance(what, str) else what.__name__}{status} after {requests}"
