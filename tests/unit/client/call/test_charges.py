"""What each operation is charged by, and what it costs at the most and in the end."""

import json

import pytest

from tailrace import Policy, Price
from tailrace.client import wire
from tailrace.client.call import charges
from tailrace.client.call.prices import Prices
from tailrace.client.request import envelope
from tailrace.client.request.parsed import parse

BASE = "http://127.0.0.1:1/v1"


def asked(path, body=None, method="POST", upload=None):
    raw = body if isinstance(body, bytes) else json.dumps(body or {}).encode()
    request = wire.Request(method, BASE + path, (("content-type", "application/json"),), raw, upload=upload)
    return parse(request, envelope.read(request))


BY = {
    "/chat/completions": "unknown", "/images/generations": "images", "/images/edits": "images",
    "/images/variations": "images", "/audio/speech": "characters", "/audio/transcriptions": "audio",
    "/audio/translations": "audio", "/videos": "video", "/videos/v/remix": "video", "/responses/compact": "tokens",
    "/moderations": "nothing", "/responses/input_tokens": "nothing", "/responses/r/cancel": "nothing",
    "/files": "nothing", "/uploads": "nothing", "/uploads/u/parts": "nothing", "/uploads/u/complete": "nothing",
    "/batches": "unknown", "/batches/b/cancel": "nothing", "/fine_tuning/jobs": "unknown",
    "/fine_tuning/jobs/j/cancel": "nothing", "/threads": "nothing", "/threads/t": "nothing",
    "/threads/t/messages": "nothing", "/threads/runs": "unknown", "/threads/t/runs": "unknown",
    "/threads/t/runs/r/submit_tool_outputs": "unknown", "/threads/t/runs/r/cancel": "nothing",
    "/containers": "unknown", "/vector_stores": "unknown", "/evals": "nothing", "/evals/e/runs": "unknown",
    "/realtime/client_secrets": "unknown", "/realtime/sessions": "unknown", "/realtime/calls": "unknown",
    "/conversations": "nothing", "/assistants": "nothing", "/chat/completions/c": "nothing", "/rerank": "unknown",
    "/agents": "unknown", "/": "unknown", "/files/batches": "unknown",
}  # fmt: skip


@pytest.mark.parametrize(("path", "by"), BY.items())
def test_each_operation_is_charged_by_what_the_table_says(path, by):
    """The end of the path of a POST decides; a body that cannot be read makes even a chat unknown; a GET is free."""
    assert charges.charged_by(asked(path, b"[]")) == by
    assert charges.charged_by(asked(path, b"", "GET")) == "nothing"


def test_a_chat_is_charged_by_tokens_unless_its_document_is_in_doubt():
    """Two models in one document: nobody knows which one is billed."""
    assert charges.charged_by(asked("/chat/completions", {"model": "gpt-4o-mini"})) == "tokens"
    assert charges.charged_by(asked("/chat/completions", b'{"model": "a", "model": "b"}')) == "unknown"


def most(path, body, own=None, upload=None):
    parsed = asked(path, body, upload=upload)
    return charges.most_usd(parsed, charges.charged_by(parsed), Prices(own=own), 4096)


def cost(path, body, answer, own=None, upload=None):
    parsed = asked(path, body, upload=upload)
    raw = json.dumps(answer).encode() if isinstance(answer, dict) else answer
    return charges.cost_usd(parsed, charges.charged_by(parsed), Prices(own=own), raw)


def upload(size_bytes, **fields):
    return wire.Upload(lambda: True, tuple(fields.items()), size_bytes)


def test_images_cost_by_their_tokens():
    """At the most 6240 tokens of $40 per million for each; in the end what the answer counts."""
    asks = {"model": "gpt-image-1", "prompt": "x", "n": 2}
    assert most("/images/generations", asks) == pytest.approx(2 * 6240 * 40e-6, rel=0.01)
    assert most("/images/generations", asks | {"model": "gpt-image-2"}) == pytest.approx(2 * 16384 * 30e-6, rel=0.01)
    counts = {"input_tokens": 10, "output_tokens": 272}
    assert cost("/images/generations", asks, {"data": [], "usage": counts}) == pytest.approx(10 * 5e-6 + 272 * 40e-6)
    assert cost("/images/generations", asks | {"model": "gpt-image-1.5"}, {"data": [], "usage": counts}) == (
        pytest.approx(10 * 5e-6 + 272 * 32e-6)
    )
    assert cost("/images/generations", asks, {"data": []}) is None
    edit = upload(1 << 20, model="gpt-image-1", prompt="x")
    assert most("/images/edits", b"", upload=edit) == pytest.approx(6240 * 40e-6 + 25_600 * 10e-6, rel=0.01)


