"""A simulated provider that the tests of one module share."""

import pytest

from tailrace import profile
from tailrace.deploy.engines import choice
from tailrace.testbed import provider as providers


@pytest.fixture(scope="module")
def provider(tmp_path_factory):
    """A running simulator that answers at once; it ends with the module."""
    engine = choice.create(profile.Profile(name="test"), tmp_path_factory.mktemp("home"))
    yield providers.simulated(profile.Simulator(ttft_s=0.001, token_s=0.0), engine, "test", "provider")
    engine.clear("test")
