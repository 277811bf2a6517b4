"""Content encodings (RFC 9110 §8.4), decoded while the body comes: gzip, deflate, identity, and these on each other."""

from __future__ import annotations

import zlib
from typing import Final, Protocol

MOST_BYTES: Final = 64 << 20
"""The most that one piece of a body may grow to: a small body can hold a very large one."""
_GZIP: Final = 16 + zlib.MAX_WBITS
_MAGIC: Final = b"\x1f\x8b"


class EncodingError(ValueError):
    """A body in an encoding that is not known, that is damaged, or that grows without bounds."""


class Decoder(Protocol):
    """Undoes one encoding."""

    @property
    def whole(self) -> bool: ...

    def feed(self, data: bytes) -> bytes: ...


def known(content_encoding: str | bytes) -> bool:
    """Return whether `decoder` can undo `content_encoding`."""
    return all(name in _DECODERS for name in _names(content_encoding))


def decoder(content_encoding: str | bytes) -> Decoder | None:
    """Return what undoes `content_encoding`, None when there is nothing to undo; EncodingError when nothing can."""
    names = _names(content_encoding)
    unknown = [name for name in names if name not in _DECODERS]
    if unknown:
        raise EncodingError(f"content-encoding {unknown[0][:40]!r} is not known; expected {', '.join(_DECODERS)}")
    if len(names) > 4:
        raise EncodingError(f"{len(names)} content encodings on each other; at most 4")
    decoders: list[Decoder] = [_DECODERS[name]() for name in reversed(names)]
    return Stacked(decoders) if len(decoders) > 1 else decoders[0] if decoders else None


def _names(content_encoding: str | bytes) -> list[str]:
    text = content_encoding if isinstance(content_encoding, str) else content_encoding.decode("latin-1")
    return [name for part in text.split(",") if (name := part.strip(" \t").lower()) not in ("", "identity")]


class Gzip:
    """gzip (RFC 1952), of one member or of several."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(_GZIP)
        self._held = b""
        self._begun = False

    @property
    def whole(self) -> bool:
        """Whether the last member came to its end, or nothing came at all."""
        return self._member.eof or not self._begun

    def feed(self, data: bytes) -> bytes:
        """Return what `data` adds to the body."""
        parts = []
        data, self._held = self._held + data, b""
        while data:
            if self._member.eof:
                if len(data) < 2 and _MAGIC.startswith(data):
                    self._held = data
                    break
                if not data.startswith(_MAGIC):
                    break  # padding after the last member
                self._member = zlib.decompressobj(_GZIP)
            self._begun = True
            parts.append(_decompress(self._member, data))
            data = self._member.unused_data
        return parts[0] if len(parts) == 1 else b"".join(parts)


class Deflate:
    """deflate: the zlib format (RFC 1950) or, as some servers send it, the bare one (RFC 1951)."""

    def __init__(self) -> None:
        self._stream: zlib._Decompress | None = None
        self._held = b""

    @property
    def whole(self) -> bool:
        return self._stream is None or self._stream.eof

    def feed(self, data: bytes) -> bytes:
        """Return what `data` adds to the body."""
        if self._stream is None:
            self._held += data
            if len(self._held) < 2:
                return b""
            data, self._held = self._held, b""
            has_header = data[0] & 0x0F == 8 and (data[0] << 8 | data[1]) % 31 == 0
            self._stream = zlib.decompressobj(zlib.MAX_WBITS if has_header else -zlib.MAX_WBITS)
        return b"" if self._stream.eof else _decompress(self._stream, data)


class Stacked:
    """Several encodings, the last applied first."""

    def __init__(self, decoders: list[Decoder]) -> None:
        self._decoders = decoders

    @property
    def whole(self) -> bool:
        return all(one.whole for one in self._decoders)

    def feed(self, data: bytes) -> bytes:
        for one in self._decoders:
            data = one.feed(data)
        return data


_DECODERS: Final[dict[str, type[Gzip] | type[Deflate]]] = {"gzip": Gzip, "x-gzip": Gzip, "deflate": Deflate}


def _decompress(stream: zlib._Decompress, data: bytes) -> bytes:
    try:
        out = stream.decompress(data, MOST_BYTES)
    except zlib.error as error:
        raise EncodingError(f"the encoded body is damaged: {error}") from error
    if stream.unconsumed_tail:
        raise EncodingError(f"{len(data)} encoded bytes grow beyond {MOST_BYTES >> 20} MiB")
    return out
