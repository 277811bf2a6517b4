"""What a call of any operation is charged by, the most that it can cost, and what it did cost.

Sources: https://platform.openai.com/docs/pricing and …/docs/api-reference. What is not in the table has no known price:
a hard limit refuses it, unless you give a price for its model or its operation.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple, TypeAlias
from urllib.parse import urlsplit

from tailrace.client.call.prices import Prices
from tailrace.client.policy.spending import Price
from tailrace.client.request import document
from tailrace.client.request.parsed import ParsedRequest
from tailrace.protocol.reading import loads
from tailrace.protocol.usage import usage

By: TypeAlias = Literal["tokens", "images", "characters", "audio", "video", "nothing", "unknown"]

CHARGED_BY: Final[tuple[tuple[str, By], ...]] = (
    (r"/images/(generations|edits|variations)", "images"),
    (r"/audio/speech", "characters"),
    (r"/audio/(transcriptions|translations)", "audio"),
    (r"/videos|/videos/(edits|extensions)|/videos/[^/]+/remix|/video/generations/jobs", "video"),
    (r"/responses/compact|/v1/messages", "tokens"),
    (r"/threads/runs|/(fine_tuning/jobs|batches|containers|evals/[^/]+/runs|threads/[^/]+/runs)", "unknown"),
    (r"/moderations|/(responses/)?input_tokens|/messages/count_tokens|/(de)?tokenize", "nothing"),
    (r"/files|/uploads(/[^/]+/(parts|complete|cancel))?", "nothing"),
    (r"/(responses|batches|fine_tuning/jobs|evals/[^/]+/runs|threads/[^/]+/runs)/[^/]+/cancel", "nothing"),
    (r"/fine_tuning/jobs/[^/]+/(pause|resume)|/fine_tuning/alpha/graders/validate", "nothing"),
    (r"/chat/completions/[^/]+|/conversations(/[^/]+(/items)?)?|/evals(/[^/]+)?|/assistants(/[^/]+)?", "nothing"),
    (r"/threads|/threads/[^/]+(/messages(/[^/]+)?)?", "nothing"),
    (r"/realtime/calls/[^/]+/(hangup|reject|refer)", "nothing"),
)
"""What a POST is charged by, by the end of its path; the first that fits. Any other method is free."""
_TABLE: Final = tuple((re.compile(f"(?:{end})/?$"), by) for end, by in CHARGED_BY)

IMAGE_OUT_TOK: Final = {"gpt-image-1": 6240}
"""The most tokens of one image, by the beginning of the model's name: high quality, 1024 × 1536."""
ANY_IMAGE_OUT_TOK: Final = 16_384
"""Of later models, which take sizes up to 3840 × 2160."""
EDITED_IN_TOK: Final = 16 * 1_600
"""Of the images that an edit may take; four times as many with `input_fidelity: high`."""
SPOKEN_TOK_PER_CHARACTER: Final = 10
AUDIO_BYTES_PER_S: Final = 500
"""Speech is coded with 4 kbit/s at the least; a file is taken to last as long as that allows."""
AUDIO_BYTES_PER_TOK: Final = 16
MOST_UPLOAD_BYTES: Final = 25 << 20
"""The largest file that is transcribed; for an upload of unknown size."""
MOST_VIDEO_S: Final = 12


class Units(NamedTuple):
    """What a call may be charged for."""

    in_tok: int = 0
    out_tok: int = 0
    image_tok: int = 0  # of in_tok
    audio_tok: int = 0  # of in_tok
    image_out_tok: int = 0  # of out_tok
    images: int = 0
    characters: int = 0
    audio_s: float = 0.0
    video_s: float = 0.0


def charged_by(parsed: ParsedRequest) -> By:
    """Return what `parsed` is charged by."""
    if parsed.known:
        return "tokens" if parsed.doubt is None else "unknown"  # the provider may read another model, or limit
    if parsed.request.method.upper() != "POST":
        return "nothing"
    path = urlsplit(parsed.request.url).path
    return next((by for end, by in _TABLE if end.search(path)), "unknown")


def most_usd(parsed: ParsedRequest, by: By, prices: Prices, assumed_output_tok: int) -> float | None:
    """Return the most that a call can cost; None when its price is not known. For what is not `parsed.known`."""
    fields = _fields(parsed)
    return _cost_usd(prices, parsed, by, _most(parsed, by, fields, assumed_output_tok), _model(parsed, fields))


def cost_usd(parsed: ParsedRequest, by: By, prices: Prices, body: object) -> float | None:
    """Return what the call did cost; None when its price is not known, or neither request nor answer tell."""
    fields = _fields(parsed)
    most, model, counted = _most(parsed, by, fields, 0), _model(parsed, fields), _counted(body)
    own = prices.own(model, parsed.envelope.operation)
    if own is not None:
        if counted is None and (own.in_mtok or own.out_mtok or (own.audio_min and by == "audio")):
            return None
        return _own_usd(own, (counted or Units())._replace(
            images=most.images, characters=most.characters, video_s=most.video_s))  # fmt: skip
    if by == "characters":
        return _table_usd(prices, model, parsed.request.url, Units(characters=most.characters))
    return None if counted is None else _cost_usd(prices, parsed, by, counted, model)


