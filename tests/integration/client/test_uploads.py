"""Uploads over real HTTP: forms with files, files and iterables go through the policy, as the SDK would send them."""

import asyncio
import gzip
import io
import json
import os
import tracemalloc
from pathlib import Path

import h11
import httpx2
import openai
import pytest

from tailrace import AsyncOpenAI, Breaker, Guard, Limits, OpenAI, Policy, Retry, limits, transport
from tailrace.client import BodyChanged, InputRejected

RETRY = Retry(base_s=0.001, cap_s=0.002)
AUDIO = b"RIFF" * 50_000
FAILURES = {"503": {"status": 503}, "429": {"status": 429}, "408": {"status": 408}, "a reset": {"cut": True}}
pytestmark = [
    pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The Sora API:DeprecationWarning"),
]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    """Let the stock SDK try again at once."""
    monkeypatch.setattr(openai.OpenAI, "_calculate_retry_timeout", lambda *_: 0.0)
    monkeypatch.setattr(openai.AsyncOpenAI, "_calculate_retry_timeout", lambda *_: 0.0)


def moved(data, position):
    file = io.BytesIO(data)
    file.seek(position)
    return file


class Unseekable(io.BytesIO):
    """A pipe as Python shows it: it has `seek`, and says that it cannot."""

    def seekable(self):
        return False

    def seek(self, *_):
        raise io.UnsupportedOperation("underlying stream is not seekable")

    def tell(self):
        raise io.UnsupportedOperation("underlying stream is not seekable")


FILES = {
    "bytes": lambda path: ("a.wav", AUDIO),
    "bytes with a type": lambda path: ("a.wav", AUDIO, "audio/wav"),
    "a file in memory": lambda path: ("a.wav", io.BytesIO(AUDIO)),
    "a file in memory, at its end": lambda path: ("a.wav", moved(AUDIO, len(AUDIO))),
    "an open file": lambda path: path.open("rb"),
    "a path": lambda path: path,
}
ACTS = {
    "transcription": lambda c, file: c.audio.transcriptions.create(model="whisper-1", file=file),
    "translation": lambda c, file: c.audio.translations.create(model="whisper-1", file=file, prompt="names: Ann"),
    "files": lambda c, file: c.files.create(purpose="batch", file=file),
    "a part": lambda c, file: c.uploads.parts.create("upload_1", data=file),
    "an edit of two images": lambda c, file: c.images.edit(
        model="gpt-image-1", prompt="a hat", image=[file, ("b", b"2")]
    ),
    "a variation": lambda c, file: c.images.create_variation(image=file),
    "a video": lambda c, file: c.videos.create(model="sora-2", prompt="a hat", input_reference=file),
    "a container": lambda c, file: c.containers.files.create("c_1", file=file),
}
BODIES = {
    "bytes": lambda path: b"v=0 " * 100,
    "an open file": lambda path: path.open("rb"),
    "a file in memory, past its beginning": lambda path: moved(AUDIO, 8),
    "a list": lambda path: [b"one", b"two"],
}
ONCE = {
    "a generator": lambda path: (piece for piece in (b"one", b"two")),
    "an iterator": lambda path: iter([b"one", b"two"]),
    "a pipe": lambda path: Unseekable(AUDIO),
}


def posted(client, content):
    headers = {"content-type": "application/octet-stream"}
    return client.post("/anything", cast_to=httpx2.Response, content=content, options={"headers": headers})


async def awaited(client, act):
    async with client:
        result = act(client)
        return await result if asyncio.iscoroutine(result) else result


def outcome(make, act):
    """Return what `act` gives or raises on the client that `make` makes, of either kind."""
    client = make()
    try:
        if isinstance(client, openai.AsyncOpenAI):
            asyncio.run(awaited(client, act))
        else:
            with client:
                act(client)
    except openai.APIStatusError as error:
        return type(error), error.status_code
    return "ok"


def bodies(provider):
    """Return the bodies that came, without the boundaries of their forms."""
    found = []
    for seen in provider.seen:
        boundary = seen.headers.get("content-type", "").partition("boundary=")[2]
        found.append((seen.path, seen.body.replace(boundary.encode(), b"") if boundary else seen.body))
    provider.seen.clear()
    return found


KINDS = {"threads": (openai.OpenAI, OpenAI), "asyncio": (openai.AsyncOpenAI, AsyncOpenAI)}


