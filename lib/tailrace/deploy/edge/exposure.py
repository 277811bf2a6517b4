"""Who may reach the front door, and what of a service is not shown there."""

from __future__ import annotations

import re

from tailrace.deploy.edge import tls
from tailrace.deploy.edge.envoy import TYPE, Document
from tailrace.errors import ProfileError
from tailrace.profile import EdgeSettings

HIDDEN = "fault_filter_abort"
"""What Envoy's access log says of a request for a hidden path."""
SLASH = r"(?:/|%2f|\\|%5c)"
DOT = r"(?:\.|%2e)"
END = r"(?:(?:[/?#;\\]|%2f|%3f|%23|%3b|%5c|%00).*)?"


def check(settings: EdgeSettings) -> None:
    """Raise ProfileError where strangers would get in unasked, PartMissing where TLS could not be served."""
    tls.check(settings.tls)
    if settings.open or settings.is_on_loopback:
        return
    read = "" if settings.tls else ", and without edge.tls others on the way read what they send"
    raise ProfileError(
        f"edge.host {settings.host} is beyond loopback, and the edge asks nobody who they are{read}. Let a proxy in "
        "front of an edge on 127.0.0.1 do that, or say edge.open: true in the profile: runbook/procedures/security.md"
    )


def hidden(path: str) -> Document:
    """Return the filter that answers 404 to a request for `path`, or for what is below it."""
    kind = f"{TYPE}.extensions.filters.http.fault.v3.HTTPFault"
    abort = {"http_status": 404, "percentage": {"numerator": 100}}
    asked = [{"name": ":path", "string_match": {"safe_regex": {"regex": spellings(path)}}}]
    config = {"@type": kind, "abort": abort, "headers": asked}
    return {"name": "envoy.filters.http.fault", "typed_config": config}


def spellings(path: str) -> str:
    """Return the expression for every spelling of `path` that some server takes for it: quoted, with dots, slashes."""
    between = f"(?:{SLASH}{DOT}?)*{SLASH}"
    parts = between.join("".join(map(_letter, part)) for part in path.strip("/").split("/"))
    return f"(?i)(?:.*{SLASH}{DOT}{DOT})?{between}{parts}{END}"


def _letter(letter: str) -> str:
    codes = "|".join(f"%{ord(one):02x}" for one in dict.fromkeys((letter.lower(), letter.upper())))
    return f"(?:{re.escape(letter)}|{codes})"