def _cost_usd(prices: Prices, parsed: ParsedRequest, by: By, units: Units, model: str) -> float | None:
    own = prices.own(model, parsed.envelope.operation)
    if own is not None:
        return _own_usd(own, units)
    if by in ("unknown", "video"):
        return None
    return _table_usd(prices, model, parsed.request.url, units)


def _own_usd(price: Price, units: Units) -> float:
    tokens = units.in_tok * price.in_mtok + units.out_tok * price.out_mtok + units.characters * price.mchar
    more = units.images * price.image + units.audio_s / 60 * price.audio_min + units.video_s * price.video_s
    return price.call + tokens / 1_000_000 + more


def _table_usd(prices: Prices, model: str, url: str, units: Units) -> float | None:
    """Return the cost by the table, which has each model by one kind of unit; None when it has another one."""
    found = prices.table(
        model, url, input_tokens=units.in_tok, output_tokens=units.out_tok, input_image_tokens=units.image_tok,
        input_audio_tokens=units.audio_tok, input_characters=units.characters, audio_seconds=units.audio_s,
        input_audio_seconds=units.audio_s, output_image_tokens=units.image_out_tok,
    )  # fmt: skip
    return None if found is None or (not found.usd and found.charged) else found.usd


def _most(parsed: ParsedRequest, by: By, fields: Mapping[str, Any], assumed_output_tok: int) -> Units:
    """Return the most of each unit that the call can be charged for."""
    size = _size(parsed)
    text = size if parsed.form is None else sum(len(value.encode()) for _, value in parsed.form)
    if by == "images":
        images = max(1, _number(fields.get("n"), 1))
        model = _model(parsed, fields)
        each = next((most for name, most in IMAGE_OUT_TOK.items() if name in model), ANY_IMAGE_OUT_TOK)
        edited = 0 if parsed.request.url.partition("?")[0].endswith("/generations") else EDITED_IN_TOK
        edited *= 4 if fields.get("input_fidelity") == "high" else 1
        return Units(text + edited, images * each, edited, 0, images * each, images)
    if by == "characters":
        spoken = fields.get("input")
        characters = len(spoken) if isinstance(spoken, str) else size
        return Units(size, characters * SPOKEN_TOK_PER_CHARACTER, characters=characters)
    if by == "audio":
        tokens = size // AUDIO_BYTES_PER_TOK + 1
        return Units(tokens + text, assumed_output_tok, 0, tokens, audio_s=size / AUDIO_BYTES_PER_S)
    if by == "video":
        seconds = _number(fields.get("seconds", fields.get("n_seconds")), MOST_VIDEO_S)
        return Units(video_s=max(1, seconds) * max(1, _number(fields.get("n_variants"), 1)))
    return Units(size, assumed_output_tok)


def _counted(body: object) -> Units | None:
    """Return what the answer counts: its tokens, or its seconds of sound; None when it counts nothing."""
    answer = _document(body)
    if answer is None:
        return None
    counts = answer.get("usage")
    seconds = counts.get("seconds") if isinstance(counts, dict) else answer.get("duration")
    tokens = usage(answer)
    if not isinstance(counts, dict) or not tokens.known:
        timed = isinstance(seconds, int | float) and not isinstance(seconds, bool) and 0 <= seconds < 1e9
        return Units(audio_s=float(seconds)) if timed and seconds is not None else None
    read = _parts(counts, "input_tokens_details", "input_token_details")
    image, audio = (min(_number(read.get(name), 0), tokens.in_tok) for name in ("image_tokens", "audio_tokens"))
    drawn = tokens.out_tok if "data" in answer else 0
    return Units(tokens.in_tok, tokens.out_tok, image, audio, drawn)


def _parts(counts: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    return next((counts[name] for name in names if isinstance(counts.get(name), dict)), {})


def _document(body: object) -> dict[str, Any] | None:
    if not isinstance(body, bytes) or not document.begins(body):
        return None
    try:
        found = loads(body)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _fields(parsed: ParsedRequest) -> Mapping[str, Any]:
    """Return the fields of the body: of a form its texts, of JSON all."""
    if parsed.document is not None:
        return parsed.document
    if parsed.form is not None:
        return dict(parsed.form)
    body = parsed.request.body
    fields, _, doubt = document.parsed(body) if document.begins(body) else document.NONE
    return fields if fields is not None and doubt is None else {}


def _model(parsed: ParsedRequest, fields: Mapping[str, Any]) -> str:
    model = fields.get("model")
    return "" if parsed.doubt is not None else model if isinstance(model, str) else parsed.model


def _size(parsed: ParsedRequest) -> int:
    upload = parsed.request.upload
    if upload is None:
        return len(parsed.request.body)
    return MOST_UPLOAD_BYTES if upload.size_bytes is None else upload.size_bytes


def _number(value: object, otherwise: int) -> int:
    """Return a count, which a form writes as text."""
    text = value.strip() if isinstance(value, str) else ""
    if text.isascii() and text.isdigit() and len(text) < 10:
        return int(text)
    return value if type(value) is int and value >= 0 else otherwise
