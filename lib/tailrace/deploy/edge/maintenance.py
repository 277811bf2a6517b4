"""The maintenance page: what the edge answers, without asking an instance, while an operator works behind it.

It is a part of the route file, so that it survives a restart of the edge, and is changed by the same rename.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tailrace.deploy.edge.envoy import Document, header
from tailrace.errors import DeployError
from tailrace.headers import MAINTENANCE

MAX_PAGE_BYTES = 65_536
STATUS = 503
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".htm": "text/html; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
    ".json": "application/json",
}
"""The content type of a page by the extension of its file."""
_REPLACE = "OVERWRITE_IF_EXISTS_OR_ADD"


@dataclass(frozen=True)
class Maintenance:
    """A page, its content type, and after how many seconds callers are told to come again."""

    retry_after_s: int
    page: str
    content_type: str

    @classmethod
    def of(cls, retry_after_s: int, path: Path | None = None) -> Maintenance:
        """Return the maintenance with the page in the file `path`, or with one sentence. Raises DeployError."""
        if path is None:
            return cls(retry_after_s, f"{_sentence(retry_after_s)}\n", TYPES[".txt"])
        if path.suffix.lower() not in TYPES:
            raise DeployError(f"{path}: the page's file ends in {path.suffix or 'nothing'!r}; expected {_types()}")
        try:
            content = path.read_bytes()
            page = content.decode("utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise DeployError(f"{path}: the page cannot be read as UTF-8 text: {error}") from None
        if not page.strip() or len(content) > MAX_PAGE_BYTES:
            raise DeployError(
                f"{path}: the page has {len(content):,} bytes; expected 1 to {MAX_PAGE_BYTES:,}. It stands in the "
                "edge's configuration: let it name its images by URLs of another host"
            )
        if path.suffix.lower() == ".json":
            _require_json(path, page)
        return cls(retry_after_s, page, TYPES[path.suffix.lower()])

    def document(self) -> dict[str, Any]:
        """Return it as JSON-able data; `Maintenance(**document)` is the inverse."""
        return asdict(self)


def routes(maintenance: Maintenance) -> list[Document]:
    """Return the routes that answer everybody: gRPC calls by a status, callers of an API by an error in JSON."""
    error = {
        "message": _sentence(maintenance.retry_after_s), "type": "service_unavailable", "param": None,
        "code": "maintenance",
    }  # fmt: skip
    in_json = Maintenance(maintenance.retry_after_s, json.dumps({"error": error}), TYPES[".json"])
    accepts = [_header("accept", "application/json"), {**_header("accept", "text/html"), "invert_match": True}]
    sends = [{"name": "content-type", "string_match": {"prefix": "application/json", "ignore_case": True}}]
    found = [_route("grpc", {"grpc": {}}, Maintenance(maintenance.retry_after_s, error["message"] or "", ""))]
    if maintenance.content_type != TYPES[".json"]:
        found += [_route("accepts-json", {"headers": accepts}, in_json)]
        found += [_route("sends-json", {"headers": sends}, in_json)]
    return [*found, _route("page", {}, maintenance)]


def read(by_name: Mapping[str, Document]) -> Maintenance | None:
    """Return what `routes` was given, from the routes of a file by their names; None where there is no page."""
    if (route := by_name.get("maintenance-page")) is None:
        return None
    added = {entry["header"]["key"]: entry["header"]["value"] for entry in route["response_headers_to_add"]}
    page = route["direct_response"]["body"]["inline_string"]
    return Maintenance(int(added["retry-after"]), page, added["content-type"])


def _route(name: str, match: Document, answer: Maintenance) -> Document:
    added = {"retry-after": str(answer.retry_after_s), MAINTENANCE: "on", "cache-control": "no-store"}
    if answer.content_type:
        added["content-type"] = answer.content_type
    return {
        "name": f"maintenance-{name}",
        "match": {"prefix": "/", **match},
        "direct_response": {"status": STATUS, "body": {"inline_string": answer.page}},
        "response_headers_to_add": [header(key, value, _REPLACE) for key, value in added.items()],
    }


def _header(name: str, text: str) -> Document:
    return {"name": name, "string_match": {"contains": text, "ignore_case": True}}


def _sentence(retry_after_s: int) -> str:
    return f"This service is under maintenance. Please try again in {retry_after_s} seconds."


def _require_json(path: Path, page: str) -> None:
    try:
        json.loads(page)
    except ValueError as error:
        raise DeployError(f"{path}: the page is not JSON ({error}), but would be sent as JSON") from None


def _types() -> str:
    return ", ".join(TYPES)