@pytest.fixture(params=KINDS.values(), ids=KINDS)
def both(request, provider, key, make):
    """Return a function that runs an act after failures, with the stock SDK and with ours: (outcome, bodies)."""
    stock, ours = request.param
    calls = []

    def run(act, *failures, **policy):
        provider.usual = lambda seen: make.answer(body=b'{"id": "f", "text": "hello", "data": []}')
        results = []
        for client in (
            lambda: stock(api_key=key, base_url=provider.url, max_retries=3),
            lambda: ours(
                api_key=key,
                base_url=provider.url,
                policy=Policy(**{"retry": RETRY, "hooks": (calls.append,), **policy}),
            ),
        ):
            provider.answers[:] = [make.answer(**{"headers": {"retry-after-ms": "1"}, **one}) for one in failures]
            results.append((outcome(client, act), bodies(provider)))
        return results

    run.calls = calls
    return run


@pytest.fixture
def path(tmp_path):
    """A file whose `open` is closed with the test."""
    opened = []

    class Path(type(tmp_path)):
        def open(self, mode):
            opened.append(super().open(mode))
            return opened[-1]

    file = Path(tmp_path / "a.wav")
    file.write_bytes(AUDIO)
    yield file
    for one in opened:
        one.close()


@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS)
def test_an_upload_is_sent_again_byte_for_byte(both, path, act):
    """Every endpoint that takes files is retried after a 503, as the SDK does it, and told to the hooks as one call."""
    stock, ours = both(lambda client: act(client, ("a.wav", io.BytesIO(AUDIO))), {"status": 503})
    assert ours == stock
    assert ours[0] == "ok"
    assert [len(body) > len(AUDIO) for _, body in ours[1]] == [True, True]
    assert ours[1][0] == ours[1][1]
    assert [(call.attempts, call.outcome, call.cache) for call in both.calls] == [(2, "ok", "bypass")]


@pytest.mark.parametrize("file", FILES.values(), ids=FILES)
def test_each_kind_of_file_is_read_again_from_its_beginning(both, path, file):
    """Bytes, files on disk and in memory, and paths arrive whole at each attempt, wherever they stood before."""
    stock, ours = both(lambda client: ACTS["transcription"](client, file(path)), {"status": 503}, {"status": 500})
    assert ours == stock
    assert len(ours[1]) == 3
    assert all(AUDIO in body for _, body in ours[1])


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
def test_what_may_succeed_next_time_is_uploaded_again(both, path, failure):
    """An overloaded provider, a timeout and a reset are followed by another attempt; a wrong request is not."""
    stock, ours = both(lambda client: ACTS["files"](client, path.open("rb")), failure)
    assert ours == stock
    assert (ours[0], len(ours[1])) == ("ok", 2)
    refused = both(lambda client: ACTS["files"](client, path.open("rb")), {"status": 400})
    assert refused[0] == refused[1]
    assert [len(sent) for _, sent in refused] == [1, 1]


@pytest.mark.parametrize("content", BODIES.values(), ids=BODIES)
def test_a_body_that_is_no_form_is_sent_again(provider, key, make, path, content):
    """Raw bytes, files and lists are repeated; a file from where it stood, as the SDK does."""
    for client, more in ((openai.OpenAI, {}), (OpenAI, {"policy": Policy(retry=RETRY)})):
        provider.answers[:] = [make.answer(status=503, headers={"retry-after-ms": "1"})]
        with client(api_key=key, base_url=provider.url, **more) as made:
            posted(made, content(path))
    sent = bodies(provider)
    assert len(sent) == 4
    assert len(set(sent)) == 1
    assert sent[0][1]


@pytest.mark.parametrize("content", ONCE.values(), ids=ONCE)
def test_what_can_be_read_only_once_is_sent_once(provider, key, make, path, content):
    """A generator, an iterator and a pipe are not sent again, because they are empty by then; the hooks hear of it."""
    for client in (openai.OpenAI, OpenAI):
        calls = []
        more = {"policy": Policy(retry=RETRY, hooks=(calls.append,))} if client is OpenAI else {"max_retries": 3}
        provider.answers[:] = [make.answer(status=503)]
        with client(api_key=key, base_url=provider.url, **more) as made, pytest.raises(openai.InternalServerError):
            posted(made, content(path))
        sent = bodies(provider)
        assert len(sent) == 1
        assert sent[0][1]
    assert [(call.attempts, call.status) for call in calls] == [(1, 503)]


