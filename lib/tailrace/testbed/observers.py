"""What is sampled beside a load on a deployment: the machine by names, the edge by slot, the instances' own metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tailrace.deploy.edge import samples
from tailrace.host import processes
from tailrace.host.scrape import MetricsPage
from tailrace.testbed.stack import Stack

if TYPE_CHECKING:
    from tailrace.load.beside import Beside

EDGE_EVERY_S = 0.25


def beside(stack: Stack) -> list[Beside]:
    """Return what is sampled while users call the service of `stack` through its edge."""
    from tailrace.load import beside  # only here: it brings the load generator, which no other command needs

    admin = stack.deployment.edge.layout.admin.url
    edge = beside.Beside(samples.EDGE, lambda: samples.read(admin), EDGE_EVERY_S)
    own = [beside.server(lambda: pages(stack))] if stack.profile.service.metrics else []
    return [beside.machine(lambda: handles(stack)), edge, *own]


def pages(stack: Stack) -> dict[str, MetricsPage]:
    """Return where the service tells its metrics now, by colour: of each instance, or of all at one URL ("")."""
    service = stack.profile.service
    names = {str(measure): names for measure, names in service.metric_names.items()}
    if not service.metrics.startswith("/"):
        return {"": MetricsPage(service.metrics, names, service.headers)}
    urls = {instance.colour: instance.url for instance in stack.deployment.instances}
    return {colour: MetricsPage(url + service.metrics, names, service.headers) for colour, url in urls.items()}


def handles(stack: Stack) -> Mapping[str, str]:
    """Return the names of what runs for the deployment, by pid or by id of its container."""
    recorded = processes.records(stack.deployment.folder / "processes")
    named = {str(process.pid): process.name for process in recorded}
    return named or {instance.handle: instance.name for instance in stack.deployment.instances}
