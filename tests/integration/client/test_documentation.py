"""The client's page: each feature has an example, and each example runs as it stands."""

import ast
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

import tailrace
from tailrace import Breaker, Cache, Fallback, Guard, Limits, Policy, Retry, Spend, Target, profile
from tailrace.client import errors
from tailrace.errors import ProfileError
from tailrace.service.settings import Settings

PATH = Path(__file__).parents[3] / "runbook" / "procedures" / "client.md"
PAGE = PATH.read_text()
SECTIONS = {text.splitlines()[0]: text for text in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]}
CODE = re.compile(r"```python\n(.*?)```", re.DOTALL)
FAULT = re.compile(r"--fault (\S+)")
POLICY = (Policy, Cache, Retry, Limits, Breaker, Spend, Fallback, Target, Guard)

FEATURES = {
    # the surface
    "ask": ["assert ask(", "AIConfig(", "system_prompt="],
    "aask": ["assert asyncio.run(aask("],
    "ask(client=…)": ['ask("Why is the sky blue?", AIConfig(temperature=0), client=client)', '["miss", "hit"]'],
    "chat, raw": ["chat.completions.with_raw_response.create(", '["x-tailrace-attempts"]', '== "hit"'],
    "responses": ["client.responses.with_raw_response.create(", ".output_text"],
    "embeddings": ["client.embeddings.with_raw_response.create(", ".embedding"],
    "parse, chat": ["client.chat.completions.parse(", ".message.parsed, "],
    "parse, responses": ["client.responses.parse(", ".output_parsed, "],
    "stream, threads": ["for chunk in client.chat.completions.create(", "stream=True"],
    "with_streaming_response": [".with_streaming_response.create(", "iter_lines()", '== "hit"'],
    "stream, asyncio, replayed": ["AsyncOpenAI() as client", "stream=True", "async for chunk in stream", '== "hit"'],
    "http_client": ["AsyncOpenAI(http_client=", "DefaultAioHttpClient("],
    "transport(inner=…)": ["=transport(", "inner=inner", "openai.OpenAI(http_client=http", '== "hit"'],
    "async_transport(inner=…)": ["=async_transport(", "inner=inner", "openai.AsyncOpenAI(http_client=http"],
    "Azure": ["openai.AzureOpenAI(", '== "hit"'],
    "base_url": [" OpenAI(base_url="],
    "event loops": ["answers.append(asyncio.run("],
    "off": ["Policy(cache=None, retry=None, guard=None)", "not in answer.headers"],
    # the cache
    "SQLite": ["Sqlite(", "namespace=", '["miss", "hit"]'],
    "Redis": ["stores.redis import Redis", "Redis(", '["miss", "hit"]'],
    "memory": ["Memory(max_bytes="],
    "time to live": ["ttl_s=", '== ["miss", "hit", "miss"]'],
    "not only deterministic": ["deterministic_only=False"],
    "single-flight": ["asyncio.gather(", '["coalesced", "coalesced", "miss"]'],
    "no-store": ["no-store", '"bypass"'],
    "no-cache, max-age": ["no-cache", "max-age=60"],
    "stale while revalidate": ["stale_while_revalidate_s=", '== ["miss", "stale", "hit"]'],
    "stale if error": ["stale_if_error_s=", "error500", '== "stale"'],
    # retries
    "attempts, backoff, Retry-After": ["Retry(attempts=", "retry_after_s=", "base_s=", "cap_s=", "backoff_s >="],
    "retry budget": ["budget=", "budget_burst=", "attempts == [4, 1, 1]"],
    "own predicate": ["retry_if=", "error.attempts == 2"],
    "uploads": ["audio.transcriptions.create(", "bodies[0] == bodies[1]"],
    "idempotency key": ["idempotency_key=", "keys[0] == keys[1]"],
    # limits
    "deadline of a block": ["with OpenAI() as client, limits(deadline_s=", "except DeadlineExceeded"],
    "deadline of a call": ["Limits(deadline_s="],
    "attempt timeout": ["attempt_timeout_s=", 'attempts) == ("ok", 2)'],
    "first byte and silence": ["first_byte_s=", "silence_s=", "stream=True"],
    "tenants": ["limits(tenant=", "call.tenant, call.cache"],
    "breaker": ["Breaker(", "ConnectionFailed, CircuitOpen]"],
    "fixed concurrency": ["Limits(concurrency=2)", "queued_s"],
    "adaptive concurrency": ['Limits(concurrency="adaptive")', "queued_s"],
    "requests per minute": ["requests_per_min=", "rate limit"],
    "tokens per minute": ["tokens_per_min=", "rate limit"],
    "hedge": ["hedge_after_s=", ".attempts == 2", "except ValueError"],
    "targets": ["Target(api_key_env=", "weight=", "attempts for call in calls] == [2, 1, 1, 1]"],
    "fallback, model": ["Fallback(model=", "answer.model =="],
    "fallback, provider": ["Fallback(base_url=", "api_key_env="],
    "fallback, causes": ["fallback_on=frozenset(", "error.attempts == 1"],
    # accounting
    "tokens and cost": [".in_tok > 0", ".out_tok > 0", ".cost_usd > 0"],
    "saved": [".saved_usd"],
    "unknown price": ["unknown.cost_usd is None"],
    "spend limit": ["Spend(max_usd=", "assumed_output_tok=", "refused == ["],
    "own prices": ["Price(in_mtok=", "own.cost_usd ==", "alias.cost_usd"],
    "budget in a store": ['per="day", store=Sqlite(', "error.retry_after_s"],
    "spend limit per tenant": ["per_tenant=True", 'refused == ["acme"]'],
    "hook": ["hooks=(calls.append,)"],
    "hook of attempts": ["attempt_hooks=(attempts.append,)", "failed.cause"],
    "JSON log": ["json_log(", '["cache"] == "bypass"'],
    "structlog": ["structured(structlog.get_logger())", '"llm_call"'],
    "Prometheus": ["prometheus(registry)", "get_sample_value("],
    "OpenTelemetry": ["opentelemetry(tracing)", "get_finished_spans()"],
    # who shares answers, and what a store holds
    "identity": ["identity=", "ignore_headers="],
    "contents of a store": ["purge(contents", ".hit_rate"],
    # input
    "size": ["Guard(max_bytes=", '["body", '],
    "roles": ["roles=frozenset(", "messages[0].role"],
    "control characters": ["\\x00", "messages[0].content"],
    "bidirectional marks": ["\\u202e", "messages[0].content"],
    "untrusted text": ["untrusted("],
    "detections": [".detections =="],
    # errors
    "ConnectionFailed": ["isinstance(error, ConnectionFailed)"],
    "AnswerTooLarge": ["not isinstance(error, AnswerTooLarge)"],
    "TimedOut": ["isinstance(error, TimedOut)"],
    "DeadlineExceeded": ["except DeadlineExceeded"],
    "CircuitOpen": ["errors == [ConnectionFailed, ConnectionFailed, CircuitOpen]"],
    "BudgetExceeded": ["except BudgetExceeded"],
    "PriceUnknown": ["isinstance(error, PriceUnknown)"],
    "InputRejected": ["except InputRejected"],
    "WrongEventLoop": ["except WrongEventLoop"],
    "BodyChanged": ["except BodyChanged"],
    "an error's story": ["error.attempts == 2", "error.__cause__"],
    "an answer's error": ["except openai.RateLimitError", "error.elapsed_s"],
    "service": ["SERVICE_URL", '== "hit"', "/ask"],
    "policy of a service": ["TAILRACE_POLICY", "== [200, 429]", "tailrace_budget_usd"],
}
"""The client's features, and what one example must contain to show each."""


