"""Several keys and deployments over real HTTP: three simulators, of which one is at its rate limit."""

import asyncio
import io
import subprocess
import sys

import httpx2
import openai
import pytest

from tailrace import AsyncOpenAI, OpenAI, Policy, Retry, Target

ASK = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]}
CALLS, AT_ONCE = 90, 6


@pytest.fixture(scope="module")
def deployments():
    """The URLs of three simulators, each in a process of its own."""
    command = [sys.executable, "-m", "tailrace.simulator", "--ttft-s", "0.002", "--token-s", "0"]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    try:
        yield [process.stdout.readline().split()[-1] for process in processes]
    finally:
        for process in processes:
            process.terminate()
            process.wait()
            process.stdout.close()


@pytest.fixture
def limited(deployments, monkeypatch):
    """Sets the second deployment to its rate limit; `requests()` counts what each has got since."""
    for letter in "ABC":
        monkeypatch.setenv(f"KEY_{letter}", f"sk-{letter}")
    with httpx2.Client() as http:

        def admin(url, method, path, body=None):
            return http.request(method, f"{url.removesuffix('/v1')}/admin/{path}", json=body).json()

        for number, url in enumerate(deployments):
            admin(url, "POST", "reset")
            admin(url, "PUT", "faults", [{"kind": "rate_limit", "retry_after_s": 600}] if number == 1 else [])
        yield lambda: [admin(url, "GET", "stats")["requests"] for url in deployments]


def targets(deployments, *weights):
    return tuple(
        Target(url, f"KEY_{letter}", weight=weight)
        for url, letter, weight in zip(deployments, "ABC", weights, strict=True)
    )


async def asked(policy, url):
    """Make the calls, a few at a time, and return how many were answered."""
    free = asyncio.Semaphore(AT_ONCE)

    async def one(client):
        async with free:
            return (await client.chat.completions.create(**ASK)).choices

    async with AsyncOpenAI(api_key="sk-own", base_url=url, policy=policy) as client:
        return len(await asyncio.gather(*(one(client) for _ in range(CALLS))))


def test_of_three_keys_one_is_at_its_limit_and_nobody_notices(deployments, limited):
    """90 calls, six at a time: all are answered without a wait; the limited one gets six at most.

    The others share the rest by weight. Negative control: at the limited one alone, the call fails.
    """
    rows = []
    policy = Policy(cache=None, targets=targets(deployments, 1, 1, 2), hooks=(rows.append,))
    assert asyncio.run(asked(policy, deployments[1])) == CALLS
    first, second, third = limited()
    assert second <= AT_ONCE
    assert first + third == CALLS
    assert abs(third - 2 * first) <= AT_ONCE
    assert sum(row.attempts for row in rows) == CALLS + second
    assert sum(row.backoff_s for row in rows) == 0
    with (
        OpenAI(api_key="sk-own", base_url=deployments[1], policy=Policy(retry=None)) as client,
        pytest.raises(openai.RateLimitError),
    ):
        client.chat.completions.create(**ASK)


def test_threads_share_what_is_known_of_the_targets(deployments, limited):
    """One blocking client: the limited key is asked once in thirty calls, streams among them."""
    policy = Policy(cache=None, targets=targets(deployments, 1, 1, 1))
    with OpenAI(api_key="sk-own", base_url=deployments[1], policy=policy) as client:
        for number in range(30):
            answer = client.chat.completions.create(**ASK, stream=number % 2 == 0)
            assert list(answer) if number % 2 == 0 else answer.choices
    assert limited() == [15, 1, 15]


SENDERS = ["sockets", "httpx2"]


@pytest.mark.parametrize("sender", SENDERS)
def test_another_key_for_the_same_url_is_sent_by_every_sender(provider, key, monkeypatch, sender):
    """Requests that differ from the caller's in nothing but their key carry that key; `Target()` keeps the caller's."""
    monkeypatch.setenv("OTHER_KEY", "other")
    policy = Policy(cache=None, targets=(Target(api_key_env="OTHER_KEY"), Target()))
    http = {"http_client": httpx2.Client()} if sender == "httpx2" else {}
    with OpenAI(api_key=key, base_url=provider.url, policy=policy, **http) as client:
        for _ in range(4):
            client.chat.completions.create(**ASK)

    async def main():
        own = {"http_client": httpx2.AsyncClient()} if sender == "httpx2" else {}
        async with AsyncOpenAI(api_key=key, base_url=provider.url, policy=policy, **own) as client:
            for _ in range(4):
                await client.chat.completions.create(**ASK)

    asyncio.run(main())
    assert [seen.headers["authorization"] for seen in provider.seen] == ["Bearer other", f"Bearer {key}"] * 4


def test_an_upload_goes_on_to_another_target_whole(provider, make, key, monkeypatch):
    """A recording that one key refuses for now is sent to the next one, from its beginning and with that key."""
    monkeypatch.setenv("OTHER_KEY", "other")
    provider.answers = [make.answer(429, b"{}", {"retry-after": "600"})]
    provider.usual = lambda seen: make.answer(body=b'{"text": "hello"}')
    policy = Policy(
        cache=None, retry=Retry(budget=0.0, budget_burst=0), targets=(Target(), Target(api_key_env="OTHER_KEY"))
    )
    with OpenAI(api_key=key, base_url=provider.url, policy=policy) as client:
        heard = client.audio.transcriptions.create(model="whisper-1", file=("a.wav", io.BytesIO(b"RIFF" * 1000)))
    assert heard.text == "hello"
    first, second = provider.seen
    assert first.body == second.body
    assert b"RIFF" * 1000 in second.body
    assert [seen.headers["authorization"] for seen in (first, second)] == [f"Bearer {key}", "Bearer other"]
