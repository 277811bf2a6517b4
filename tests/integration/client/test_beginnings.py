"""A JSON body after white space or a byte order mark: the policy reads in it what the provider reads."""

import asyncio
import json

import httpx2
import openai
import pytest

from tailrace import Cache, Fallback, Policy, Spend
from tailrace.client import BudgetExceeded, InputRejected, PriceUnknown, async_transport, transport

ASK = {"model": "gpt-4o-mini", "temperature": 0, "messages": [{"role": "user", "content": "hi"}]}
BEGINNINGS = {"white space": b" \r\n\t", "a byte order mark": b"\xef\xbb\xbf", "both": b"\xef\xbb\xbf\n"}


@pytest.fixture(params=["sync", "async"])
def post(request, provider, key, make):
    """Post bodies through a policy, one after the other; return the answers, or the error of the first that fails."""
    provider.usual = lambda seen: make.answer(body=make.completion())
    settings = {"headers": {"authorization": f"Bearer {key}", "content-type": "text/plain"}}

    def blocking(policy, path, bodies):
        with httpx2.Client(transport=transport(policy), **settings) as http:
            return [http.post(provider.url + path, content=body) for body in bodies]

    async def awaited(policy, path, bodies):
        async with httpx2.AsyncClient(transport=async_transport(policy), **settings) as http:
            return [await http.post(provider.url + path, content=body) for body in bodies]

    def act(policy, *bodies, path="/chat/completions"):
        try:
            if request.param == "sync":
                return blocking(policy, path, bodies)
            return asyncio.run(awaited(policy, path, bodies))
        except openai.OpenAIError as error:
            return error

    return act


def body(beginning, **changed):
    return beginning + json.dumps(ASK | changed).encode()


@pytest.mark.parametrize("beginning", BEGINNINGS.values(), ids=BEGINNINGS)
def test_the_beginning_of_a_body_hides_nothing_in_it(post, provider, make, beginning):
    """Cache, books, guard, spend and fallback see the model and the messages; the provider gets the bytes."""
    rows = []
    answers = post(Policy(hooks=(rows.append,)), *[body(beginning)] * 2)
    assert [answer.headers["x-tailrace-cache"] for answer in answers] == ["miss", "hit"]
    assert [(row.model, row.operation, row.cost_usd is None) for row in rows] == [("gpt-4o-mini", "chat", False)] * 2
    assert [seen.body for seen in provider.seen] == [body(beginning)]
    assert isinstance(post(Policy(), body(beginning, messages=[{"role": "evil", "content": "x"}])), InputRejected)
    assert type(post(Policy(spend=Spend(max_usd=0.0000001)), body(beginning))) is BudgetExceeded
    image = post(Policy(spend=Spend(max_usd=0.01)), body(beginning, model="gpt-image-1"), path="/images/generations")
    assert type(image) is BudgetExceeded
    provider.answers = [make.answer(404, body=b"{}")]
    post(Policy(cache=None, fallbacks=(Fallback(model="gpt-4o"),)), body(beginning))
    assert [seen.json["model"] for seen in provider.seen[1:]] == ["gpt-4o-mini", "gpt-4o"]


@pytest.mark.parametrize("beginning", [b"x", b"\xef\xbb", b"\x0b", b"\xc2\xa0", b"\xef\xbb\xbf" * 2])
def test_what_is_no_json_is_not_read(post, beginning):
    """Negative control: after anything else nothing is cached, and a hard limit knows no price."""
    answers = post(Policy(), *[body(beginning)] * 2)
    assert [answer.headers["x-tailrace-cache"] for answer in answers] == ["bypass"] * 2
    assert type(post(Policy(spend=Spend(max_usd=1.0)), body(beginning))) is PriceUnknown


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"])
def test_another_encoding_is_a_doubt(post, provider, encoding):
    """A parser may read it, so the guard refuses it; without a guard it is sent, never cached, and has no price."""
    text = body(b" ").decode().encode(encoding)
    error = post(Policy(), text)
    assert isinstance(error, InputRejected)
    assert "UTF-8" in str(error)
    assert not provider.seen
    unguarded = Policy(guard=None, cache=Cache(deterministic_only=False))
    assert [answer.headers["x-tailrace-cache"] for answer in post(unguarded, text, text)] == ["bypass"] * 2
    assert type(post(Policy(guard=None, spend=Spend(max_usd=1.0)), text)) is PriceUnknown
