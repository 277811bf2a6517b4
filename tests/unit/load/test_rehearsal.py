"""A rehearsal learns from the target how it counts tokens, and how it wants lengths spelled."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import orjson
import pytest

from tailrace.load import Trace, Traffic, Weighted, Workload, arrivals
from tailrace.load.bodies import Conversation
from tailrace.load.lengths import fixed
from tailrace.load.rehearsal import rehearse
from tailrace.load.sessions import Sessions

ASKED = Workload(max_tokens=fixed(50))


@dataclass
class Api:
    """An API that counts by a rule of its own, and refuses what it does not know, in its own words."""

    word_tok: float = 1.0
    request_tok: int = 0
    message_tok: int = 0
    unknown: tuple[str, ...] = ()
    named: bool = True
    exact: bool = True
    counts: bool = True
    constant: int = 0
    """Counted for every prompt, as stubs do; 0: by the rule."""
    status: int = 200
    bodies: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    url: str = ""

    def respond(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        self.bodies.append(body)
        if self.status != 200:
            return self.status, {"error": {"message": "key sk-secret is wrong"}}
        if refused := [name for name in self.unknown if name in body]:
            message = f"unknown parameter: {refused[0]}" if self.named else "bad request"
            return 400, {"error": {"message": message, "param": refused[0] if self.named else None}}
        limit = body.get("max_completion_tokens", body.get("max_tokens", 10))
        exact = self.exact and body.get("ignore_eos", False)
        usage = {"prompt_tokens": self.count(body), "completion_tokens": limit if exact else 7}
        return 200, {"choices": [], **({"usage": usage} if self.counts else {})}

    def count(self, body: dict[str, Any]) -> int:
        if self.constant:
            return self.constant
        words = sum(len(str(one["content"]).split()) for one in body["messages"])
        return self.request_tok + self.message_tok * len(body["messages"]) + round(words * self.word_tok)


@pytest.fixture
def serve() -> Iterator[Callable[[Api], Api]]:
    """Start an API; its `url` is set then."""
    servers = []

    def start(api: Api) -> Api:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                api.keys.append(self.headers.get("authorization", ""))
                status, document = api.respond(orjson.loads(self.rfile.read(int(self.headers["content-length"]))))
                body = orjson.dumps(document)
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Nothing: the test's output is its own."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        servers.append((server, thread))
        api.url = f"http://127.0.0.1:{server.server_port}/v1"
        return api

    yield start
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()


def learned(api: Api, workload: Workload = ASKED, **more: Any) -> tuple[Workload, str]:
    found = rehearse(Traffic(arrivals.constant(1, 1), workload), api.url, **more)
    return found.traffic.workload, "\n".join(found.findings)


def counted(api: Api, workload: Workload, n: int) -> tuple[int, int]:
    """Return the planned tokens of a request, and those that the API counts."""
    request = workload.request(n)
    return request.planned_in_tok, api.count(orjson.loads(request.body))


@pytest.mark.parametrize(
    "api", [Api(request_tok=9, message_tok=5), Api(word_tok=1.37, request_tok=30), Api(word_tok=2.0), Api()]
)
def test_prompts_have_the_planned_length_as_the_target_counts(serve, api: Api):
    """Whatever the template adds and however a word counts, prompts of 40 to 4,000 tokens are within 2 %."""
    serve(api)
    for tokens in (40, 400, 4000):
        workload, findings = learned(api, replace(ASKED, prompt_tokens=fixed(tokens)))
        planned, found = counted(api, workload, 3)
        assert planned == tokens
        assert found == pytest.approx(tokens, rel=0.02)
    assert "300 tokens in planned" in findings


def test_without_a_rehearsal_the_template_is_missed(serve):
    """The control: a template of 39 tokens makes a prompt of 40 almost twice as long, and nobody knows."""
    api = serve(Api(request_tok=30, message_tok=9))
    assert counted(api, replace(ASKED, prompt_tokens=fixed(40)), 3) == (40, 79)


def test_answers_are_exact_where_the_target_can(serve):
    """`ignore_eos` and `min_tokens` are kept when they are taken, and the rehearsal shows what they do."""
    workload, findings = learned(serve(Api()))
    body = orjson.loads(workload.request(0).body)
    assert (body["max_tokens"], body["min_tokens"], body["ignore_eos"]) == (50, 50, True)
    assert "24 tokens out requested, 24 counted (max_tokens and ignore_eos and min_tokens)" in findings


def test_a_target_that_ignores_them_is_found_out(serve):
    """A target that takes the parameters and answers as it likes is measured, not believed."""
    assert "24 tokens out requested, 7 counted" in learned(serve(Api(exact=False)))[1]


@pytest.mark.parametrize("named", [True, False])
def test_refused_parameters_are_left_out(serve, named: bool):
    """A 400 that names a parameter takes it out; one that names none takes out both that are not OpenAI's."""
    workload, findings = learned(serve(Api(unknown=("ignore_eos", "min_tokens"), named=named)))
    body = orjson.loads(workload.request(0).body)
    assert body["max_tokens"] == 50
    assert not {"ignore_eos", "min_tokens"} & set(body)
    assert "ignore_eos" in findings


