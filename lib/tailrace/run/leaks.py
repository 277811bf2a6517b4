"""Scans the files of a run, and of a deployment, for credentials; reports them by file and kind, never by value.

Text files are read as they are; of Parquet files, which are compressed, the distinct values of the text columns.
A leak is anything that looks like a credential (`tailrace.credentials`), or the value of a secret that is known, in any
form (`tailrace.masking`). The scan is bounded, and says what it left out.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from tailrace import credentials, masking
from tailrace.errors import LeakFound
from tailrace.host import files
from tailrace.masking import Mask
from tailrace.profile import Profile

FILE_BYTES: Final = 64 << 20
"""Of a larger file the beginning and the end are read, half of this each; a larger Parquet file is left out."""
TOTAL_BYTES: Final = 512 << 20
"""The files beyond this are left out; the smallest are read first, so that one huge log hides no other file."""
PIECE: Final = 1 << 20
OVERLAP: Final = 8 << 10
"""Characters of a piece that are read again with the next one: a longer credential is found by its beginning."""


class Leak(NamedTuple):
    """The place of a credential, without its text."""

    file: str  # relative to the folder that was scanned
    kind: str


@dataclass
class Scan:
    """What a scan has found, how many files it has read, and which it has left out, wholly or in part."""

    leaks: list[Leak] = field(default_factory=list)
    read: int = 0
    left_out: list[str] = field(default_factory=list)

    @property
    def limits(self) -> str:
        """What was left out and why; "" when all was read."""
        if not self.left_out:
            return ""
        more = f" and {len(self.left_out) - 3} more" if len(self.left_out) > 3 else ""
        limits = f"{FILE_BYTES >> 20} MiB of a file, {TOTAL_BYTES >> 20} MiB in all"
        return f"not read whole: {', '.join(self.left_out[:3])}{more} (limits: {limits})"


def secrets(profile: Profile, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the secrets that `profile` names and `environment` holds, by name."""
    return masking.known(environment, profile.secret_names, all_=False)


def read(folder: Path, known: Mapping[str, str] | None = None, only: Iterable[Path] | None = None) -> Scan:
    """Scan all files below `folder`, or those of `only`; `known` are secrets by name."""
    mask, scan, total = Mask.of(known or {}), Scan(), 0
    for size, file in _by_size(folder.rglob("*") if only is None else only):
        name = str(file.relative_to(folder))
        if size > FILE_BYTES:
            scan.left_out.append(name)
        if total > TOTAL_BYTES or (size > FILE_BYTES and file.suffix == ".parquet"):
            scan.left_out += [] if size > FILE_BYTES else [name]
            continue
        total += min(size, FILE_BYTES)
        scan.read += 1
        try:
            scan.leaks += dict.fromkeys(Leak(name, kind) for text in _texts(file) for kind in _kinds(text, mask))
        except ValueError:  # a Parquet file that is damaged: nobody can tell what is in it
            scan.left_out.append(name)
    scan.leaks.sort()
    return scan


def scan(folder: Path, known: Mapping[str, str] | None = None, only: Iterable[Path] | None = None) -> list[Leak]:
    """Return the leaks in all files below `folder`, or in those of `only`; `known` are secrets by name."""
    return read(folder, known, only).leaks


def require_none(folder: Path, known: Mapping[str, str] | None = None, only: Iterable[Path] | None = None) -> Scan:
    """Return the scan; raise LeakFound, with the file and kind of each leak, when it finds any.

    The text files in which a leak was found are masked: what is left there afterwards may be kept.
    """
    found = read(folder, known, only)
    if leaks := found.leaks:
        mask = Mask.of(known or {})
        masked = [mask_file(folder / name, mask) for name in dict.fromkeys(leak.file for leak in leaks)]
        now = "they are masked there now" if all(masked) else "do not share this run"
        raise LeakFound(f"{folder.name}: credentials in {_named(leaks)}. Revoke them; {now}")
    return found


