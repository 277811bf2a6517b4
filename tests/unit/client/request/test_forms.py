"""The text fields of forms: as httpx2 makes them, and as they come in the body of a request."""

import io

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.client import uploads
from tailrace.client.request import forms
from tailrace.client.request.envelope import read
from tailrace.client.request.parsed import parse
from tailrace.client.wire import Request

URL = "http://localhost/v1/audio/transcriptions"
NAMES = st.text("abcdefgh[]_-", min_size=1, max_size=8)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


def sent(data, files):
    """Return a form as httpx2 makes it: the request, its body, and its content type."""
    request = httpx2.Request("POST", URL, data=data, files=files)
    return request, b"".join(request.stream), request.headers["content-type"]


@given(st.dictionaries(NAMES, TEXTS, max_size=5), st.binary(max_size=300))
def test_both_readers_find_every_text_and_no_file(data, content):
    """What a form says is the same before it is written and after; the contents of a file are in neither."""
    request, body, kind = sent(data, {"file": ("a.wav", content), "sdp": (None, b"v=0")})
    expected = (*data.items(), ("sdp", "v=0"))
    assert uploads.opened(request).form == expected
    assert forms.from_body(body, kind) == expected


@given(st.binary(max_size=200), st.text(max_size=40))
def test_any_body_and_any_content_type_are_read_without_an_error(body, boundary):
    """Nothing that a caller sends breaks the reader of forms."""
    kind = f"multipart/form-data; boundary={boundary}"
    forms.from_body(b"--x\r\n" + body, kind)
    forms.from_body(body, boundary)


@pytest.mark.parametrize("kind", ["application/json", "multipart/mixed; boundary=x", "multipart/form-data", ""])
def test_what_is_no_form_has_no_fields(kind):
    """Another type, or no boundary, is not a form; the same body with them is one."""
    body = b'--x\r\ncontent-disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n--x--\r\n'
    assert forms.from_body(body, kind) is None
    assert forms.from_body(body, 'Multipart/Form-Data; boundary="x"') == (("model", "whisper-1"),)


def test_long_texts_and_too_many_fields_are_not_read():
    """One field may have 64 KiB and a form 256 fields, so that no caller decides how much is read."""
    most = "x" * forms.MOST_BYTES
    request, body, kind = sent({"a": most, "b": most + "x", "c": "short"}, {"file": ("f", b"")})
    expected = (("a", most), ("c", "short"))
    assert uploads.opened(request).form == forms.from_body(body, kind) == expected
    many, body, kind = sent({f"n{number}": "v" for number in range(300)}, {"file": ("f", b"")})
    assert len(uploads.opened(many).form) == len(forms.from_body(body, kind)) == forms.MOST_FIELDS


def test_a_form_in_memory_and_one_that_is_read_are_the_same_request():
    """The model, and a second one, which leaves open what the provider bills, are seen in both."""
    request, body, kind = sent({"model": ["whisper-1", "gpt-4o-transcribe"]}, {"file": ("f", io.BytesIO(b"x"))})
    headers = (("content-type", kind),)
    for one in (
        Request("POST", URL, headers, body),
        Request("POST", URL, headers, b"", upload=uploads.opened(request)),
    ):
        parsed = parse(one, read(one))
        assert (parsed.model, parsed.known, parsed.document) == ("gpt-4o-transcribe", False, None)
        assert parsed.doubt
    _, body, kind = sent({"model": "whisper-1"}, {"file": ("f", b"")})
    one = Request("POST", URL, (("content-type", kind),), body)
    assert parse(one, read(one)).doubt is None


@pytest.mark.parametrize("length", [None, "7", "x", "-1"])
def test_the_size_of_an_upload_is_its_content_length(length):
    """A length that is none, or is no number, is not known."""
    request = httpx2.Request("PUT", URL, content=iter([b"1"]), headers={"content-length": length} if length else None)
    assert uploads.opened(request).size_bytes == (7 if length == "7" else None)
