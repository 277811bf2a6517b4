"""The provider: found again when it runs, broken and repaired, and a real one left alone."""

import urllib.error
import urllib.request

import pytest

from tailrace import profile
from tailrace.deploy.engines import choice
from tailrace.errors import TailraceError
from tailrace.host import processes
from tailrace.testbed import provider as providers

FAST = profile.Simulator(ttft_s=0.001, token_s=0.0)


@pytest.fixture
def simulator(tmp_path):
    """Bring up the simulator of a name beside a deployment that is called test; all end with the test."""
    engine = choice.create(profile.Profile(name="test"), tmp_path)
    yield lambda name="provider": providers.simulated(FAST, engine, "test", name)
    engine.clear("test")
    assert engine.sweep("test") == []


def models(provider) -> int:
    try:
        return urllib.request.urlopen(provider.url + "/models", timeout=60).status
    except urllib.error.HTTPError as error:
        return error.code


def test_a_simulator_that_runs_is_found_again(simulator):
    """It keeps its address; another name is another simulator."""
    first, again = (simulator() for _ in range(2))
    other = simulator("spare")
    assert again.url == first.url != other.url


def test_a_simulator_that_died_is_started_anew(simulator, tmp_path):
    """The address of the dead one, which its record still holds, is not taken for the new one's."""
    dead = simulator()
    (process,) = processes.recorded(tmp_path / "test" / "processes")
    processes.end(process, 2.0)
    assert dead.simulated
    assert models(simulator()) == 200


def test_what_is_broken_is_repaired_at_the_end_of_the_block(simulator):
    """Also when the block fails."""
    provider = simulator()
    assert models(provider) == 200
    broken = provider.broken({"kind": "outage"})
    broken.__enter__()
    assert models(provider) == 503
    with pytest.raises(RuntimeError):
        broken.gen.throw(RuntimeError())
    assert models(provider) == 200


def test_a_fault_that_does_not_exist_is_refused(simulator):
    """The error holds the simulator's answer."""
    provider = simulator()
    with pytest.raises(TailraceError, match="400"):
        provider.inject({"kind": "earthquake"})


def test_a_real_provider_is_never_broken():
    """Faults can be injected into a simulator only."""
    provider = providers.real(profile.ProviderSettings(base_url="http://127.0.0.1:9/v1"))
    assert not provider.simulated
    with pytest.raises(TailraceError, match="a real one"), provider.broken({"kind": "outage"}):
        pass
