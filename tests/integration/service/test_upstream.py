"""Requests that the service forwards, and their responses."""

import socket
import threading
import time
from urllib.parse import urlsplit

import httpx2
import openai
import pytest
from tests.integration.service.conftest import Service, Simulator, StartService, question


def test_a_response_is_the_providers_own(service: Service, provider: Simulator) -> None:
    """A response through the service is byte for byte the provider's own."""
    key = {"authorization": "Bearer " + "sk-" + "s" * 30}
    for path, body in (
        ("chat/completions", question(temperature=0)),
        ("responses", {"model": "gpt-4o-mini", "input": "hello"}),
        ("embeddings", {"model": "text-embedding-3-small", "input": "hello"}),
        ("chat/completions", question(stream=True)),
    ):
        direct = httpx2.post(f"{provider.url}/v1/{path}", json=body, headers=key)
        through = service.http.post(f"/v1/{path}", json=body)
        assert (through.status_code, through.content) == (direct.status_code, direct.content)
        assert through.headers["content-type"] == direct.headers["content-type"]
    assert service.http.get("/v1/models").json()["object"] == "list"
    assert service.http.get("/v1/models/gpt-4o-mini").status_code == 200
    assert service.http.get("/v1/nothing?x=1").status_code == 404


def test_the_official_sdk_works(service: Service) -> None:
    """The official SDK, pointed at the service, completes, streams and embeds."""
    with openai.OpenAI(base_url=f"{service.url}/v1", api_key="anything", max_retries=0) as client:
        messages = [{"role": "user", "content": "hello"}]
        whole = client.chat.completions.create(model="gpt-4o-mini", messages=messages, temperature=0)  # type: ignore[arg-type]
        assert whole.choices[0].message.content
        parts = client.chat.completions.create(model="gpt-4o-mini", messages=messages, stream=True)  # type: ignore[arg-type]
        assert "".join(part.choices[0].delta.content or "" for part in parts if part.choices)
        assert client.embeddings.create(model="text-embedding-3-small", input="hello").data[0].embedding


def test_a_stream_passes_chunk_by_chunk(service: Service, provider: Simulator) -> None:
    """The first chunk arrives long before the last one is sent."""
    provider.slow(ttft_s=0.02, token_s=0.03, token_sigma=0)
    arrivals = []
    with service.http.stream("POST", "/v1/chat/completions", json=question(stream=True, max_tokens=12)) as response:
        for chunk in response.iter_raw():
            arrivals.append(time.monotonic())
            last = chunk
    assert len(arrivals) > 8
    assert arrivals[-1] - arrivals[0] > 0.15
    assert last.endswith(b"data: [DONE]\n\n")


def test_a_repeated_request_is_a_hit(service: Service, provider: Simulator) -> None:
    """A request with temperature 0 is answered from the cache the second time, streams byte for byte."""
    for more in ({}, {"stream": True}):
        first, second = (service.chat(temperature=0, **more) for _ in range(2))
        assert [response.headers["x-tailrace-cache"] for response in (first, second)] == ["miss", "hit"]
        assert first.content == second.content
        assert (first.headers["x-tailrace-attempts"], second.headers["x-tailrace-attempts"]) == ("1", "0")
    assert provider.calls() == 2


def test_a_request_without_temperature_is_not_cached(service: Service, provider: Simulator) -> None:
    """A request that is not deterministic is sent twice."""
    assert [service.chat().headers["x-tailrace-cache"] for _ in range(2)] == ["bypass", "bypass"]
    assert provider.calls() == 2


def test_callers_with_different_credentials_share_nothing(service: Service, provider: Simulator) -> None:
    """With the service's own key, callers with different credentials have separate caches."""
    seen = []
    for name in ("Bearer one", "Bearer two", "Bearer one"):
        response = service.chat(temperature=0, headers={"authorization": name})
        seen.append(response.headers["x-tailrace-cache"])
    assert seen == ["miss", "miss", "hit"]
    assert provider.calls() == 2


def test_without_a_key_of_its_own_the_service_sends_the_callers(serve: StartService, provider: Simulator) -> None:
    """A service without a key sends the caller's, so that two callers get two responses."""
    service = serve(own_key=False)
    one, two = (service.chat(temperature=0, headers={"authorization": f"Bearer {name}"}) for name in ("one", "two"))
    assert one.content != two.content
    direct = httpx2.post(
        f"{provider.url}/v1/chat/completions", json=question(temperature=0), headers={"authorization": "Bearer one"}
    )
    assert one.content == direct.content


def test_transient_failures_are_retried(fresh: Service, provider: Simulator) -> None:
    """A success after two failures reports three attempts."""
    provider.break_with({"kind": "error500", "count": 2})
    response = fresh.chat()
    assert response.status_code == 200
    assert response.headers["x-tailrace-attempts"] == "3"
    assert int(response.headers["x-tailrace-backoff-us"]) >= 0


