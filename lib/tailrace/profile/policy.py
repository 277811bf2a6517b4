"""The section `policy`: the client's `Policy` of the deployed service, field by field.

Its names, limits and defaults are those of the service (`service.policy`, `client.policy`); a test compares all of
them. Only what a profile says is handed on, as the one setting TAILRACE_POLICY, so that a default of tomorrow makes no
other release today.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field, field_validator

from tailrace import policy_rules
from tailrace.profile.section import EnvironmentName, ProfileSection

SETTING: Final = "TAILRACE_POLICY"
SINGLE: Final[Mapping[str, tuple[str, str]]] = {
    "TAILRACE_CACHE": ("cache", "store"),
    "TAILRACE_CACHE_TTL_S": ("cache", "ttl_s"),
    "TAILRACE_RETRY_ATTEMPTS": ("retry", "attempts"),
    "TAILRACE_DEADLINE_S": ("limits", "first_byte_s"),
    "TAILRACE_ATTEMPT_TIMEOUT_S": ("limits", "attempt_timeout_s"),
    "TAILRACE_SILENCE_S": ("limits", "silence_s"),
}
"""The settings of tailrace's own service that say the same as a field of the policy: only one of the two may stand."""

Amount = Annotated[float, Field(gt=0, allow_inf_nan=False)]
AmountOrZero = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Store = Annotated[
    str,
    Field(
        pattern=r"^(?:memory|sqlite:.+|rediss?://.+|\$\{[A-Za-z_][A-Za-z0-9_]*\})$",
        description="one of memory, sqlite:PATH, redis://HOST:PORT/DATABASE, or ${NAME} for a variable with such a URL",
    ),
]


def _refusing(rule: Callable[[Any], str]) -> AfterValidator:
    """Return the validator that refuses what `rule` has a reason against."""

    def checked(value: Any) -> Any:
        if reason := rule(value):
            raise ValueError(reason)
        return value

    return AfterValidator(checked)


BaseUrl = Annotated[
    str, Field(description="an http(s) URL with the API's /v1"), _refusing(policy_rules.base_url_problem)
]
IgnoredHeaders = Annotated[tuple[str, ...], Field(max_length=64), _refusing(policy_rules.ignored_headers_problem)]
Cause = Literal[
    "connection", "timeout", "malformed", "rate_limit", "quota", "credential", "model", "context_length",
    "content_filter", "server", "request",
]  # fmt: skip
"""Why an attempt failed: the words of `client.call.causes`."""
_VARIABLE: Final = re.compile(r"\$\{(\w+)\}")


class CachePolicy(ProfileSection):
    """Which answers are kept, where and for how long."""

    store: Store = "memory"
    ttl_s: Amount = 3600.0
    namespace: str = ""
    deterministic_only: bool = True
    stale_while_revalidate_s: AmountOrZero = 0.0
    stale_if_error_s: AmountOrZero = 0.0
    max_entry_bytes: Count = 4 << 20
    coalesce: bool = True
    lease_s: Amount = 30.0
    ignore_headers: IgnoredHeaders = ()
    identity: Annotated[str, Field(min_length=1)] | None = None


class RetryPolicy(ProfileSection):
    """How often and when an attempt is made again."""

    attempts: Count = 3
    base_s: Amount = 0.5
    cap_s: Amount = 8.0
    budget: AmountOrZero | None = 0.2
    budget_burst: Annotated[int, Field(ge=0)] = 10
    max_retry_after_s: AmountOrZero = 120.0
    idempotency_key: bool = True


class BreakerPolicy(ProfileSection):
    """When the circuit opens, and for how long."""

    failure_rate: Annotated[float, Field(gt=0, le=1)] = 0.5
    min_calls: Count = 20
    window_s: Amount = 10.0
    open_s: Amount = 2.0


class LimitsPolicy(ProfileSection):
    """Limits of time and number."""

    deadline_s: Amount | None = None
    first_byte_s: Amount | None = 600.0
    attempt_timeout_s: Amount | None = None
    silence_s: Amount | None = 300.0
    concurrency: Count | Literal["adaptive"] | None = None
    requests_per_min: Amount | None = None
    tokens_per_min: Amount | None = None
    breaker: BreakerPolicy | None = BreakerPolicy()
    hedge_after_s: Amount | None = None


class SpendPolicy(ProfileSection):
    """How much may be spent."""

    max_usd: Amount
    per: Literal["ever", "day", "month"] = "ever"
    per_tenant: bool = False
    unknown_price: Literal["reject", "allow"] = "reject"
    assumed_output_tok: Count = 4096
    store: Store | None = None
    name: str = ""
    store_failure: Literal["reject", "allow"] = "reject"
    reservation_s: Amount = 900.0


class PricePolicy(ProfileSection):
    """What a model costs, in dollars."""

    in_mtok: AmountOrZero = 0.0
    out_mtok: AmountOrZero = 0.0
    cached_mtok: AmountOrZero | None = None
    reasoning_mtok: AmountOrZero | None = None
    call: AmountOrZero = 0.0
    image: AmountOrZero = 0.0
    mchar: AmountOrZero = 0.0
    audio_min: AmountOrZero = 0.0
    video_s: AmountOrZero = 0.0


class GuardPolicy(ProfileSection):
    """Which inputs are refused."""

    max_bytes: Count = 20 << 20
    max_tokens: Count | None = None
    roles: tuple[str, ...] = ("assistant", "developer", "function", "system", "tool", "user")
    control_characters: bool = True
    bidi_characters: bool = True
    detect: bool = True


class FallbackPolicy(ProfileSection):
    """What is asked instead: another model, another URL, or both."""

    model: str = ""
    base_url: BaseUrl = ""
    api_key_env: EnvironmentName | Literal[""] = ""
    """The variable that holds the key of that URL."""


