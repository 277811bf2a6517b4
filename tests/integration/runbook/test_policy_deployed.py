"""`tailrace deploy` of a profile with `policy:`: its settings act in the instances that the engine starts."""

import json
import time
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from tests.json_provider import JsonHandler, JsonProvider

DAY_S = 86_400
KEYS = {"OPENAI_API_KEY": "own", "LIMITED_KEY": "limited", "OTHER_KEY": "of-another"}
NO_CHAT = {"warmup": [], "smoke": [{"path": "/healthz"}]}
QUICK = {"bake_s": 0.5, "settle_s": 0, "warmup": {"min_requests": 0, "max_requests": 0}}


class Provider(JsonProvider):
    """Fails for the model `broken` and for the key `limited`; one that is `sound` never does."""

    def __init__(self, sound: bool) -> None:
        self.sound = sound
        self.keys: list[str] = []
        super().__init__(Handler)


class Handler(JsonHandler):
    server: Provider

    def do_POST(self) -> None:
        model = json.loads(self.rfile.read(int(self.headers["content-length"])))["model"]
        key = self.headers.get("authorization", "").removeprefix("Bearer ")
        self.server.keys.append(key)
        if model == "broken" and not self.server.sound:
            return self.send_json(503, {"error": {"message": "down", "type": "server_error"}})
        if key == "limited":
            return self.send_json(
                429, {"error": {"message": "slow down", "type": "rate_limit"}}, ("retry-after", "3600")
            )
        choice = {"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 10, "completion_tokens": 10, "total_tokens": 20}
        whole = {"id": "1", "object": "chat.completion", "created": 1, "model": model, "usage": usage}
        return self.send_json(200, {**whole, "choices": [choice]})


@pytest.fixture
def providers(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Provider, Provider]]:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    both = Provider(sound=False), Provider(sound=True)
    yield both
    for one in both:
        one.shutdown()
        one.server_close()


def policy(other: Provider, folder: object) -> dict[str, Any]:
    return {
        "retry": {"base_s": 0.001, "cap_s": 0.002},
        "targets": [{"api_key_env": "LIMITED_KEY"}, {}],
        "fallbacks": [{"base_url": other.url, "api_key_env": "OTHER_KEY"}],
        "prices": {"dear": {"call": 0.4}, "free": {}, "broken": {}},
        "spend": {"max_usd": 1.0, "per": "day", "store": f"sqlite:{folder}/budget.db"},
    }


@pytest.fixture
def deployed(project, providers, tmp_path):
    """The project with two profiles: `policed`, and `plain` without its policy; both are taken down after the test."""
    service = {"provider": {"base_url": providers[0].url}, "service": NO_CHAT, "rollout": QUICK,
               "edge": {"hidden_paths": []}}  # fmt: skip
    project.profile("plain", **service)
    project.profile("policed", **service, policy=policy(providers[1], tmp_path))
    yield project
    for name in ("plain", "policed"):
        project.run("down", "--profile", name)


@pytest.mark.deep
def test_a_policy_acts_in_the_instances_that_are_deployed(deployed, providers):
    """Targets, fallbacks and a budget by day hold through the edge, the budget after a rollout as well.

    Negative control: the same profile without its `policy`.
    """
    main, other = providers

    def call(model: str) -> httpx2.Response:
        body = {"model": model, "messages": [{"role": "user", "content": "hello"}]}
        return http.post(f"{url}/v1/chat/completions", json=body)

    def told(*command: str) -> dict[str, Any]:
        status, output = deployed.run(*command, "--json")
        assert status == 0, output
        return json.loads(output[output.index("\n{") if not output.startswith("{") else 0 :])

    if time.time() % DAY_S > DAY_S - 100:
        time.sleep(100)  # a budget begins anew at midnight
    with httpx2.Client(timeout=60) as http:
        url = told("deploy", "--profile", "plain")["url"]
        assert [call(model).status_code for model in ("free", "broken", "dear", "dear", "dear")] == [
            200, 503, 200, 200, 200]  # fmt: skip
        assert (set(main.keys), other.keys) == ({"own"}, [])
        main.keys.clear()

        url = told("deploy", "--profile", "policed")["url"]
        assert [call("free").status_code for _ in range(4)] == [200] * 4
        assert sorted(main.keys) == ["limited", *["own"] * 4], "one that is at its limit is left alone"
        assert (call("broken").status_code, other.keys) == (200, ["of-another"])
        assert [call("dear").status_code for _ in range(2)] == [200, 200]
        before = call("dear")
        metrics = http.get(f"{url}/metrics").text.splitlines()
        told("restart", "--profile", "policed")
        after = call("dear")
    assert before.headers["x-colour"] != after.headers["x-colour"]
    for refused in (before, after):
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "budget_exceeded")
        assert 0 < int(refused.headers["retry-after"]) <= DAY_S
    assert {'tailrace_target_attempts_total{cause="rate_limit",target="LIMITED_KEY"} 2.0',  # once a model
            "tailrace_fallbacks_total 1.0", "tailrace_budget_usd 1.0"} <= set(metrics)  # fmt: skip
