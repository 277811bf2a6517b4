"""The dialects on the wire: as the real SDK reads them, and as the log of tokens tells them."""

import time

import httpx2
import openai
import pytest

CHAT = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Name a bird."}]}


def test_the_sdk_reads_legacy_completions(ask):
    """A text has as many tokens as the limit when its natural end is ignored; streamed, one chunk for each."""
    options = {"model": "gpt-3.5-turbo-instruct", "prompt": "Name a bird.", "max_tokens": 30}
    exact = {**options, "extra_body": {"ignore_eos": True}}
    whole = ask(lambda client: client.completions.create(**exact))
    assert (whole.usage.completion_tokens, whole.choices[0].finish_reason) == (30, "length")
    chunks = ask(lambda client: client.completions.create(**exact, stream=True))
    assert sum(bool(chunk.choices[0].text) for chunk in chunks) == 30
    assert ask(lambda client: client.completions.create(**options)).usage.completion_tokens < 30


def test_the_sdk_reads_reasoning(simulator):
    """The SDK rebuilds a response that thinks first; a chat's reasoning is in the message beside its content."""
    simulator.admin("PUT", "dialect", {"reasoning_tokens": 5})
    with openai.OpenAI(base_url=simulator.url, api_key="test", max_retries=0) as client:
        with client.responses.stream(model="m", input="Name a bird.") as stream:
            events = list(stream)
            response = stream.get_final_response()
        message = client.chat.completions.create(**CHAT).choices[0].message
    assert sum(event.type == "response.reasoning_text.delta" for event in events) == 5
    assert [item.type for item in response.output] == ["reasoning", "message"]
    assert response.usage.output_tokens_details.reasoning_tokens == 5
    assert [event.sequence_number for event in events if hasattr(event, "sequence_number")] == list(range(len(events)))
    assert len(message.reasoning_content.split()) == 5


def test_the_dialect_changes_while_the_simulator_runs(simulator):
    """The fields that are set change, the others stay; a reset brings back those of the command line."""
    assert simulator.admin("PUT", "dialect", {"tokens_per_chunk": 3})["tokens_per_chunk"] == 3
    assert simulator.admin("PUT", "dialect", {"role_first": True})["tokens_per_chunk"] == 3
    simulator.admin("POST", "reset")
    assert simulator.admin("GET", "dialect")["tokens_per_chunk"] == 1
    refused = simulator.http.put(f"{simulator.base}/admin/dialect", json={"tokens_per_chunk": 0})
    assert refused.status_code == 400
    assert "tokens_per_chunk" in refused.json()["error"]["message"]


def test_the_log_tells_when_each_token_was_sent(start, tmp_path):
    """Times rise, lie before those of the reader, and stand for all tokens; without the option there are none."""
    options = ("--ttft-s", "0.05", "--token-s", "0.02", "--tokens-per-chunk", "2", "--reasoning-tokens", "3",
               "--role-first", "--keep-alive-s", "0.01")  # fmt: skip
    body = {**CHAT, "stream": True, "ignore_eos": True, "max_completion_tokens": 10}
    with start(tmp_path, "--log-tokens", *options) as simulator:
        begin_ns, read_ns = time.perf_counter_ns(), []
        with simulator.http.stream("POST", f"{simulator.url}/chat/completions", json=body) as answer:
            for line in answer.iter_lines():
                if '"content":"' in line or "reasoning_content" in line:
                    read_ns.append(time.perf_counter_ns())
    (line,) = simulator.accesses()
    assert line["token_counts"] == [2, 1, 2, 2, 2, 1]
    assert (line["out_tok"], line["reasoning_tok"]) == (10, 3)
    times = [begin_ns, line["ttfb_ns"], *line["token_ns"]]
    assert times == sorted(times)
    assert line["token_ns"][0] - line["arrival_ns"] > 20e6, "the role is no token"
    assert all(sent < read for sent, read in zip(line["token_ns"], read_ns[1:], strict=True))


def test_a_log_without_the_option_has_no_times_of_tokens(start, tmp_path):
    """The control; and the option needs the log."""
    with start(tmp_path, "--ttft-s", "0") as simulator:
        simulator.http.post(f"{simulator.url}/chat/completions", json={**CHAT, "stream": True})
    assert simulator.accesses()[0]["token_ns"] == []


@pytest.mark.parametrize("form", ["object", "event"])
def test_the_sdk_raises_for_an_error_in_a_stream(ask, simulator, form):
    """The SDK reads the chunks before it, and raises its APIError."""
    simulator.faults({"kind": "error_event", "form": form, "chunks": 3})
    with pytest.raises(openai.APIError):
        ask(lambda client: client.chat.completions.create(**CHAT, stream=True))
    simulator.faults()
    assert ask(lambda client: client.chat.completions.create(**CHAT, stream=True))


def test_a_stream_in_one_write_per_connection_is_whole(simulator):
    """Without latency all parts of a stream go out together: the text of the body ends with its terminator."""
    simulator.admin("PUT", "dialect", {"role_first": True, "usage_in_each_chunk": True})
    with httpx2.Client() as http:
        text = http.post(f"{simulator.url}/chat/completions", json={**CHAT, "stream": True}).text
    assert text.endswith("data: [DONE]\n\n")
    assert text.count('"usage":{') == text.count("data: ") - 1
