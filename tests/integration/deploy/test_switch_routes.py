"""The route file and the edge that reads it: hanging, refusing it, or finding it damaged, under load."""

import dataclasses
import time

import psutil
import pytest

from tailrace.errors import DeployError, EdgeRejected
from tailrace.host import processes


@pytest.mark.fault(
    "edge hangs at the commit",
    "nothing while it hangs, then what the route file says; no request fails",
    "an error: the edge did not acknowledge; `status`: stopped half-way",
    "`resume`, which ends on the old colour",
)
def test_an_edge_that_does_not_acknowledge_the_commit_leaves_the_old_colour(deployment, release, load):
    """Whoever asks meanwhile waits; afterwards one colour serves, the one that was proved."""
    d = deployment(ack_timeout_s=1)
    d.up(release(d))
    with load(d.url, streams=0) as traffic:
        (envoy,) = psutil.Process(processes.find(d.folder / "processes", "edge").pid).children()

        def hang(point: str) -> None:
            if point == "routes:rename:before":
                envoy.suspend()

        try:
            with pytest.raises(DeployError, match=r"did not acknowledge generation 3(?s:.*)`resume` finishes"):
                dataclasses.replace(d, fault=hang).switch(release(d, name="second"))
        finally:
            envoy.resume()
        assert d.resume().state == "rolled back"
    assert traffic.failed == 0
    assert d.edge.routes().weights == {d.serving.colour: 100} == {"blue": 100}
    assert len(d.instances) == 1


@pytest.mark.fault(
    "route file rejected by the edge",
    "the old colour",
    "an error with the edge's reason; deploys are refused",
    "`resume`: the file is written anew, and the old colour stays",
)
def test_a_rejected_route_file_leaves_the_old_colour(deployment, release, load):
    """Here the file is spoilt on its way: it names a colour that the edge does not know."""
    d = deployment(ack_timeout_s=1)
    d.up(release(d))

    def spoil(point: str) -> None:
        if point == "routes:rename:before":
            (written,) = d.edge.folder.glob(".routes.yaml.*.new")
            written.write_text(written.read_text().replace("name: green", "name: purple"))

    with load(d.url) as traffic:
        with pytest.raises(DeployError, match=r"did not acknowledge generation 3(?s:.*)purple"):
            dataclasses.replace(d, fault=spoil).switch(release(d, name="second"))
        assert {colour for _, _, colour in traffic.answers} == {"blue"}
        assert d.resume().state == "rolled back"
    assert traffic.failed == 0
    assert d.edge.routes().weights == {d.serving.colour: 100} == {"blue": 100}
    assert len(d.instances) == 1


@pytest.mark.fault(
    "route file damaged",
    "what the running edge had",
    "deploys are refused, with the file's name",
    "`resume` writes it anew from the journal",
)
def test_a_damaged_route_file_is_ignored_and_then_mended(deployment, release, load):
    """The running edge keeps its routes; resume writes the file anew, from the journal."""
    d = deployment()
    d.up(release(d))
    with load(d.url) as traffic:
        time.sleep(0.3)
        damaged = d.edge.folder / "damaged"
        damaged.write_text("resources: [")
        damaged.rename(d.edge.folder / "routes.yaml")
        time.sleep(0.3)
        with pytest.raises(EdgeRejected, match="is not a route file"):
            d.switch(release(d, name="second"))
        assert "is not a route file" in d.status().damaged
        assert d.resume().fact == "the route file was damaged; it names blue again"
        d.switch(release(d, name="second"))
    assert traffic.failed == 0
