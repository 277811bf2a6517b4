"""Which answers are cached and which are not, over real HTTP."""

import asyncio
import json

import openai
import pytest

from tailrace import AsyncOpenAI, Cache, OpenAI, Policy

ASK = {"model": "gpt-4o-mini", "temperature": 0, "messages": [{"role": "user", "content": "hi"}]}


def labels(client, times=2, **change):
    return [client.chat.completions.with_raw_response.create(**{**ASK, **change}).headers["x-tailrace-cache"]
            for _ in range(times)]  # fmt: skip


NEVER = {
    "not deterministic": ({"temperature": 1}, {}),
    "temperature not given": ({"temperature": openai.omit}, {}),
    "cut by length": ({}, {"finish": "length"}),
    "filtered": ({}, {"finish": "content_filter"}),
}


@pytest.mark.parametrize(("change", "answer"), NEVER.values(), ids=NEVER.keys())
def test_is_never_kept(provider, make, key, change, answer):
    """An answer that is not complete, or not deterministic, is not cached."""
    provider.usual = lambda seen: make.answer(body=make.completion(**answer))
    with OpenAI(api_key=key, base_url=provider.url) as client:
        assert "hit" not in labels(client, times=3, **change)
    assert len(provider.seen) == 3


@pytest.mark.parametrize("status", [400, 401, 404, 422, 500])
def test_an_error_is_never_kept(provider, make, key, status):
    """After an error the same question is sent again, and answered."""
    provider.answers = [make.answer(status, b'{"error": {"message": "no"}}')]
    with OpenAI(api_key=key, base_url=provider.url, policy=Policy(retry=None)) as client:
        with pytest.raises(openai.APIStatusError):
            client.chat.completions.create(**ASK)
        assert labels(client) == ["miss", "hit"]


def test_stream_hits_replay_every_byte(provider, key):
    """A stream is stored once its terminator has come, and replayed chunk by chunk, byte for byte."""
    with OpenAI(api_key=key, base_url=provider.url) as client:
        replies = []
        for _ in range(2):
            with client.chat.completions.with_streaming_response.create(**ASK, stream=True) as answer:
                replies.append((answer.headers["x-tailrace-cache"], list(answer.iter_bytes())))
        parsed = [[chunk.model_dump() for chunk in client.chat.completions.create(**ASK, stream=True)] for _ in "12"]
    assert [label for label, _ in replies] == ["miss", "hit"]
    assert b"".join(replies[0][1]) == b"".join(replies[1][1])
    assert parsed[0] == parsed[1]
    assert len(provider.seen) == 1


CUT = {
    "connection closed": {"done": False, "cut": True},
    "ended without terminator": {"done": False},
    "ended without reason": {"finish": None},
    "by length": {"finish": "length"},
}


@pytest.mark.parametrize("how", CUT.values(), ids=CUT.keys())
def test_a_cut_stream_is_never_kept(provider, make, key, how):
    """A stream that is not complete is never replayed."""
    how = dict(how)
    cut = how.pop("cut", False)
    answer = make.answer(headers={"content-type": "text/event-stream"}, chunks=make.events("a", "b", **how), cut=cut)
    provider.usual = lambda seen: answer
    with OpenAI(api_key=key, base_url=provider.url) as client:
        for _ in range(2):
            stream = client.chat.completions.create(**ASK, stream=True)
            assert stream.response.headers["x-tailrace-cache"] == "miss"
            try:
                list(stream)
            except openai.APIConnectionError:
                assert cut
    assert len(provider.seen) == 2


def test_a_stream_that_is_left_is_not_kept_unless_it_was_over(provider, make, key):
    """A stream that is left in the middle is not stored; one that is left after its terminator is."""

    async def main():
        async with AsyncOpenAI(
            api_key=key, base_url=provider.url, policy=Policy(cache=Cache(coalesce=False))
        ) as client:
            stream = await client.chat.completions.create(**ASK, stream=True)
            await anext(stream)
            await stream.close()
            for _ in range(2):
                stream = await client.chat.completions.create(**ASK, stream=True)
                assert len([chunk async for chunk in stream]) == 3
                yield stream.response.headers["x-tailrace-cache"]

    async def collected():
        return [label async for label in main()]

    provider.usual = lambda seen: make.answer(
        headers={"content-type": "text/event-stream"}, chunks=make.events("a", "b"), between_s=0.01
    )
    assert asyncio.run(collected()) == ["miss", "hit"]


