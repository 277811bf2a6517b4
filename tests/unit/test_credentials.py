"""Credentials are found; ordinary text is not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credential_examples import EXAMPLES
from tailrace import credentials


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in EXAMPLES.items() for text in texts])
def test_a_credential_is_found_by_kind_and_place(kind, text):
    """Each kind is found in the middle of other text, with its position."""
    found = list(credentials.find(f'{{"key": "{text}"}}'))
    assert [finding.kind for finding in found] == [kind]
    assert found[0].start >= 9


def test_every_kind_has_an_example():
    """Every pattern has an example."""
    assert EXAMPLES.keys() == credentials.PATTERNS.keys()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sk-short",
        "task-" + "a" * 30,
        "risk-free",
        "https://example.com/a:b@c",
        "Bearer token",
        "AKIA",
        "sha256:" + "ab" * 32,
    ],
)
def test_ordinary_text_is_let_through(text):
    """Digests, addresses and words with a similar beginning are not credentials."""
    assert list(credentials.find(text)) == []


@given(st.text())
def test_a_finding_never_carries_the_text(text):
    """A finding holds kind and place only."""
    for finding in credentials.find(text + EXAMPLES["OpenAI-style key"][0]):
        assert EXAMPLES["OpenAI-style key"][0] not in str(finding)


@pytest.mark.parametrize("name", ["OPENAI_API_KEY", "api_key", "DB_PASSWORD", "token", "MY_SECRET", "AWS_CREDENTIALS"])
def test_names_of_secrets_are_known(name):
    """A setting with such a name has to come from the environment."""
    assert credentials.SECRET_NAME.search(name)


@pytest.mark.parametrize("name", ["TAILRACE_RETRY_ATTEMPTS", "MAX_TOKENS", "KEYBOARD", "TAILRACE_API_KEY_ENV"])
def test_names_of_plain_settings_are_not(name):
    """Names that merely contain such a word are ordinary settings."""
    assert not credentials.SECRET_NAME.search(name)


NAMES = {
    **dict.fromkeys(credentials.HEADERS, True), "x-apikey": True, "x-client-secret": True,
    "openai-api-credentials": True, "x-team-token": True, "x_api_key": True,
    "idempotency-key": False, "x-idempotency-key": False, "content-type": False, "user-agent": False, "author": False,
    "x-max-tokens": False, "x-monkey": False, "accept": False, "openai-beta": False, "anthropic-version": False,
    "openai-organization": False, "x-trace-options-signature": False,
}  # fmt: skip


@pytest.mark.parametrize(("name", "secret"), NAMES.items())
def test_a_header_with_a_credential_is_known_by_its_name(name, secret):
    """The key headers of known providers, and names that say key, token, secret or authorisation; others are not."""
    assert name == name.lower()
    assert credentials.in_header(name) is secret


def test_the_credentials_of_a_query_are_taken_out():
    """`key`, `sig` and their like go; everything else stays as it was written."""
    assert credentials.without_arguments("api-version=1&key=a&x-goog-api_key=b&sig=c") == "api-version=1"
    assert credentials.without_arguments("api-version=1%20b&a=") == "api-version=1%20b&a="
