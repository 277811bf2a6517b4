"""Free ports on loopback, and who listens where."""

from __future__ import annotations

import contextlib
import random
import socket
from collections.abc import Iterable

from tailrace.errors import StartFailed

# Below the range from which the kernel takes the ports of outgoing connections: under load, a port from that range
# may be taken between choosing it and listening on it.
CHOICE = range(18_000, 32_000)


def free(host: str = "127.0.0.1", taken: frozenset[int] = frozenset(), chance: random.Random | None = None) -> int:
    """Return a port that is free and not in `taken`; raises StartFailed after 200 tries."""
    chance = chance or random.Random()
    for port in chance.sample(CHOICE, 200):
        if port not in taken and is_free(host, port):
            return port
    raise StartFailed(f"no free port on {host} in {CHOICE.start}–{CHOICE.stop - 1} after 200 tries; see `ss -ltn`")


def is_free(host: str, port: int) -> bool:
    """Return whether a server could listen on `port` of `host` now."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as candidate:
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            candidate.bind((host, port))
        except OSError:
            return False
    return True


def listening(pids: Iterable[int]) -> list[str]:
    """Return the TCP addresses on which these processes listen, as "127.0.0.1:8080", each once."""
    import psutil  # only here: it takes a while to import

    found: dict[str, None] = {}
    for pid in pids:
        with contextlib.suppress(psutil.Error, OSError):
            for one in psutil.Process(pid).net_connections(kind="tcp"):
                if one.status == psutil.CONN_LISTEN:
                    host = f"[{one.laddr.ip}]" if ":" in one.laddr.ip else one.laddr.ip
                    found[f"{host}:{one.laddr.port}"] = None
    return list(found)
