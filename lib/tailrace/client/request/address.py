"""A request at another base URL or with another key: what belongs to one origin or account never goes to another."""

from __future__ import annotations

from urllib.parse import urlsplit

from tailrace.client.request.credential import belongs_to_account
from tailrace.client.request.envelope import PATHS, RESOURCES, provider_of
from tailrace.client.wire import Headers
from tailrace.credentials import without_arguments


def moved(url: str, base_url: str) -> str:
    """Return `url` at another base URL, with the same endpoint; its query goes along without credentials."""
    old, new = urlsplit(url), urlsplit(base_url)
    query = "&".join(part for part in (new.query, without_arguments(old.query)) if part)
    place = f"{new.scheme}://{new.netloc}{new.path.rstrip('/')}{_endpoint(old.path)}"
    return place + (f"?{query}" if query else "")


def headers(sent: Headers, old_url: str, url: str, api_key: str | None) -> Headers:
    """Return the headers of a request to `old_url` for `url`, with `api_key`; None: the credential that it has.

    A credential stays only at its own origin; "" sends none.
    """
    same_origin = urlsplit(url)[:2] == urlsplit(old_url)[:2]
    if same_origin and api_key is None:
        return sent
    kept = tuple(pair for pair in sent if (name := pair[0].lower()) != "host" and not belongs_to_account(name))
    if not api_key:
        return kept
    if provider_of(urlsplit(url).netloc).startswith("azure"):  # which takes a bearer only for tokens of its directory
        return (*kept, ("api-key", api_key))
    return (*kept, ("authorization", f"Bearer {api_key}"))


def _endpoint(path: str) -> str:
    """Return the part of a path that comes after the base URL."""
    known = next((endpoint for endpoint in PATHS if path.endswith(endpoint)), "")
    if known:
        return known
    parts = path.split("/")
    first = next((number for number, part in enumerate(parts) if part in RESOURCES), 1)
    return "/" + "/".join(parts[first:])
