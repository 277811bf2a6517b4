"""Requests as a pure function of the workload and their number."""

from __future__ import annotations

from collections import Counter

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tailrace.errors import LoadError
from tailrace.load import Weighted, Workload
from tailrace.load.lengths import Lengths, lognormal, uniform
from tailrace.load.workload import plain

MANY = 4000


def body(workload: Workload, n: int) -> dict:
    return orjson.loads(workload.request(n).body)


@given(st.integers(0, 10**9), st.integers(0, 2**31))
def test_the_same_number_is_the_same_request(n: int, seed: int):
    """Whoever builds request n, and whenever, builds the same bytes."""
    order = {"seed": seed, "repeat_share": 0.5, "stream_share": 0.5, "zipf": 1.0}
    assert Workload(**order).request(n) == Workload(**order).request(n)


@given(st.integers(0, 2**63), st.integers(0, 2**40), st.integers(0, 99))
def test_draws_lie_in_the_unit_interval(seed: int, n: int, salt: int):
    """A draw is at least 0 and below 1."""
    assert 0 <= uniform(seed, n, salt) < 1


def test_draws_are_uniform():
    """Ten classes of 40,000 draws are filled evenly."""
    counts = Counter(int(uniform(5, n, 1) * 10) for n in range(40_000))
    assert all(count == pytest.approx(4000, rel=0.1) for count in counts.values())


def test_prompts_are_all_different_by_default():
    """Without repetition no cache can hit."""
    workload = Workload()
    assert len({workload.prompt(n) for n in range(MANY)}) == MANY


def test_repeat_share_is_the_ceiling_of_a_cache():
    """With 30 % repeats of 20 prompts an ideal cache hits 30 % of the requests, less the first of each."""
    workload, sent, hits = Workload(repeat_share=0.3, pool=20), set(), 0
    for n in range(MANY):
        prompt = workload.prompt(n)
        hits += prompt in sent
        sent.add(prompt)
    assert (hits + 20) / MANY == pytest.approx(0.3, abs=0.03)


def test_zipf_makes_few_prompts_popular():
    """With exponent 1 the first of 50 prompts is sent about 1/H(50) = 22 % of the time; uniform gives 2 %."""
    skewed, even = Workload(repeat_share=1, pool=50, zipf=1), Workload(repeat_share=1, pool=50)
    assert _share_of_the_first(skewed) == pytest.approx(0.222, abs=0.03)
    assert _share_of_the_first(even) < 0.04


def _share_of_the_first(workload: Workload) -> float:
    return Counter(workload.prompt(n) for n in range(MANY)).most_common(1)[0][1] / MANY


def test_own_prompts_are_asked_in_turn():
    """Prompts of your own come in their order, again and again."""
    workload = Workload(prompts=("a", "b", "c"))
    assert [workload.prompt(n) for n in range(5)] == ["a", "b", "c", "a", "b"]


def test_own_prompts_and_repetition_contradict_each_other():
    """`repeat_share` is for generated prompts."""
    with pytest.raises(ValidationError, match="repeat_share"):
        Workload(prompts=("a",), repeat_share=0.5)


def test_streams_by_share():
    """The set share of requests is for a stream, with its usage."""
    workload = Workload(stream_share=0.25)
    requests = [workload.request(n) for n in range(MANY)]
    assert sum(request.stream for request in requests) / MANY == pytest.approx(0.25, abs=0.03)
    for request in requests[:20]:
        assert ("stream_options" in orjson.loads(request.body)) is request.stream


def test_models_and_tenants_by_weight():
    """Several models and tenants get their shares; the record knows the model."""
    models = (Weighted("big", 1), Weighted("small", 3))
    workload = Workload(models=models, tenants=(Weighted("one"), Weighted("two")))
    requests = [workload.request(n) for n in range(MANY)]
    assert Counter(r.model for r in requests)["small"] / MANY == pytest.approx(0.75, abs=0.03)
    assert Counter(r.tenant for r in requests)["one"] / MANY == pytest.approx(0.5, abs=0.03)
    assert all(orjson.loads(r.body)["model"] == r.model for r in requests[:20])


def test_temperature_is_sent_only_when_given():
    """Reasoning models refuse it, and caches need an explicit 0: the body has it when, and only when, it is given."""
    assert "temperature" not in body(Workload(), 0)
    assert body(Workload(temperature=0), 0)["temperature"] == 0


def test_lengths_follow_their_distribution():
    """Lognormal lengths have the requested median, a long tail, and stay within their bounds."""
    workload = Workload(prompt_tokens=lognormal(100, 0.8, least=5, most=2000), max_tokens=Lengths("uniform", 50, 10))
    words = sorted(len(workload.prompt(n).split()) for n in range(MANY))
    assert words[MANY // 2] == pytest.approx(100, rel=0.08)
    assert words[0] >= 5
    assert 300 < words[int(MANY * 0.99)] <= 2000
    assert {body(workload, n)["max_tokens"] for n in range(300)} <= set(range(40, 61))


def test_more_fields_for_the_body():
    """Any other field of the API can be set."""
    assert body(Workload(extra={"top_p": 0.5}), 3)["top_p"] == 0.5


def test_plain_requests_stand_as_they_are():
    """A service that is not OpenAI-shaped gets its method, path and body."""
    workload = plain("/search", "POST", '{"q": 1}')
    assert workload.request(5).body == b'{"q": 1}'
    assert (workload.method, workload.path, workload.request(5).model) == ("POST", "/search", "")
    with pytest.raises(LoadError, match="does not start with /"):
        plain("search")


def test_unknown_names_are_errors():
    """A mistyped field is refused."""
    with pytest.raises((ValidationError, TypeError)):
        Workload(promts=("a",))
