"""What the users of a service send: chat with streams where it speaks OpenAI's API, else its first smoke test."""

import orjson
import pytest

from tailrace import load
from tailrace.errors import ProfileError
from tailrace.profile import Profile
from tailrace.testbed import users

ARRIVALS = load.arrivals.constant(10, 1)
MIX = {"stream_share": 1.0, "repeat_share": 0.5}


def of(**service) -> Profile:
    return Profile(name="test", service=service)


def test_whoever_speaks_openai_gets_chat_with_streams():
    """Not only our service; the model and further fields come from the profile."""
    service = {"command": ["serve"], "api": "openai", "model": "tiny", "extra_body": {"max_tokens": 7, "top_k": 3}}
    profile = of(**service)
    assert users.no_chat(profile) == ""
    assert users.mix(profile, **MIX) == MIX
    traffic = users.traffic(profile, ARRIVALS, "x", **MIX)
    body = orjson.loads(traffic.workload.request(0).body)
    assert (body["model"], body["stream"], body["top_k"], body["temperature"]) == ("tiny", True, 3, 0)
    assert body["max_tokens"] == 7


def test_a_model_that_refuses_a_temperature_gets_none():
    """Null in `extra_body` takes it away, in traffic and in probes."""
    profile = of(command=["serve"], api="openai", extra_body={"temperature": None})
    assert b"temperature" not in users.traffic(profile, ARRIVALS, "x").workload.request(0).body
    assert "temperature" not in users.chat_probe(profile, "hello").json_body


def test_whoever_does_not_gets_the_first_smoke_test_and_no_stream_is_promised():
    """The mix of streams and repetitions is 0, and the reason names the request."""
    profile = of(command=["serve"], smoke=[{"path": "/hello"}])
    assert users.no_chat(profile) == "service.api is http, so users send GET /hello, the first smoke test"
    assert users.mix(profile, **MIX) == {"stream_share": 0.0, "repeat_share": 0.0}
    traffic = users.traffic(profile, ARRIVALS, "x", seed=3, **users.mix(profile, **MIX))
    assert (traffic.workload.kind, traffic.workload.path) == ("plain", "/hello")


@pytest.mark.parametrize("share", MIX)
def test_a_stream_that_cannot_be_sent_is_refused_and_never_dropped(share):
    """Whoever asks for one by hand learns what to change."""
    with pytest.raises(ProfileError, match=f"{share} above 0, but service.api is http.*; set them to 0, or"):
        users.traffic(of(command=["serve"]), ARRIVALS, "x", **{share: 0.2})


def test_the_load_gets_the_headers_as_they_are_written():
    """With the variable's name, never its value; those of the first smoke test where that is what is sent."""
    headers = {"authorization": "Bearer ${KEY}"}
    assert users.sender_options(of(headers=headers)) == {"headers": headers}
    assert users.sender_options(of()) == {}
    plain = of(command=["serve"], headers=headers, smoke=[{"headers": {"x-a": "1"}}])
    assert users.sender_options(plain) == {"headers": {**headers, "x-a": "1"}}
