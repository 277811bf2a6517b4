"""Who may reach the front door, and what of a service is not shown there."""

import re

import pytest

from certificates import Authority
from tailrace.deploy.edge import exposure
from tailrace.errors import ProfileError
from tailrace.profile import EdgeSettings, Profile, Tls

OURS = ["127.0.0.1", "127.1.2.3", "::1", "localhost"]
STRANGERS = [
    "0.0.0.0", "::", "10.0.0.1", "192.168.1.7", "203.0.113.9", "fe80::1", "::ffff:10.0.0.1", "127.evil.example",
    "localhost.evil.example", "example.com", "0", "",
]  # fmt: skip


@pytest.mark.parametrize("host", STRANGERS)
def test_an_edge_beyond_loopback_is_refused_until_the_profile_says_so(host):
    """The edge asks nobody who they are; without TLS others can read along, too."""
    with pytest.raises(ProfileError, match=r"beyond loopback.*edge\.tls.*edge\.open: true"):
        exposure.check(EdgeSettings(host=host))
    exposure.check(EdgeSettings(host=host, open=True))


@pytest.mark.parametrize("host", OURS)
def test_an_edge_on_loopback_needs_no_word(host):
    """Negative control."""
    exposure.check(EdgeSettings(host=host))


def test_a_certificate_asks_nobody_who_they_are(tmp_path):
    """TLS alone is no authentication; the reason says only what is missing."""
    certificate, key = Authority.made(tmp_path).sign("host")
    pair = Tls(certificate=str(certificate), key=str(key))
    with pytest.raises(ProfileError, match=r"nobody who they are\. Let a proxy"):
        exposure.check(EdgeSettings(host="0.0.0.0", tls=pair))


SPELLED = [
    "/metrics", "/metrics/", "/metrics?x=1", "/metrics#a", "//metrics", "///metrics", "/./metrics", "/.//metrics",
    "/x/../metrics", "/v1/chat/../../metrics", "/%6detrics", "/%6D%65%74%72%69%63%73", "/METRICS", "/x/%2e%2e/metrics",
    "/%2fmetrics", "/metrics;a=b", "/metrics%3fx", "/metrics/below", "/%2e/metrics", "/\\metrics", "/x/..%2fmetrics",
    "/metrics%00",
]  # fmt: skip
OTHERS = [
    "/", "/v1/metrics", "/metric", "/metricsx", "/metrics.json", "/metrics-of-mine", "/x?a=/metrics",
    "/my/metrics/page", "/v1/chat/completions", "/v1/files/..metrics", "/a..b/metrics",
]  # fmt: skip


@pytest.mark.parametrize("path", SPELLED)
def test_every_spelling_of_a_hidden_path_is_hidden(path):
    """Whatever some server makes of it."""
    assert re.fullmatch(exposure.spellings("/metrics"), path)


@pytest.mark.parametrize("path", OTHERS)
def test_no_other_path_is_hidden(path):
    """Negative control: a name within a path is not the path, and an argument is none."""
    assert not re.fullmatch(exposure.spellings("/metrics"), path)


@pytest.mark.parametrize("path", ["/a/b/c", "/reset_prefix_cache", "/a.b/c~d-e"])
def test_paths_of_more_than_one_part_are_hidden_too(path):
    """Signs of regular expressions stand for themselves."""
    expression = exposure.spellings(path)
    assert re.fullmatch(expression, path)
    assert re.fullmatch(expression, path.replace("/", "//"))
    assert not re.fullmatch(expression, path[:-1] + "!")
    assert not re.fullmatch(expression, path.replace(".", "!")) or "." not in path


@pytest.mark.parametrize(
    ("service", "edge", "hidden"),
    [
        ({}, {}, ("/metrics",)),
        ({"command": ["x"], "metrics": "/stats"}, {}, ("/metrics", "/stats")),
        ({"command": ["x"], "metrics": "http://a.example/stats"}, {}, ("/metrics",)),
        ({"command": ["x"], "metrics": "/stats"}, {"hidden_paths": []}, ()),
        ({}, {"hidden_paths": ["/admin"]}, ("/admin",)),
    ],
)
def test_the_metrics_of_a_service_are_hidden_until_the_profile_says_otherwise(service, edge, hidden):
    """Wherever it has them."""
    profile = Profile.model_validate({"name": "a", "service": service, "edge": edge})
    assert profile.configured_edge.hidden_paths == hidden
