"""The acknowledgement of a generation: what comes just before the limit counts, and what is said is what was seen."""

import time
from pathlib import Path

import pytest

from tailrace.deploy.edge import Address, Edge, Layout, proxy
from tailrace.errors import EdgeRejected
from tailrace.headers import GENERATION
from tailrace.host.http import Answer
from tailrace.profile import Health

LIMIT_S = 0.05


class Late(Edge):
    """An edge that answers with the next generation once `after_s` have passed; a look at it takes `look_s`."""

    def asked_for(self, after_s: float, look_s: float) -> Edge:
        began = time.monotonic()
        generations: list[str] = []

        def probe(health: Health | None = None) -> Answer:
            time.sleep(look_s)
            generations.append("6" if time.monotonic() - began >= after_s else "5")
            return Answer(200, {GENERATION: generations[-1]}, b"", 0.0)

        object.__setattr__(self, "probe", probe)
        object.__setattr__(self, "generations", generations)
        return self


@pytest.fixture
def edge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Late:
    monkeypatch.setattr(proxy.counters, "rejection", lambda *_: "")
    nowhere = Address("127.0.0.1", 1)
    return Late(tmp_path, None, Layout(nowhere, nowhere, nowhere, nowhere, nowhere, str(tmp_path)))  # type: ignore[arg-type]


@pytest.mark.parametrize("look_s", [0.0, LIMIT_S / 3, LIMIT_S, 3 * LIMIT_S])
def test_an_acknowledgement_at_the_limit_counts(edge, look_s):
    """However long a look takes on a busy machine: no way back is given up over the last one."""
    answer = edge.asked_for(LIMIT_S, look_s).await_generation(6, LIMIT_S, Health())
    assert answer.headers[GENERATION] == "6"


def test_what_does_not_come_is_said_as_it_was_seen(edge):
    """Negative control: the message has the generation of the last look, and never the one that was waited for."""
    with pytest.raises(EdgeRejected, match=r"generation 6 within 0\.05 s: it still answers with generation 5"):
        edge.asked_for(3600, 0.0).await_generation(6, LIMIT_S, Health())