class TargetPolicy(ProfileSection):
    """Another key or deployment to which attempts go; what is empty stays as it is."""

    base_url: BaseUrl = ""
    api_key_env: EnvironmentName | Literal[""] = ""
    model: str = ""
    weight: Annotated[float, Field(gt=0, le=1_000_000)] = 1.0
    serves: tuple[Annotated[str, Field(min_length=1)], ...] = ()


class Policy(ProfileSection):
    """The policy of tailrace's own service; `null` turns a part off."""

    cache: CachePolicy | None = CachePolicy()
    retry: RetryPolicy | None = RetryPolicy()
    limits: LimitsPolicy | None = LimitsPolicy()
    spend: SpendPolicy | None = None
    guard: GuardPolicy | None = GuardPolicy()
    targets: tuple[TargetPolicy, ...] = ()
    """Where attempts go, by weight; empty: to `provider`. Fallbacks come after all of them."""
    fallbacks: tuple[FallbackPolicy, ...] = ()
    fallback_on: tuple[Cause, ...] = (
        "connection", "content_filter", "context_length", "credential", "malformed", "model", "quota", "rate_limit",
        "server", "timeout",
    )  # fmt: skip
    """The causes of a failure for which the next fallback is tried."""
    prices: dict[Annotated[str, Field(min_length=1)], PricePolicy | str] = Field(default_factory=dict)
    """By model; text is the name of another model with the same price."""

    @field_validator("fallbacks")
    @classmethod
    def _something_else(cls, fallbacks: tuple[FallbackPolicy, ...]) -> tuple[FallbackPolicy, ...]:
        if not all(one.model or one.base_url for one in fallbacks):
            raise ValueError("expected each with a model, a base_url or both")
        return fallbacks

    @field_validator("targets")
    @classmethod
    def _each_once(cls, targets: tuple[TargetPolicy, ...]) -> tuple[TargetPolicy, ...]:
        if reason := policy_rules.targets_problem([(one.base_url, one.model, one.api_key_env) for one in targets]):
            raise ValueError(reason)
        return targets

    @field_validator("prices")
    @classmethod
    def _ending(cls, prices: dict[str, PricePolicy | str]) -> dict[str, PricePolicy | str]:
        for name in prices:
            met, other = {name}, prices[name]
            while isinstance(other, str):
                if other in met:
                    raise ValueError(f"the name {name} leads back to {other}; give it a price")
                met.add(other)
                other = prices.get(other, PricePolicy())
        return prices

    @property
    def environment(self) -> dict[str, str]:
        """The setting of the service that hands on what is said; none where nothing is."""
        said = self.model_dump(mode="json", exclude_unset=True)
        return {SETTING: text(said)} if said else {}

    @property
    def variables(self) -> dict[str, str]:
        """The environment variables that hold keys and the URLs of stores: the name → its place in the profile."""
        stores = {section: getattr(self, section) for section in ("cache", "spend")}
        named = [(getattr(part, "store", "") or "", f"policy.{section}.store") for section, part in stores.items()]
        found = {match[1]: place for url, place in named if (match := _VARIABLE.fullmatch(url))}
        asked: dict[str, tuple[TargetPolicy | FallbackPolicy, ...]] = {
            "targets": self.targets,
            "fallbacks": self.fallbacks,
        }
        for name, others in asked.items():
            for index, other in enumerate(others):
                if other.api_key_env:
                    found[other.api_key_env] = f"policy.{name}.{index}.api_key_env"
        return found

    def place(self, section: str, field: str) -> str:
        """Return the place at which a field is said: its own, or that of a section that is off; "" where it is not."""
        return _place(self.model_dump(exclude_unset=True), section, field)

    def said_twice(self, environment: Mapping[str, str]) -> Iterator[str]:
        """Yield a sentence for each setting in `environment` that the policy says as well."""
        if SETTING in environment:
            yield f"{SETTING} in service.environment and policy say the same; write policy only"
        for name, (section, field) in SINGLE.items():
            if name in environment and (place := self.place(section, field)):
                yield f"{name} in service.environment and policy.{place} say the same; take one of them out"


def text(said: Mapping[str, Any]) -> str:
    """Return what a policy says as the text of its setting: equal content is equal text."""
    return json.dumps(said, sort_keys=True, separators=(",", ":"))


def newest(parent: dict[str, Any], child: dict[str, Any]) -> dict[str, Any]:
    """Return the content of a profile without what `child` says by the other of two names."""
    policy, environment = _mapping(child, "policy"), _mapping(_mapping(child, "service"), "environment")
    kept = {**parent}
    service, above = _mapping(parent, "service"), _mapping(parent, "policy")
    settings = _mapping(service, "environment")
    if settings and policy:
        left = {name: value for name, value in settings.items() if not _place(policy, *SINGLE.get(name, ("", "")))}
        kept["service"] = {**service, "environment": left}
    over = [place for name, place in SINGLE.items() if name in environment]
    if above and over:
        kept["policy"] = {name: _without(part, {f for s, f in over if s == name}) for name, part in above.items()}
    return kept


def _without(part: Any, fields: set[str]) -> Any:
    return {name: value for name, value in part.items() if name not in fields} if isinstance(part, dict) else part


def _place(policy: Mapping[str, Any], section: str, field: str) -> str:
    """Return the place at which `policy` settles a field; "" where it does not."""
    if section not in policy:
        return ""
    part = policy[section]
    return section if part is None else f"{section}.{field}" if field in part else ""


def _mapping(content: Mapping[str, Any], key: str) -> dict[str, Any]:
    found = content.get(key)
    return found if isinstance(found, dict) else {}