def test_speech_costs_by_its_characters():
    """The request alone tells the cost of tts-1; that of a model by tokens stays unknown, and is reserved."""
    asks = {"model": "tts-1", "input": "x" * 2000}
    assert most("/audio/speech", asks) == cost("/audio/speech", asks, b"\xff\xfb") == pytest.approx(0.03)
    assert most("/audio/speech", asks | {"model": "gpt-4o-mini-tts"}) == pytest.approx(20_000 * 12e-6, rel=0.02)
    assert cost("/audio/speech", asks | {"model": "gpt-4o-mini-tts"}, b"\xff\xfb") is None


@pytest.mark.parametrize("answer", [{"text": "x", "usage": {"type": "duration", "seconds": 60}}, {"duration": 60.0}])
def test_a_transcription_costs_by_its_minutes(answer):
    """At the most as many seconds as the file has half kilobytes; in the end those of the answer."""
    form = upload(500 * 600, model="whisper-1")
    assert most("/audio/transcriptions", b"", upload=form) == pytest.approx(10 * 0.006)
    assert cost("/audio/transcriptions", b"", answer, upload=form) == pytest.approx(0.006)
    assert cost("/audio/transcriptions", b"", {"text": "x"}, upload=form) is None


def test_a_transcription_by_tokens_costs_what_the_answer_counts():
    """gpt-4o-transcribe: $6 per million tokens of sound, $2.50 of text, $10 of output."""
    form = upload(16_000, model="gpt-4o-transcribe")
    counts = {"type": "tokens", "input_tokens": 110, "input_token_details": {"audio_tokens": 100, "text_tokens": 10},
              "output_tokens": 20}  # fmt: skip
    expected = 100 * 6e-6 + 10 * 2.5e-6 + 20 * 10e-6
    assert cost("/audio/transcriptions", b"", {"text": "x", "usage": counts}, upload=form) == pytest.approx(expected)
    assert most("/audio/transcriptions", b"", upload=form) >= expected


UNKNOWN = [("/videos", {"model": "sora-2"}), ("/batches", {}), ("/images/generations", {"model": "dall-e-3"}),
           ("/images/generations", {}), ("/audio/speech", {"model": "my-voice", "input": "x"}),
           ("/fine_tuning/jobs", {"model": "gpt-4o-mini"}), ("/agents", {"model": "gpt-4o-mini"})]  # fmt: skip


@pytest.mark.parametrize(("path", "body"), UNKNOWN)
def test_what_has_no_price_is_unknown_and_never_0(path, body):
    """Neither the most nor the cost of it is known."""
    assert most(path, body) is None
    assert cost(path, body, {}) is None


OWN = [
    ("/images/generations", {"model": "dall-e-3", "n": 2}, {"dall-e-3": Price(image=0.08)}, 0.16),
    ("/images/generations", {"n": "3"}, {"images": Price(image=0.02)}, 0.06),
    ("/videos", {"model": "sora-2", "seconds": "8"}, {"sora-2": Price(video_s=0.1)}, 0.8),
    ("/batches", {}, {"batches": Price(call=2.0)}, 2.0),
    ("/batches", {}, {"batches": Price()}, 0.0),
    ("/audio/speech", {"model": "v", "input": "x" * 10}, {"v": Price(mchar=30.0)}, 3e-4),
    ("/rerank", {"model": "r"}, {"r": Price(call=0.002)}, 0.002),
]


@pytest.mark.parametrize(("path", "body", "own", "usd"), OWN)
def test_your_own_price_counts_for_any_operation(path, body, own, usd):
    """By the model, or by the operation where the call names no model: the same before and after."""
    assert most(path, body, own) == pytest.approx(usd)
    assert cost(path, body, {}, own) == pytest.approx(usd)


def test_a_price_by_tokens_needs_a_count():
    """An operation that is not known costs what its usage says, by your price; without one the cost is unknown."""
    own = {"r": Price(in_mtok=1.0, out_mtok=2.0)}
    counts = {"usage": {"prompt_tokens": 100, "completion_tokens": 10}}
    assert cost("/rerank", {"model": "r"}, counts, own) == pytest.approx(120e-6)
    assert cost("/rerank", {"model": "r"}, {}, own) is None
    assert most("/rerank", {"model": "r"}, own) > 4096 * 2e-6


WRONG = [{"m": 1}, {"": Price()}, {1: Price()}, {"m": "m"}, {"a": "b", "b": "c", "c": "a"}, [("m", Price())]]


@pytest.mark.parametrize("prices", WRONG)
def test_senseless_prices_are_refused_when_the_policy_is_made(prices):
    """A price that is none, or a name that leads back to itself."""
    with pytest.raises(ValueError, match=r"Policy\(prices="):
        Policy(prices=prices)


@pytest.mark.parametrize("field", ["in_mtok", "call", "cached_mtok", "video_s"])
def test_a_price_is_not_negative(field):
    """Below zero, infinite or no number: refused by name."""
    for value in (-0.1, float("inf"), float("nan"), "1"):
        with pytest.raises(ValueError, match=rf"Price\({field}="):
            Price(**{field: value})