def test_a_form_with_a_file_of_which_one_cannot_go_back_is_sent_once(both):
    """One pipe among files that could be read again decides for all of them."""
    stock, ours = both(
        lambda client: client.images.edit(
            model="gpt-image-1", prompt="x", image=[("a", io.BytesIO(b"1")), ("b", Unseekable(b"2"))]
        ),
        {"status": 503},
    )
    assert ours == stock
    assert len(ours[1]) == 1


def test_a_file_that_was_closed_between_two_attempts_ends_the_call_with_the_first_failure(provider, key, make):
    """The provider's own error is raised, not that of the file, as the SDK does it."""
    file = io.BytesIO(AUDIO)

    def close(seen):
        file.close()
        return make.answer(status=503)

    for client in (openai.OpenAI(api_key=key, base_url=provider.url), OpenAI(api_key=key, base_url=provider.url)):
        file = io.BytesIO(AUDIO)
        provider.usual = close
        with client, pytest.raises(openai.InternalServerError):
            client.files.create(purpose="batch", file=("a", file))
        assert len(provider.seen) == 1
        provider.seen.clear()


def test_an_upload_follows_a_redirect(both, provider, make, path):
    """A 307 sends the whole form to the other place, and a failure there is retried there."""
    stock, ours = both(
        lambda client: ACTS["files"](client, path.open("rb")),
        {"status": 307, "headers": {"location": "/v1/elsewhere"}},
        {"status": 503},
    )
    assert ours[0] == stock[0] == "ok"
    places = [(at, AUDIO in body) for at, body in ours[1]]
    assert places == [("/v1/files", True), ("/v1/elsewhere", True), ("/v1/elsewhere", True)]


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_file_that_cannot_be_read_is_the_callers_error(provider, key, asynchronous):
    """Its own error reaches the caller, as with the SDK, and is no failure of the provider: nothing is tried again."""

    class Broken(io.BytesIO):
        def read(self, *_):
            raise OSError("the disk is broken")

    def act(client):
        return client.files.create(purpose="batch", file=("a", Broken(AUDIO)))

    stock, ours = KINDS["asyncio" if asynchronous else "threads"]
    calls = []
    for client in (
        stock(api_key=key, base_url=provider.url),
        ours(api_key=key, base_url=provider.url, policy=Policy(retry=RETRY, hooks=(calls.append,))),
    ):
        with pytest.raises(OSError, match="the disk is broken"):
            outcome(lambda client=client: client, act)
    assert [(call.outcome, call.attempts, call.error_type) for call in calls] == [("error", 1, "OSError")]


def written(file, data, position=0):
    """Write to a file that another handle reads, or to one in memory."""
    if isinstance(file, io.BytesIO):
        here = file.tell()
        file.seek(position)
        file.write(data)
        file.seek(here)
    else:
        with Path(file.name).open("r+b") as other:
            other.seek(position)
            other.write(data)


def whole(seen):
    """Whether the body of a request came to its end."""
    return len(seen.body) == int(seen.headers["content-length"])


def shortened(file, length):
    file.truncate(length) if isinstance(file, io.BytesIO) else os.truncate(file.name, length)


NOISE = os.urandom(200_000)
KEPT = {
    "nobody writes to it": lambda file: None,
    "it grows": lambda file: written(file, b"more" * 30_000, len(NOISE)),
    "it grows by a byte": lambda file: written(file, b"!", len(NOISE)),
}
CHANGES = {
    "it is shortened": lambda file: shortened(file, 1000),
    "it is emptied": lambda file: shortened(file, 0),
    "its first byte changes": lambda file: written(file, bytes([NOISE[0] ^ 1])),
    "its last byte changes": lambda file: written(file, bytes([NOISE[-1] ^ 1]), len(NOISE) - 1),
    "a longer file takes its place": lambda file: written(file, os.urandom(300_000)),
}
SENT = {
    "a form": lambda client, file: client.files.create(purpose="batch", file=("a", file)),
    "a body": posted,
}
OPENED = {"on disk": lambda path: path.open("rb"), "in memory": lambda path: io.BytesIO(NOISE)}


