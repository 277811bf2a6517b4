"""The keys that the service holds: they go to a provider, and never to a caller, whatever the provider answers.

Of a refusal, every form of a key is masked (`tailrace.masking`): that is where providers repeat one. Of a good answer,
the key as it is: one comparison, which costs nothing.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping

from tailrace import masking
from tailrace.masking import Mask
from tailrace.service import http_response
from tailrace.service.http_response import HttpResponse
from tailrace.service.settings import Settings


class HeldKeys:
    """Masks the values of `secrets`, by name."""

    def __init__(self, secrets: Mapping[str, str]) -> None:
        self._mask = Mask.of(secrets)
        self._plain = tuple((value.encode(), f"[value of {name}]".encode()) for name, value in secrets.items())
        self._longest = max((len(form.encode()) for form, _ in self._mask.forms), default=1)

    @classmethod
    def of(cls, settings: Settings, environment: Mapping[str, str]) -> HeldKeys:
        """Return the keys of the settings and of their policy; a word like "simulated" is none."""
        named = {name for _, name in settings.policy.variables} if settings.policy is not None else set()
        values = {**masking.known(environment, named, all_=False), settings.api_key_env: settings.api_key}
        held = {name: value for name, value in values.items() if len(value) >= masking.SHORTEST}
        return cls({name: value for name, value in held.items() if not masking.is_plain(value)})

    def hidden(self, response: HttpResponse) -> HttpResponse:
        """Return the response without the keys; in the body of an event stream, `in_lines` masks them."""
        if not self._plain:
            return response
        headers = response.headers
        if any(value in text for value, _ in self._plain for _, text in headers):
            response = response._replace(headers=tuple((name, self.in_lines(text)) for name, text in headers))
        body = response.body
        if isinstance(body, bytes):
            masked = self.in_lines(body) if response.status < 400 else self._in_refusal(body)
            return response if masked is body else response._replace(body=masked)
        if response.status >= 400 and not http_response.is_event_stream(response):
            return response._replace(body=self._in_pieces(body))
        return response

    def in_lines(self, data: bytes) -> bytes:
        """Return `data`, whole lines of an answer, without the keys as they are; the same object where it has none."""
        for value, replacement in self._plain:
            if value in data:
                data = data.replace(value, replacement)
        return data

    def _in_refusal(self, data: bytes, whole: bool = True) -> bytes:
        text = data.decode("utf-8", "surrogateescape")
        masked = self._mask.values(text, whole)
        return data if masked == text else masked.encode("utf-8", "surrogateescape")

    async def _in_pieces(self, body: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
        """Yield a refusal that comes in pieces; what might be the beginning of a key is held back."""
        held = b""
        try:
            async for piece in body:
                data = self._in_refusal(held + piece, whole=False)
                cut = max(0, len(data) - self._longest)
                held = data[cut:]
                if cut:
                    yield data[:cut]
            yield self._in_refusal(held)
        finally:
            close = getattr(body, "aclose", None)
            if close is not None:
                await close()
