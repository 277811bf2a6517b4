"""The values of known secrets are found in every form, and nothing else is changed."""

import base64
import html
import json
from urllib.parse import quote, quote_plus, urlencode

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace import masking
from tailrace.masking import Mask

SECRET = 'zebra/quartz+44"17&<plain> é'
MASK = Mask.of({"CANARY_KEY": SECRET})
WAYS = {
    "plain": lambda s: f"Invalid key {s} for this model",
    "JSON": lambda s: json.dumps({"message": f"no {s}"}),
    "JSON of UTF-8": lambda s: orjson.dumps({"message": f"no {s}"}).decode(),
    "JSON in JSON's text": lambda s: json.dumps(f"key {s}"),
    "a path of a URL": lambda s: f"http://host/{quote(s, safe='')}/x",
    "a query of a URL": lambda s: f"http://host/x?{urlencode({'a': s})}",
    "a query in lower case": lambda s: f"http://host/x?a={quote(s, safe='').replace('%2F', '%2f').lower()}",
    "a form": lambda s: f"a={quote_plus(s)}&b=1",
    "HTML": lambda s: f"<p>{html.escape(s)}</p>",
    "base64": lambda s: base64.b64encode(s.encode()).decode(),
    "basic authorisation": lambda s: base64.b64encode(f"user:{s}".encode()).decode(),
    "base64 within another text": lambda s: base64.b64encode(f"ab{s}xyz".encode()).decode(),
    "base64 for URLs": lambda s: base64.urlsafe_b64encode(f"u:{s}".encode()).decode(),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_secret_is_masked_however_it_is_written(way):
    """Each way of writing it down; the negative control is that the same text of another secret stays."""
    text = WAYS[way](SECRET)
    assert "[value of CANARY_KEY]" in MASK(text)
    assert list(MASK.named_in(text)) == ["CANARY_KEY"]
    other = WAYS[way]("walrus onyx 9921")
    assert MASK(other) == other


@given(st.text(min_size=masking.SHORTEST), st.binary(max_size=5), st.binary(max_size=5))
def test_base64_is_found_at_every_place_of_a_text(secret, before, after):
    """Whatever is encoded before and after it."""
    encoded = base64.b64encode(before + secret.encode() + after).decode()
    assert list(Mask.of({"S": secret}).named_in(encoded)) == ["S"]


def test_the_longer_of_two_secrets_is_masked_first():
    """A secret that begins with another one leaves no rest."""
    mask = Mask.of({"SHORT": "zebra-quartz", "LONG": "zebra-quartz-4417"})
    assert mask("x zebra-quartz-4417 y zebra-quartz") == "x [value of LONG] y [value of SHORT]"


def test_a_document_is_masked_in_all_of_its_texts():
    """Keys, lists and what is nested; numbers and null stay what they are."""
    document = {"a": [1, None, True, "no zebra-quartz"], "zebra-quartz": {"b": ("zebra-quartz", 2.5)}}
    masked = Mask.of({"K": "zebra-quartz"}).document(document)
    assert masked == {"a": [1, None, True, "no [value of K]"], "[value of K]": {"b": ["[value of K]", 2.5]}}


def test_what_is_known_comes_from_the_environment():
    """Named secrets, and variables that are named like one; a path, a number and plain words are none."""
    environment = {
        "MINE": "zebra-1", "SHORT": "abc", "OTHER_API_KEY": "walrus-onyx-9921", "SSH_KEY": "~/.ssh/id_ed25519",
        "MY_TOKEN": "development", "A_KEY": "123456789012", "HOME": "/srv/someone/else", "NO_TOKEN": "short-1",
    }  # fmt: skip
    assert masking.known(environment, ["MINE", "SHORT", "MISSING"]) == {
        "MINE": "zebra-1", "OTHER_API_KEY": "walrus-onyx-9921",
    }  # fmt: skip
    assert masking.known(environment, ["MINE"], all_=False) == {"MINE": "zebra-1"}


def test_a_mask_shows_no_secret_itself():
    """Neither its text nor that of an error in which it stands."""
    assert SECRET not in repr(MASK)
    assert SECRET not in f"{MASK}"


def test_a_mask_without_secrets_knows_what_looks_like_one():
    """Credentials of known kinds, passwords in URLs and the arguments of a query."""
    text = "postgres://user:" + "pass" + "@host/x?key=abc and sk-" + "a" * 24
    assert Mask()(text) == "postgres://[password in a URL]@host/x?key=[key] and [OpenAI-style key]"
    assert Mask()("http://host/x?page=2&model=key=1") == "http://host/x?page=2&model=key=1"


@pytest.mark.parametrize("text", ["no zebra-qua… for", "no zebra-qua … (9,000 bytes)", "no zebra-qua"])
def test_a_secret_that_was_cut_is_masked(text):
    """An excerpt may end within a secret: six of its characters before the end are enough."""
    assert Mask.of({"K": "zebra-quartz-4417"})(text).startswith("no [value of K]")
    assert "zebra" not in Mask.of({"K": "zebra-quartz-4417"})(text)


def test_a_text_that_begins_like_a_secret_stays():
    """The negative control: it goes on differently, and was not cut."""
    text = "no zebra-quagga for zebra-quagga"
    assert Mask.of({"K": "zebra-quartz-4417"})(text) == text
