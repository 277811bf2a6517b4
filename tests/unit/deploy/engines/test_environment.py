"""The variables of an instance: of its release, its slot and its identity, and secrets by the names that it knows."""

from tailrace.deploy import engines
from tailrace.deploy.engines import Slot
from tailrace.deploy.release import Release


def test_a_secret_gets_the_name_that_the_instance_knows(monkeypatch):
    """It comes from this process when the instance starts; one that is not set here is not there either."""
    monkeypatch.setenv("KEY", "pearl")
    monkeypatch.delenv("NONE", raising=False)
    release = Release("command", "1", ("serve",), {"SETTING": "1"}, False, {})
    slot = Slot("d", "blue", 1, {"PLACE": "here"}, {"ITS_KEY": "KEY", "OTHER": "NONE"})
    assert engines.environment(release, slot) == {"SETTING": "1", "PLACE": "here", "ITS_KEY": "pearl"}
    assert "pearl" not in repr((release, slot))