def examples(page: str) -> list[str]:
    return CODE.findall(page)


def not_shown(page: str) -> list[str]:
    """Return the features without an example."""
    return [name for name, marks in FEATURES.items()
            if not any(all(mark in code for mark in marks) for code in examples(page))]  # fmt: skip


def not_named(page: str) -> list[str]:
    """Return what the page does not name: public names, errors without a row, arguments of a policy."""
    names = [name for name in tailrace.__all__ if not re.search(rf"\b{name}\b", page)]
    rows = [name for name in errors.__all__ if f"\n| `{name}` |" not in page]
    used = {argument for code in examples(page) for argument in arguments(code)}
    silent = [f"{kind.__name__}({field.name}=…)" for kind in POLICY for field in fields(kind)
              if (kind.__name__, field.name) not in used and not re.search(rf"`{field.name}[`=]", page)]  # fmt: skip
    return names + rows + silent


def arguments(code: str) -> set[tuple[str, str]]:
    """Return the named arguments in an example, each with its function."""
    calls = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)]
    return {(call.func.id, one.arg) for call in calls if isinstance(call.func, ast.Name) for one in call.keywords}


def unreached(code: str, reached: set[int]) -> list[str]:
    """Return the lines of an example whose statements were not reached."""
    lines = code.splitlines()
    plain = (node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.stmt) and not hasattr(node, "body"))
    return [lines[node.lineno - 1] for node in plain if reached.isdisjoint(range(node.lineno, node.end_lineno + 1))]


def run(code: str) -> set[int]:
    """Run an example as a module, and return the lines that were reached."""
    reached: set[int] = set()

    def traced(frame, event, _argument):
        if frame.f_code.co_filename != str(PATH):
            return None
        if event == "line":
            reached.add(frame.f_lineno)
        return traced

    before = sys.gettrace()
    threading.settrace(traced)
    sys.settrace(traced)
    try:
        exec(compile(code, str(PATH), "exec"), {"__name__": "example"})  # our own page
    finally:
        sys.settrace(before)
        threading.settrace(before)
    return reached


def unmet(simulator) -> list[str]:
    """Return the faults that were set and never happened."""
    return [fault["kind"] for fault in simulator.admin("GET", "faults") if not fault["met"]]


