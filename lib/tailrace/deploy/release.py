"""A release is a build and its configuration: another setting is another release (twelve-factor, V)."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from tailrace.profile import Acceptance

Kind = Literal["environment", "command", "image"]


@dataclass(frozen=True)
class Release:
    """A build with its configuration; equal content has equal `id`s, wherever it was built, unless it has secrets.

    `build` is the digest of the artefact, `command` starts an instance (`{host}` and `{port}` are filled in), and
    `environment` holds its plain settings. `facts` describes the content and the build, and is no part of the identity.
    """

    kind: Kind
    build: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    ours: bool = False
    acceptance: Acceptance = field(default_factory=Acceptance)
    """How its instances show that they may serve; of this, health checks and protocol are a part of the identity."""
    facts: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)
    secrets: Mapping[str, str] = field(default_factory=dict)
    """The salted digest of each secret that an instance gets, by its name there: a rotated one is another release."""
    secret_names: Mapping[str, str] | None = field(default=None, compare=False, repr=False)
    """Where its secrets come from: the name there → the name in this process; None where it was never sealed."""
    port: int = 0
    """Where the program of an image listens; 0 where the engine chooses the port."""
    edition: int = 1
    """Counts the releases of the same content: `deploy --force` makes another one."""

    @property
    def id(self) -> str:
        """The content's id; from the second edition on, with its number: `abc123.2`."""
        return self.content_id if self.edition == 1 else f"{self.content_id}.{self.edition}"

    @property
    def content_id(self) -> str:
        """Twelve hexadecimal digits of the digest over build, command, settings, health, protocol, port and secrets."""
        health = self.acceptance.health.model_dump(mode="json") | {"protocol": self.acceptance.protocol}
        port = [self.port] if self.port else []
        sealed = [dict(sorted(self.secrets.items()))] if self.secrets else []
        settings = dict(sorted(self.environment.items()))
        return digest(self.build, list(self.command), settings, health, *port, *sealed)[:12]

    def configured(self, command: Sequence[str] | None = None, **environment: str) -> Release:
        """Return the release of the same build with other settings, merged over its own."""
        settings = {**self.environment, **environment}
        return replace(self, command=tuple(command or self.command), environment=settings)

    def document(self) -> dict[str, Any]:
        """Return the release as JSON-able data; `read` is the inverse."""
        return {
            "id": self.id, "kind": self.kind, "build": self.build, "command": list(self.command),
            "environment": dict(self.environment), "ours": self.ours, "facts": dict(self.facts),
            "acceptance": self.acceptance.model_dump(mode="json", by_alias=True),
            "secrets": dict(self.secrets),
            "secret_names": None if self.secret_names is None else dict(self.secret_names),
            "port": self.port,
            "edition": self.edition,
        }  # fmt: skip

    @classmethod
    def read(cls, document: Mapping[str, Any], default: Acceptance | None = None) -> Release:
        """Return the release of a document; one from before releases kept their acceptance gets the `default`."""
        kept = document.get("acceptance")
        return cls(
            document["kind"], document["build"], tuple(document["command"]), document["environment"], document["ours"],
            (default or Acceptance()) if kept is None else Acceptance.model_validate(kept), document["facts"],
            document.get("secrets", {}), document.get("secret_names"),
            document.get("port", 0), document.get("edition", 1),
        )  # fmt: skip


def filled(command: Sequence[str], **places: str) -> list[str]:
    """Return `command` with each `{name}` in its words replaced by that name's value in `places`."""
    return [functools.reduce(lambda word, name: word.replace(f"{{{name}}}", places[name]), places, w) for w in command]


def digest(*parts: Any) -> str:
    """Return the sha256, in hexadecimal digits, over JSON-able `parts`."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