def test_the_other_name_of_the_limit_is_found(serve):
    """A reasoning model that refuses `max_tokens` gets `max_completion_tokens`."""
    workload, findings = learned(serve(Api(unknown=("max_tokens",))))
    body = orjson.loads(workload.request(0).body)
    assert "max_tokens" not in body
    assert body["max_completion_tokens"] == 50
    assert "takes max_completion_tokens, not max_tokens" in findings


def test_exactness_is_not_asked_for_where_no_length_is_planned(serve):
    """Without `max_tokens` the answers are as long as the target likes, also in the rehearsal."""
    api = serve(Api())
    workload, _ = learned(api, Workload())
    assert not any("ignore_eos" in body for body in api.bodies)
    assert "max_tokens" not in orjson.loads(workload.request(0).body)


def test_a_trace_plans_its_answers(serve, tmp_path: Path):
    """The lengths of a trace are asked for exactly."""
    (tmp_path / "m.jsonl").write_text('{"timestamp": 0, "input_length": 100, "output_length": 9}\n')
    api, trace = serve(Api(message_tok=5)), Trace(tmp_path / "m.jsonl")
    found = rehearse(Traffic(trace, Workload()), api.url).traffic
    request = found.workload.request(0, trace.arrivals()[0])
    body = orjson.loads(request.body)
    assert (request.planned_in_tok, api.count(body)) == (100, 100)
    assert (body["max_tokens"], body["ignore_eos"]) == (9, True)


def test_messages_are_counted_apart_in_conversations(serve):
    """With sessions the template of each message is learned, so that every turn has its planned length."""
    api = serve(Api(request_tok=7, message_tok=6))
    talk = Workload(sessions=Sessions(fixed(3)), prompt_tokens=fixed(40), max_tokens=fixed(12))
    workload, _ = learned(api, talk)
    plan = workload.session(2)
    for turn in range(3):
        request = workload.turn(plan, turn)
        assert api.count(orjson.loads(request.body)) == request.planned_in_tok


def test_prompts_of_a_file_are_counted_by_a_tokenizer(serve, tmp_path: Path):
    """With a tokenizer and the template as the target counts it, the plan of your own prompts is known, too."""
    api = serve(Api(request_tok=7, message_tok=6))
    prompts = ("act add", Conversation(tuple({"role": "user", "content": "act add age"} for _ in range(2))))
    workload, _ = learned(api, Workload(prompts=prompts), tokenizer=_by_word(tmp_path))
    for n in range(2):
        planned, found = counted(api, workload, n)
        assert planned == found


def test_another_models_tokenizer_is_found_out(serve, tmp_path: Path):
    """When the target counts a word by 1.4 tokens and the tokenizer by one, the findings ask."""
    _, findings = learned(serve(Api(word_tok=1.4)), tokenizer=_by_word(tmp_path))
    assert "is it that of this model?" in findings


def test_each_model_is_asked(serve):
    """Several models are rehearsed one by one, and named in the findings."""
    workload, findings = learned(serve(Api()), replace(ASKED, models=(Weighted("a"), Weighted("b"))))
    assert set(workload.targets) == {"a", "b"}
    assert "a: " in findings
    assert "b: " in findings


@pytest.mark.parametrize(
    ("api", "said"), [(Api(counts=False), "reports no usage"), (Api(status=500), "no rehearsal: 500")]
)
def test_what_cannot_be_learned_is_said(serve, api: Api, said: str):
    """A target without usage, or one that fails, leaves the plan as it was; the findings say so."""
    workload, findings = learned(serve(api))
    assert said in findings
    assert counted(api, workload, 0) == (16, 16)


def test_a_count_that_does_not_count_is_not_believed(serve):
    """A stub that counts seven tokens whatever is sent makes no prompt a thousand times longer."""
    workload, findings = learned(serve(Api(constant=7)))
    assert "7 and 7 tokens counted for 16 and 400 words: no count to go by" in findings
    assert len(str(workload.prompt(0)).split()) == 16


def test_a_target_that_is_not_there_is_said(serve):
    """Nobody listens: no rehearsal, no exception."""
    assert "no rehearsal: no answer ConnectionRefusedError" in learned(Api(url="http://127.0.0.1:1/v1"))[1]


def test_keys_are_sent_and_never_shown(serve, monkeypatch: pytest.MonkeyPatch):
    """The rehearsal sends the sender's key; what a target writes about a refused one is not repeated."""
    monkeypatch.setenv("MY_KEY", "sk-secret")
    api = serve(Api(status=401))
    _, findings = learned(api, options={"api_key_env": "MY_KEY"})
    assert api.keys == ["Bearer sk-secret"]
    assert findings == "gpt-4o-mini: no rehearsal: 401"


def test_plain_requests_need_no_rehearsal(serve):
    """A workload without tokens asks nothing."""
    api = serve(Api())
    assert learned(api, Workload(kind="plain", path="/x")) == (Workload(kind="plain", path="/x"), "")
    assert api.bodies == []


def _by_word(folder: Path) -> Path:
    from tokenizers import Tokenizer, models, pre_tokenizers

    from tailrace.load.prompts import WORDS

    tokenizer = Tokenizer(models.WordLevel({word: n for n, word in enumerate((*WORDS, "?"))}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder
