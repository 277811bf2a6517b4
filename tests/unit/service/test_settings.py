"""The service's settings."""

import pytest

from tailrace.errors import SettingsError
from tailrace.service.policy import PolicyDocument
from tailrace.service.settings import TABLE, Settings

URL = {"TAILRACE_PROVIDER_URL": "http://127.0.0.1:9/v1"}


def refused(**environment: str) -> str:
    with pytest.raises(SettingsError) as caught:
        Settings.read({**URL, **environment})
    return str(caught.value)


def test_only_the_url_is_required() -> None:
    """Every other setting has a default."""
    assert Settings.read(URL) == Settings(provider_url="http://127.0.0.1:9/v1")


def test_every_setting_is_read() -> None:
    """Each name of the table is read into its field."""
    given = {
        "TAILRACE_PROVIDER_URL": "https://api.example/v1/", "TAILRACE_API_KEY_ENV": "MY_KEY", "MY_KEY": "k" * 9,
        "TAILRACE_RELEASE": "0123456789ab", "TAILRACE_COLOUR": "green", "TAILRACE_GENERATION": "7",
        "TAILRACE_RESTARTS": "2", "TAILRACE_MODEL": "gpt-x",
        "TAILRACE_CACHE": "off", "TAILRACE_CACHE_MAX_BYTES": "1000",
        "TAILRACE_CACHE_TTL_S": "5.5", "TAILRACE_RETRY_ATTEMPTS": "1", "TAILRACE_DEADLINE_S": "3",
        "TAILRACE_ATTEMPT_TIMEOUT_S": "2", "TAILRACE_SLO_MS": "250,50", "TAILRACE_DRAIN_S": "0",
        "TAILRACE_MAX_BODY_BYTES": "10", "TAILRACE_MAX_BODIES_BYTES": "20", "TAILRACE_MAX_IN_FLIGHT": "9",
        "TAILRACE_MAX_HEAD_BYTES": "2000", "TAILRACE_OPEN": "yes", "TAILRACE_ANONYMOUS": "apart",
        "TAILRACE_READY_TIMEOUT_S": "0.5", "TAILRACE_SILENCE_S": "4",
        "TAILRACE_POLICY": '{"limits": {"concurrency": 8}}',
    }  # fmt: skip
    assert {name for name in given if name.startswith("TAILRACE_")} == {setting.name for setting in TABLE}
    assert Settings.read(given) == Settings(
        provider_url="https://api.example/v1", api_key_env="MY_KEY", api_key="k" * 9, release="0123456789ab",
        colour="green", generation=7, restarts=2, model="gpt-x", cache="off", cache_max_bytes=1000, cache_ttl_s=5.5,
        retry_attempts=1, deadline_s=3.0, attempt_timeout_s=2.0, silence_s=4.0, slo_ms=(50.0, 250.0), drain_s=0.0,
        max_body_bytes=10, max_bodies_bytes=20, max_in_flight=9, max_head_bytes=2000, open="yes", anonymous="apart",
        ready_timeout_s=0.5,
        policy=PolicyDocument({"limits": {"concurrency": 8}}))  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PROVIDER_URL", "ftp://x/v1"), ("PROVIDER_URL", "http://x/v1?a=b"), ("API_KEY_ENV", "not a name"),
        ("COLOUR", "Blue"), ("GENERATION", "-1"), ("MODEL", ""), ("CACHE", "redis"), ("CACHE", "sqlite:"),
        ("CACHE", "sqlite:/no/such/folder/x.db"), ("CACHE_MAX_BYTES", "0"), ("CACHE_TTL_S", "nan"),
        ("RETRY_ATTEMPTS", "0"), ("DEADLINE_S", "inf"), ("ATTEMPT_TIMEOUT_S", "soon"), ("SLO_MS", "50,,100"),
        ("SLO_MS", "0"), ("DRAIN_S", "-1"), ("MAX_BODY_BYTES", "1e6"), ("READY_TIMEOUT_S", "0"),
        ("RELEASE", "a\nb"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_one_line(name: str, value: str) -> None:
    """A wrong value gives one line with its name, the value and what is expected."""
    line = refused(**{f"TAILRACE_{name}": value})
    assert line.startswith(f"TAILRACE_{name}: found {value!r}; expected ")
    assert "\n" not in line


def test_all_problems_are_reported_together() -> None:
    """Each problem has its own line."""
    assert len(refused(TAILRACE_DRAIN_S="x", TAILRACE_COLOUR="?", TAILRACE_NONSENSE="1").splitlines()) == 3


def test_an_unknown_name_is_refused() -> None:
    """A misspelt name is refused, and the nearest known one suggested."""
    assert refused(TAILRACE_DEADLINES="1") == "TAILRACE_DEADLINES: unknown setting; did you mean TAILRACE_DEADLINE_S?"


def test_a_missing_url_is_refused() -> None:
    """The provider's URL has no default."""
    with pytest.raises(SettingsError, match=r"^TAILRACE_PROVIDER_URL: not set; expected an http\(s\) URL"):
        Settings.read({})


def test_a_value_that_may_be_a_secret_is_not_shown() -> None:
    """A value that looks like a credential is neither in the error nor in the settings' repr."""
    key = "sk-" + "a" * 30
    assert key not in refused(TAILRACE_CACHE=key)
    assert "hunter2" not in refused(TAILRACE_PROVIDER_URL="http://me:hunter2@x/v1")
    assert "hunter2" not in refused(TAILRACE_CACHE="redis://:hunter2@h/nonsense")
    assert "hunter2" not in refused(TAILRACE_CACHE="redis://h?password=hunter2")
    assert "hunter2" not in repr(Settings.read({**URL, "TAILRACE_CACHE": "redis://:hunter2@h:6379/1"}))
    settings = Settings.read({**URL, "OPENAI_API_KEY": key})
    assert settings.api_key == key
    assert key not in repr(settings)


def test_a_key_that_cannot_be_a_header_is_refused() -> None:
    """A key with a line break is refused, and not shown."""
    line = refused(OPENAI_API_KEY="abc\ndef")
    assert line.startswith("OPENAI_API_KEY: ")
    assert "abc" not in line