def test_the_callers_cache_control_is_followed(provider, key):
    """`no-store` bypasses the cache, `no-cache` fetches and stores, `max-age` opts in and limits the age."""

    def label(value, **change):
        answer = client.chat.completions.with_raw_response.create(
            **{**ASK, **change}, extra_headers={"cache-control": value}
        )
        return answer.headers["x-tailrace-cache"]

    with OpenAI(api_key=key, base_url=provider.url) as client:
        assert [label("no-store"), label("no-store")] == ["bypass", "bypass"]
        assert labels(client) == ["miss", "hit"]
        assert [label("no-cache"), label("max-age=60"), label("max-age=0")] == ["miss", "hit", "miss"]
        assert [label("max-age=60", temperature=1), label("max-age=60", temperature=1)] == ["miss", "hit"]
        assert label("max-age=60", temperature=0.9) == "miss"


def test_a_default_header_that_forbids_the_cache_is_followed(provider, key):
    """`cache-control: no-cache` set once on the client holds for every call, the fast path included."""
    headers = {"Cache-Control": "no-cache"}
    with OpenAI(api_key=key, base_url=provider.url, default_headers=headers) as client:
        for _ in range(3):
            client.chat.completions.create(**ASK)
    assert len(provider.seen) == 3


RESPONSE = {
    "id": "resp_1", "object": "response", "created_at": 1, "model": "gpt-5", "status": "completed", "tools": [],
    "parallel_tool_calls": True, "tool_choice": "auto", "usage": {"input_tokens": 1, "output_tokens": 1},
    "output": [{"type": "message", "id": "m", "role": "assistant", "status": "completed",
                "content": [{"type": "output_text", "text": "yes", "annotations": []}]}],
}  # fmt: skip
TURNS = {
    "conversation": {"conversation": "conv_1"},
    "response before": {"previous_response_id": "resp_0"},
    "stored": {"store": True},
    "background": {"background": True},
    "hosted tool": {"tools": [{"type": "web_search"}]},
    "file": {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "file_1"}]}]},
}
NOTHING = {"store": False, "background": False, "previous_response_id": None, "conversation": None, "tools": []}
OPTED_IN = {
    "by the policy": (Policy(cache=Cache(deterministic_only=False)), {}),
    "by the call": (Policy(), {"extra_headers": {"cache-control": "max-age=60"}}),
    "by temperature": (Policy(), {"temperature": 0}),
}


def responding(provider, make, delay_s=0.0):
    provider.usual = lambda seen: make.answer(body=json.dumps(RESPONSE).encode(), delay_s=delay_s)


@pytest.mark.parametrize(("policy", "opted_in"), OPTED_IN.values(), ids=OPTED_IN.keys())
def test_a_call_with_a_side_effect_is_sent_each_time(provider, make, key, policy, opted_in):
    """A turn of a conversation and its kind reach the provider, whatever the caller opted in to."""
    responding(provider, make)
    with OpenAI(api_key=key, base_url=provider.url, policy=policy) as client:
        for turn in TURNS.values():
            for _ in range(2):
                client.responses.create(**{"model": "gpt-5", "input": "yes", **opted_in, **turn})
    assert len(provider.seen) == 2 * len(TURNS)


@pytest.mark.parametrize(("policy", "opted_in"), OPTED_IN.values(), ids=OPTED_IN.keys())
def test_a_call_that_names_no_side_effect_is_answered_from_the_cache(provider, make, key, policy, opted_in):
    """The negative control: the same names with values that say "no state" change nothing."""
    responding(provider, make)
    with OpenAI(api_key=key, base_url=provider.url, policy=policy) as client:
        for name, value in NOTHING.items():
            for _ in range(2):
                client.responses.create(model="gpt-5", input="yes", **{name: value}, **opted_in)
    assert len(provider.seen) == len(NOTHING)


@pytest.mark.parametrize(("turn", "requests"), [(TURNS["conversation"], 3), (NOTHING, 1)], ids=["turn", "no turn"])
def test_turns_are_never_coalesced(provider, make, key, turn, requests):
    """Three turns at once are three requests; three questions at once, the control, are one."""
    responding(provider, make, delay_s=0.3)
    policy = Policy(cache=Cache(deterministic_only=False))

    async def main():
        async with AsyncOpenAI(api_key=key, base_url=provider.url, policy=policy) as client:
            await asyncio.gather(*(client.responses.create(model="gpt-5", input="yes", **turn) for _ in range(3)))

    asyncio.run(main())
    assert len(provider.seen) == requests
