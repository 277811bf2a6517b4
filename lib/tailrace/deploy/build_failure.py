"""Why a build failed: it is broken, or this machine cannot build now.

The first is the fault of the source, and a finding (exit status 1). The second says nothing about the source: the
package index cannot be reached, or the disk is full. It could not run (exit status 3).
"""

from __future__ import annotations

import re
from typing import Final

from tailrace.errors import BuildFailed, PartMissing
from tailrace.host import excerpts

CAUSES: Final = (
    (
        r"invalid peer certificate|UnknownIssuer|CERTIFICATE_VERIFY_FAILED|certificate verify failed|SSLError",
        "the certificate of the package index is not trusted here; set SSL_CERT_FILE to the file with its authority. "
        "A timer or cron does not have the variables of your shell: name them there",
    ),
    (
        r"Failed to fetch|error sending request|Could not fetch URL|Max retries exceeded|NewConnectionError|dns error|"
        r"Temporary failure (in name resolution|resolving)|Could not resolve|Network is unreachable|"
        r"Connection (refused|timed out|reset)|operation timed out|ReadTimeoutError|HTTP status server error",
        "the package index cannot be reached from here; check the network, and set UV_DEFAULT_INDEX, HTTPS_PROXY and "
        "SSL_CERT_FILE as in the shell where it works (a timer or cron has none of them)",
    ),
    (
        r"network was disabled|not found in the cache|not found in the package registry|there (is|are) no version|"
        r"no wheels with a matching|No matching distribution found|were not found in the provided package locations",
        "a package of the lock is not to be had here; allow the network (UV_OFFLINE, UV_NO_INDEX), or add its wheel "
        "(UV_FIND_LINKS)",
    ),
    (r"No space left on device|Disk quota exceeded", "the disk is full; free some space (tailrace's is in .tailrace)"),
    (r"Read-only file system|Permission denied", "a folder cannot be written; make .tailrace and TMPDIR writable"),
)  # fmt: skip
"""What the tools print when the machine is the cause, and what to do about it; the first that is found counts."""


def error(subject: str, output: str) -> BuildFailed | PartMissing:
    """Return the error for a tool that ended with this output: PartMissing when the machine is the cause."""
    last = excerpts.of_text(output.strip(), 12)
    for pattern, advice in CAUSES:
        if re.search(pattern, last):
            return PartMissing(f"{subject} could not run: {advice}. The last lines:\n{last}")
    return BuildFailed(f"{subject}; its last lines:\n{last}")