@pytest.fixture(params=["a form, threads", "a form, asyncio", "a body, threads"])  # asyncio takes no file as a body
def uploaded(request, provider, key, make, path):
    """Return a function that changes a file after the first attempt: (outcome, the whole bodies that came, calls)."""
    act, kinds = SENT[request.param[:6]], KINDS[request.param[8:]]

    def run(change, opened, ours=True):
        provider.seen.clear()
        path.write_bytes(NOISE)
        calls, file = [], opened(path)

        def refuse_once(seen):
            if not whole(seen) or len([one for one in provider.seen if whole(one)]) > 1:
                return make.answer(body=b'{"id": "f"}')
            change(file)
            return make.answer(status=503, headers={"retry-after-ms": "1"})

        provider.usual = refuse_once
        more = {"policy": Policy(retry=RETRY, hooks=(calls.append,))} if ours else {"max_retries": 3}
        kind = kinds[ours]
        try:
            result = outcome(lambda: kind(api_key=key, base_url=provider.url, **more), lambda c: act(c, file))
        except (openai.APIError, httpx2.HTTPError) as error:
            result = error
        provider.seen[:] = filter(whole, provider.seen)
        return result, [body for _, body in bodies(provider)], calls

    run.form = act is not posted
    return run


@pytest.mark.parametrize("opened", OPENED.values(), ids=OPENED)
def test_a_retry_sends_the_bytes_of_the_first_attempt(uploaded, opened):
    """What is appended between two attempts is left out; the stock SDK sends it in a form."""
    for change in KEPT.values():
        result, sent, calls = uploaded(change, opened)
        assert result == "ok"
        assert len(sent) == 2
        assert sent[0] == sent[1]
        assert NOISE in sent[0]
        assert [call.attempts for call in calls] == [2]
    if uploaded.form:
        _, sent, _ = uploaded(KEPT["it grows"], opened, ours=False)
        assert len(sent[1]) == len(sent[0]) + 120_000


@pytest.mark.parametrize("opened", OPENED.values(), ids=OPENED)
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_file_that_cannot_give_the_same_bytes_ends_the_call(uploaded, opened, change):
    """The provider gets no second body, neither a part of one nor a mixed one; the caller gets an error."""
    error, sent, calls = uploaded(change, opened)
    assert isinstance(error, BodyChanged)
    assert "a file of the body" in error.message
    assert len(sent) == 1
    assert [(call.outcome, call.error_type) for call in calls] == [("error", "BodyChanged")]
    assert 1 <= error.attempts == calls[0].attempts <= 2
    if uploaded.form:
        stock, sent, _ = uploaded(change, opened, ours=False)
        assert (stock, len(sent)) == ("ok", 2)
        assert sent[0] != sent[1]


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_file_that_grows_before_the_first_attempt_is_sent_as_long_as_its_header_says(
    provider, key, make, path, asynchronous
):
    """The length was sent already, so what came later is left out; the stock SDK fails."""
    provider.usual = lambda seen: make.answer(body=b'{"id": "f"}')
    path.write_bytes(NOISE)
    for ours in (True, False):
        file = path.open("rb")

        def grow(request, file=file):
            written(file, b"more", Path(file.name).stat().st_size)

        async def agrow(request, grow=grow):
            grow(request)

        http, hook = (httpx2.AsyncClient, agrow) if asynchronous else (httpx2.Client, grow)
        http_client = http(event_hooks={"request": [hook]})
        kind = KINDS["asyncio" if asynchronous else "threads"][ours]

        def act(file=file, kind=kind, http_client=http_client):
            make_client = lambda: kind(api_key=key, base_url=provider.url, http_client=http_client)  # noqa: E731
            return outcome(make_client, lambda client: SENT["a form"](client, file))

        provider.seen.clear()
        if ours:
            assert act() == "ok"
            (seen,) = provider.seen
            assert NOISE + b"\r\n--" in seen.body
        else:
            with pytest.raises(h11.LocalProtocolError, match="Too much data"):
                act()


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_file_that_gives_more_than_its_length_is_not_cut(provider, key, tmp_path, asynchronous):
    """A compressed file says the length that it has on disk: the call ends before what it holds is cut to that."""
    place = tmp_path / "a.gz"
    place.write_bytes(gzip.compress(b"0" * 100_000))
    kind = KINDS["asyncio" if asynchronous else "threads"][1]
    with gzip.open(place, "rb") as file, pytest.raises(BodyChanged, match="more than the"):
        outcome(lambda: kind(api_key=key, base_url=provider.url), lambda client: SENT["a form"](client, file))
    assert not list(filter(whole, provider.seen))