def test_a_disconnect_cancels_the_call_upstream(fresh: Service, provider: Simulator) -> None:
    """When the caller disconnects from a stream, the request to the provider ends, and the log says so."""
    provider.slow(ttft_s=0.02, token_s=0.2)
    with fresh.http.stream("POST", "/v1/chat/completions", json=question(stream=True, max_tokens=200)) as response:
        chunks = response.iter_raw()
        assert next(chunks)
        assert provider.stats["in_flight"] == 1
    deadline = time.monotonic() + 60
    while provider.stats["in_flight"] and time.monotonic() < deadline:
        time.sleep(0.02)
    assert provider.stats["in_flight"] == 0
    row = fresh.until("request")
    assert (row["outcome"], row["status"]) == ("cancelled", 499)


def test_the_first_of_two_callers_may_disconnect(service: Service, provider: Simulator) -> None:
    """Of two equal requests in flight the first is cancelled: the second gets the one response."""
    provider.slow(ttft_s=2, ttft_sigma=0)
    got: list[httpx2.Response] = []
    with pytest.raises(httpx2.ReadTimeout):
        service.http.post("/v1/chat/completions", json=question(temperature=0), timeout=0.1)
    follower = threading.Thread(target=lambda: got.append(service.chat(temperature=0)))
    follower.start()
    follower.join()
    assert got[0].status_code == 200
    assert got[0].headers["x-tailrace-cache"] == "coalesced"
    assert provider.calls() == 1


def test_every_response_names_its_instance(fresh: Service, provider: Simulator) -> None:
    """Every response has release, colour and request id, errors included; the caller's id is kept."""
    provider.break_with({"kind": "outage"})
    responses = [
        fresh.http.get("/healthz"), fresh.http.get("/readyz"), fresh.http.get("/metrics"),
        fresh.http.get("/nowhere"), fresh.http.post("/healthz"), fresh.http.get("/ask"), fresh.chat(),
        fresh.http.post("/ask", json={}),
    ]  # fmt: skip
    assert [response.status_code for response in responses] == [200, 503, 200, 404, 405, 405, 503, 422]
    for response in responses:
        assert (response.headers["x-release"], response.headers["x-colour"]) == ("r1", "blue")
        assert response.headers["x-request-id"].startswith("req_")
    assert fresh.http.get("/healthz", headers={"x-request-id": "mine-1"}).headers["x-request-id"] == "mine-1"


def test_errors_have_the_shape_of_openais(service: Service) -> None:
    """Unknown paths, wrong methods and paths that lead out get errors that OpenAI clients parse."""
    for response in (service.http.get("/nowhere"), service.http.delete("/ask"), service.http.get("/v1/%2e%2e/admin")):
        assert set(response.json()["error"]) == {"message", "type", "param", "code"}
    assert service.http.delete("/ask").headers["allow"] == "POST"


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_large_is_refused(serve: StartService, provider: Simulator, chunked: bool) -> None:
    """A body above the limit gets a 413, with and without a content-length; a smaller one passes."""
    service = serve(TAILRACE_MAX_BODY_BYTES="2000")
    body = b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"' + b"a" * 5000 + b'"}]}'
    response = service.http.post("/v1/chat/completions", content=iter([body]) if chunked else body)
    assert response.status_code == 413
    assert response.json()["error"]["code"] == "request_too_large"
    assert provider.calls() == 0
    assert service.chat("a" * 1000).status_code == 200


def test_a_role_that_is_not_a_text_is_a_400(service: Service, provider: Simulator) -> None:
    """What the guard rejects is the caller's error, whatever its type, and never a 500."""
    response = service.http.post("/v1/chat/completions", json={"messages": [{"role": ["user"], "content": "x"}]})
    assert (response.status_code, response.json()["error"]["param"]) == (400, "messages[0].role")
    assert provider.calls() == 0


def test_a_malformed_request_is_a_400(service: Service) -> None:
    """It gets an error in OpenAI's shape, with the release in a header."""
    address = urlsplit(service.url)
    with socket.create_connection((address.hostname, address.port), timeout=60) as raw:
        raw.sendall(b"GET / HTTP/1.1\r\nbroken header\r\n\r\n")
        response = b"".join(iter(lambda: raw.recv(65536), b""))
    assert response.startswith(b"HTTP/1.1 400 ")
    assert b"x-release: r1" in response
    assert b'"code":"malformed_request"' in response


def test_a_broken_stream_does_not_look_complete(fresh: Service, provider: Simulator) -> None:
    """When the provider cuts a stream, the caller's connection breaks, and nothing of it is cached."""
    provider.break_with({"kind": "cut_stream", "count": 1})
    with pytest.raises(httpx2.RemoteProtocolError):
        fresh.chat(temperature=0, stream=True)
    assert fresh.until("request")["outcome"] == "error"
    assert fresh.chat(temperature=0, stream=True).headers["x-tailrace-cache"] == "miss"