def require_none_in_state(folder: Path, known: Mapping[str, str], since: float = 0.0) -> Scan:
    """Scan what a deployment keeps in its `folder`: journal, releases, and the logs of what it runs.

    Raises LeakFound, as `require_none`; the files are left as they are, because processes write into them. The edge's
    own configuration is left out: it may hold the private key of its TLS. So are files that were not written to since
    the Unix time `since`.
    """
    found = read(folder, known, [file for file in folder.rglob("*") if _belongs(file, folder, since)])
    if leaks := found.leaks:
        raise LeakFound(
            f"{folder}: credentials in {_named(leaks)}. Revoke them, have their writer leave them out, and delete it"
        )
    return found


def _named(leaks: Iterable[Leak]) -> str:
    """Return the first files with a leak, each with its first kind, and how many more there are of both."""
    kinds: dict[str, list[str]] = {}
    for leak in leaks:
        kinds.setdefault(leak.file, []).append(leak.kind)
    named = [f"{file}: {of[0]}{f' and {len(of) - 1} others' if len(of) > 1 else ''}" for file, of in kinds.items()]
    return "; ".join(named[:5]) + (f" and {len(named) - 5} more files" if len(named) > 5 else "")


def _belongs(file: Path, folder: Path, since: float) -> bool:
    try:
        return file.parent != folder / "edge" and file.lstat().st_mtime >= since
    except OSError:
        return False  # it is gone


def mask_file(file: Path, mask: Mask) -> bool:
    """Replace a text file by its masked text, and return whether that was done.

    It is not of Parquet, huge and binary files, nor of a document that is damaged.
    """
    try:
        if file.suffix == ".parquet" or file.stat().st_size > FILE_BYTES:
            return False
        text = file.read_bytes().decode("utf-8")
        if file.suffix == ".jsonl":
            masked = "".join(f"{_masked_json(line, mask)}\n" for line in text.splitlines())
        elif file.suffix in (".json", ".ipynb"):
            masked = _masked_json(text, mask, indent=1) + "\n"
        else:
            masked = mask(text)
        files.replace(file, masked)
    except (OSError, ValueError):
        return False
    return True


def _masked_json(text: str, mask: Mask, indent: int | None = None) -> str:
    return json.dumps(mask.document(json.loads(text)), ensure_ascii=False, indent=indent)


def _by_size(found: Iterable[Path]) -> list[tuple[int, Path]]:
    """Return the regular files with their sizes, the smallest first."""
    sized = []
    for file in found:
        try:
            if file.is_file() and not file.is_symlink():
                sized.append((file.stat().st_size, file))
        except OSError:
            continue
    return sorted(sized)


def _kinds(text: str, mask: Mask) -> Iterator[str]:
    yield from (finding.kind for finding in credentials.find(text))
    yield from (f"value of {name}" for name in mask.named_in(text))


def _texts(file: Path) -> Iterator[str]:
    if file.suffix == ".parquet":
        yield "\n".join(_strings(file))
        return
    try:
        with file.open("rb") as content:
            size = content.seek(0, 2)
            half = FILE_BYTES // 2
            for begin, end in [(0, size)] if size <= FILE_BYTES else [(0, half), (size - half, size)]:
                content.seek(begin)
                yield from _pieces(_blocks(content, end))
    except OSError:
        return  # rotated away, or ended meanwhile


def _blocks(content: BinaryIO, end: int) -> Iterator[bytes]:
    """Yield what is in the file from where it stands up to `end`."""
    while block := content.read(min(PIECE, end - content.tell())):
        yield block


def _pieces(blocks: Iterable[bytes]) -> Iterator[str]:
    """Yield the text of `blocks` in pieces that overlap."""
    decoder, held = codecs.getincrementaldecoder("utf-8")("replace"), ""
    for block in blocks:
        text = held + decoder.decode(block)
        yield text
        held = text[-OVERLAP:]


def _strings(file: Path) -> Iterator[str]:
    """Yield the distinct values of every text column, and the names and metadata of the schema."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    table = pq.read_table(file)
    yield str(table.schema)
    for name in table.column_names:
        column = table.column(name)
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            yield from (value for value in pc.unique(column).to_pylist() if value)
        elif pa.types.is_nested(column.type) or pa.types.is_binary(column.type):
            yield str(column.to_pylist())