@pytest.fixture
def service(simulator) -> Iterator[str]:
    """The URL of a service in front of the simulator."""
    command = [sys.executable, "-m", "tailrace.service", "--port", "0"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TAILRACE_")}
    environment["TAILRACE_PROVIDER_URL"] = simulator.url
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as process:
        try:
            yield process.stdout.readline().split()[-1]
        finally:
            process.terminate()


@pytest.fixture
def surroundings(simulator, key, monkeypatch, tmp_path, request, code):
    """Set the environment variables that an example needs."""
    monkeypatch.setenv("OPENAI_API_KEY", key)
    monkeypatch.setenv("OPENAI_BASE_URL", simulator.url)
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", key)
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", simulator.url.removesuffix("/v1"))
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("TAILRACE_") and "TAILRACE_POLICY" in code]:
        monkeypatch.delenv(name)  # a service takes no other settings than its own
    for variable, fixture in (("REDIS_URL", "redis_url"), ("SERVICE_URL", "service")):
        if variable in code:
            monkeypatch.setenv(variable, request.getfixturevalue(fixture))


EXAMPLES = [
    pytest.param(code, id=f"{name}-{number}")
    for name, text in SECTIONS.items()
    for number, code in enumerate(examples(text))
]


@pytest.mark.parametrize("code", EXAMPLES)
@pytest.mark.usefixtures("surroundings")
def test_an_example_runs(simulator, code):
    """Copied from the page and run against the simulator, it does what it asserts, to its last line."""
    faults = FAULT.findall(code)
    simulator.faults(*(dict(item.partition("=")[::2] for item in fault.split(",")) for fault in faults))
    reached = run(code)
    assert unreached(code, reached) == []
    assert unmet(simulator) == []
    assert len(simulator.admin("GET", "faults")) == len(faults)


def test_every_feature_has_an_example():
    """An example shows each feature, and the page names each argument."""
    assert not_shown(PAGE) == []
    assert not_named(PAGE) == []
    assert set(errors.__all__) <= set(FEATURES)


@pytest.mark.parametrize("code", EXAMPLES)
def test_an_example_that_is_taken_away_is_missed(code):
    """Negative control: without any one of the examples, some feature is not shown."""
    assert not_shown(PAGE.replace(code, "")) != []


@pytest.mark.parametrize(("name", "word"), [
    ("aask", "aask"), ("CircuitOpen", "CircuitOpen"), ("Cache(lease_s=…)", "lease_s"), ("Retry(cap_s=…)", "cap_s"),
    ("Guard(detect=…)", "detect"), ("Breaker(open_s=…)", "open_s"), ("Fallback(api_key_env=…)", "api_key_env"),
    ("Spend(unknown_price=…)", "unknown_price"), ("Limits(tokens_per_min=…)", "tokens_per_min"),
])  # fmt: skip
def test_a_name_that_is_not_explained_is_missed(name, word):
    """Negative control: a name, an error or an argument that the page does not mention is reported."""
    assert name in not_named(re.sub(rf"\b{word}\b", "it", PAGE))


def test_an_assertion_that_is_not_reached_is_missed():
    """Negative control: an example whose error never comes did not show it."""
    code = "try:\n    found = 1\nexcept ValueError as error:\n    assert error.args\n"
    assert unreached(code, run(code)) == ["    assert error.args"]


def test_a_fault_that_is_not_met_is_missed(simulator):
    """Negative control: a fault that no request met shows nothing."""
    simulator.faults({"kind": "hang"})
    assert unmet(simulator) == ["hang"]


PROFILE = re.compile(r"```yaml\n(# runbook/profiles.*?)```", re.DOTALL)


def test_the_policy_of_a_profile_is_one(tmp_path):
    """The profile on the page loads with its variables set, and its service reads what it hands on.

    Negative control: with another key in it, or without a variable, it does not load.
    """
    (found,) = PROFILE.findall(PAGE)
    found = found.replace("/var/lib/tailrace", str(tmp_path))
    names = dict.fromkeys(("CACHE_URL", "KEY_A", "KEY_B"), "redis://localhost:6379/1")
    path = tmp_path / "page.yaml"
    path.write_text(found)
    loaded = profile.load(str(path), tmp_path, names)
    assert set(loaded.secrets) == set(names)
    assert {"targets", "spend", "prices", "fallback_on"} <= loaded.policy.model_fields_set
    environment = {"TAILRACE_PROVIDER_URL": "http://p/v1", **loaded.configured_service.environment, **names}
    assert Settings.read(environment).policy is not None
    with pytest.raises(ProfileError, match="KEY_B is not set"):
        profile.load(str(path), tmp_path, {**names, "KEY_B": ""})
    path.write_text(found.replace("fallback_on", "fall_back_on"))
    with pytest.raises(ProfileError, match="unknown key"):
        profile.load(str(path), tmp_path, names)


def test_every_section_has_an_example():
    """Every section shows what it promises; tests and benchmark are commands."""
    assert [name for name, text in SECTIONS.items() if not examples(text)] == ["How it is tested", "Benchmark"]
