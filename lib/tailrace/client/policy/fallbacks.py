"""What is asked instead, when a call failed."""

from __future__ import annotations

from dataclasses import dataclass

from tailrace.client import validation


@dataclass(frozen=True, slots=True)
class Fallback:
    """Another model, another base URL (with its `/v1`), or both, to try when a call failed.

    The credential of one origin is never sent to another: name the environment variable that holds the other's key.
    """

    model: str = ""
    base_url: str = ""
    api_key_env: str = ""

    def __post_init__(self) -> None:
        validation.instance("Fallback", str, model=self.model, base_url=self.base_url, api_key_env=self.api_key_env)
        if not (self.model or self.base_url):
            raise ValueError("Fallback(): expected a model, a base_url or both; found neither")
        validation.base_url("Fallback", self.base_url)
