"""What the users of a profile's service send: chat completions, or the first request of `service.smoke`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from tailrace.errors import ProfileError
from tailrace.profile import Probe, Profile

if TYPE_CHECKING:
    from tailrace import load  # brings numpy, which `tailrace status` does not need


def no_chat(profile: Profile) -> str:
    """Return why this profile's users send no chat completions, and so no streams; "" when they do."""
    if profile.service.api == "openai":
        return ""
    first = _first(profile)
    return f"service.api is http, so users send {first.method} {first.path}, the first smoke test"


def mix(profile: Profile, **shares: float) -> dict[str, float]:
    """Return `shares` (stream_share, repeat_share) as far as the service's API knows them: all, or each 0."""
    return dict.fromkeys(shares, 0.0) if no_chat(profile) else shares


def traffic(profile: Profile, arrivals: load.Schedule, phase: str, **workload: Any) -> load.Traffic:
    """Return the traffic of the users; `workload` holds fields of `load.Workload` (repeat_share, seed …).

    Raises ProfileError at a share that requests without chat cannot have.
    """
    from tailrace import load

    if not (reason := no_chat(profile)):
        return chat(profile, arrivals, phase, **workload)
    if impossible := [name for name in ("stream_share", "repeat_share") if workload.get(name)]:
        raise ProfileError(
            f"{profile.name}: {', '.join(impossible)} above 0, but {reason}; set them to 0, or service.api to openai"
        )
    first = _first(profile)
    body = "" if first.json_body is None else orjson.dumps(first.json_body).decode()
    requests = load.Workload(kind="plain", method=first.method, path=first.path, body=body)
    return load.Traffic(arrivals, requests, phase=phase, timeout_s=profile.service.timeout_s)


def chat(profile: Profile, arrivals: load.Schedule, phase: str, **workload: Any) -> load.Traffic:
    """Return traffic of chat completions with the model and `service.extra_body` of the profile.

    Its temperature is 0 unless one of them sets it: answers at another one are never cached.
    """
    from tailrace import load

    extra = dict(profile.service.extra_body)
    fields = {"model": profile.model, "temperature": extra.pop("temperature", 0.0), "extra": extra}
    requests = load.Workload(**{**fields, **workload})
    return load.Traffic(arrivals, requests, phase=phase, timeout_s=profile.service.timeout_s)


def chat_probe(profile: Profile, question: str, **fields: Any) -> Probe:
    """Return one chat completion as a request of the profile's users, with the headers of the service."""
    asked = {"model": profile.model, "messages": [{"role": "user", "content": question}]}
    merged = {**asked, **profile.service.extra_body, **fields}
    body = {name: value for name, value in merged.items() if value is not None}
    return profile.service.addressed(Probe(method="POST", path="/v1/chat/completions", json=body))


def sender_options(profile: Profile) -> dict[str, Any]:
    """Return the options of the load generator that its requests to the service need; no secret is in them."""
    sent = profile.service.addressed(_first(profile) if no_chat(profile) else Probe())
    return {"headers": dict(sent.headers)} if sent.headers else {}


def _first(profile: Profile) -> Probe:
    return next(iter(profile.service.smoke), Probe())