def test_json_is_read_whatever_its_type_is_called(provider, key, make):
    """Another name of its type, or a wrong one, leads past no part of the policy; what is no JSON has no key."""
    body = json.dumps({"model": "gpt-4o-mini", "temperature": 0, "messages": [{"role": "user", "content": "hi"}]})
    provider.usual = lambda seen: make.answer(body=make.completion())
    with httpx2.Client(transport=transport(Policy()), headers={"authorization": f"Bearer {key}"}) as http:

        def caches(kind, content):
            headers = {"content-type": kind}
            answers = [http.post(f"{provider.url}/chat/completions", content=content, headers=headers) for _ in "12"]
            return [answer.headers["x-tailrace-cache"] for answer in answers]

        for kind in ("application/json", "Application/JSON; charset=utf-8", "text/json", "text/plain"):
            assert caches(kind, body.encode()) == ["miss", "hit"]
        assert caches("text/plain", b"v=0") == ["bypass", "bypass"]


def test_the_row_of_an_upload_has_its_model_and_no_prompt(both, path):
    """Model and operation come from the form; prompt, file name and key are nowhere in the row."""
    with limits(tenant="acme"):
        both(lambda client: client.audio.transcriptions.create(model="whisper-1", file=path, prompt="SECRET"))
    (call,) = both.calls
    assert (call.operation, call.model, call.asked_model, call.tenant) == ("audio", "whisper-1", "whisper-1", "acme")
    assert "SECRET" not in repr(call)
    assert "a.wav" not in repr(call)


def test_deadline_breaker_and_guard_hold_for_uploads(provider, key, make, path):
    """A deadline ends an upload, a broken provider opens the circuit, and the guard reads the texts of a form."""
    act = ACTS["transcription"]
    provider.usual = lambda seen: make.answer(delay_s=1.0)
    with (
        OpenAI(api_key=key, base_url=provider.url) as client,
        limits(deadline_s=0.2),
        pytest.raises(openai.APITimeoutError),
    ):
        act(client, path)
    provider.usual = lambda seen: make.answer(status=503)
    policy = Policy(retry=None, limits=Limits(breaker=Breaker(open_s=600.0)))
    with OpenAI(api_key=key, base_url=provider.url, policy=policy) as client:
        for _ in range(20):
            with pytest.raises(openai.InternalServerError):
                act(client, path)
        sent = len(provider.seen)
        with pytest.raises(openai.APIConnectionError):
            act(client, path)
        assert len(provider.seen) == sent
    with OpenAI(api_key=key, base_url=provider.url) as client:
        with pytest.raises(InputRejected) as caught:
            client.audio.transcriptions.create(model="whisper-1", file=path, prompt="a\x00b")
        assert caught.value.where == "prompt"
        assert len(provider.seen) == sent


def test_the_guard_limits_texts_and_not_files(provider, key, make, path):
    """A file may be larger than the text that the guard allows, a prompt may not."""
    provider.usual = lambda seen: make.answer(body=b'{"text": "hello"}')
    policy = Policy(guard=Guard(max_bytes=1000))
    with OpenAI(api_key=key, base_url=provider.url, policy=policy) as client:
        assert ACTS["transcription"](client, path).text == "hello"
        with pytest.raises(InputRejected):
            client.audio.transcriptions.create(model="whisper-1", file=path, prompt="x" * 1001)


def test_memory_does_not_grow_with_the_file(key, tmp_path):
    """A file of 32 MB is sent three times in less than 2 MB of memory; one who reads it whole takes 32."""
    path = tmp_path / "large"
    path.touch()
    os.truncate(path, 32 << 20)
    with httpx2.Client(transport=transport(Policy(retry=RETRY), inner=Discards(2))) as http:
        client = openai.OpenAI(api_key=key, base_url="http://localhost/v1", http_client=http, max_retries=0)
        with path.open("rb") as file:
            assert peak(lambda: client.files.create(purpose="batch", file=file)) < 2 << 20
            assert file.seek(0) == 0
            assert peak(file.read) > 30 << 20


def peak(act):
    tracemalloc.start()
    try:
        act()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


class Discards(httpx2.BaseTransport):
    """Reads a body piece by piece, keeps nothing of it, and fails as often as it is told."""

    def __init__(self, failures):
        self.failures = failures

    def handle_request(self, request):
        assert sum(map(len, request.stream)) == int(request.headers["content-length"])
        self.failures -= 1
        return httpx2.Response(503 if self.failures >= 0 else 200, json={"id": "f"}, request=request)
