"""An instance that is not reached where it is asked says where it listens instead."""

from types import SimpleNamespace

import pytest

from tailrace.deploy import acceptance
from tailrace.deploy.edge import Address


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (["127.0.0.1:8000", "[::]:9000"], "listen on 127.0.0.1:8000, [::]:9000, and not on port 18001"),
        ([], "listen on no port yet"),
        (["0.0.0.0:18001"], ""),
        (None, ""),
    ],
    ids=["elsewhere", "nowhere", "there", "not known"],
)
def test_the_ports_of_an_instance_are_told_when_they_are_others(found, said):
    """Its own port, and an engine that cannot see, are the controls: nothing is said."""
    engine = SimpleNamespace(listening=lambda _: found)
    told = acceptance._listens(engine, SimpleNamespace(address=Address("127.0.0.1", 18001)))
    assert (said in told) if said else told == ""
