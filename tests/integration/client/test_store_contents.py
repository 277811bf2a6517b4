"""A shared store under clients: their calls are counted in it, and what is deleted is fetched anew."""

import asyncio

import pytest

from tailrace import AsyncOpenAI, Cache, OpenAI, Policy, Sqlite, limits
from tailrace.client.stores.contents import Selection, purge, summary
from tailrace.client.stores.entry import tenant_digest
from tailrace.client.stores.sqlite_contents import SqliteContents

ASK = {"model": "gpt-4o-mini", "temperature": 0, "messages": [{"role": "user", "content": "hi"}]}


def deleted(path, selection):
    contents = SqliteContents(path)
    purge(contents, selection)
    contents.close()


async def in_tasks(provider, key, policy, path):
    async with AsyncOpenAI(api_key=key, base_url=provider.url, policy=policy) as client:
        for selection in (None, None, None, Selection(tenant="acme"), Selection(tenant="globex")):
            if selection:
                deleted(path, selection)
            with limits(tenant="acme"):
                await client.chat.completions.create(**ASK)


def in_threads(provider, key, policy, path):
    with OpenAI(api_key=key, base_url=provider.url, policy=policy) as client:
        for selection in (None, None, None, Selection(tenant="acme"), Selection(tenant="globex")):
            if selection:
                deleted(path, selection)
            with limits(tenant="acme"):
                client.chat.completions.create(**ASK)


@pytest.mark.parametrize("kind", ["threads", "tasks"])
def test_calls_are_counted_and_deleted_answers_are_fetched_anew(provider, key, tmp_path, kind):
    """Of five calls, a miss follows the purge of their tenant only; that of another, the control, changes nothing."""
    path = tmp_path / "llm.db"
    store = Sqlite(path)
    policy = Policy(cache=Cache(store=store))
    if kind == "threads":
        in_threads(provider, key, policy, path)
    else:
        asyncio.run(in_tasks(provider, key, policy, path))
    store.close()
    assert len(provider.seen) == 2
    contents = SqliteContents(path)
    (line,) = summary(contents, 0.0)
    contents.close()
    assert (line.model, line.tenant, line.entries) == ("gpt-4o-mini", tenant_digest("acme"), 1)
    assert (line.hits, line.misses) == (3, 2)
