"""A private network for each deployment, with fixed addresses: a restarted container keeps its own."""

from __future__ import annotations

import contextlib
import ipaddress
from typing import Any

import docker.errors
import docker.types

from tailrace.deploy.images import dockerd
from tailrace.errors import DeployError

GATEWAY = 1


def name(deployment: str) -> str:
    return f"tailrace-{deployment}"


def address(client: Any, deployment: str, host: int) -> str:
    """Return address number `host` of the network of `deployment`; create the network when there is none.

    Number 1 is the gateway: what this machine sends to a published port arrives from there.
    """
    subnet = ipaddress.ip_network(_ensure(client, deployment).attrs["IPAM"]["Config"][0]["Subnet"])
    return str(subnet[host])


def remove(client: Any, deployment: str) -> None:
    """Remove the network unless it is in use; that there is none is no error."""
    for network in client.networks.list(names=[name(deployment)]):
        if network.name == name(deployment):  # the engine's filter matches longer names, too
            with contextlib.suppress(docker.errors.APIError):
                network.remove()


def _ensure(client: Any, deployment: str) -> Any:
    with dockerd.translated(f"network {name(deployment)}"):
        for network in client.networks.list(names=[name(deployment)]):
            if network.name == name(deployment):
                network.reload()
                return network
        for subnet in ipaddress.ip_network("10.213.0.0/16").subnets(new_prefix=24):
            pool = docker.types.IPAMPool(subnet=str(subnet), gateway=str(subnet[GATEWAY]))
            try:
                created = client.networks.create(
                    name(deployment), ipam=docker.types.IPAMConfig(pool_configs=[pool]),
                    labels={"io.tailrace.deployment": deployment},
                )  # fmt: skip
            except docker.errors.APIError as error:
                if "overlap" not in str(error):
                    raise
                continue
            created.reload()
            return created
    raise DeployError(f"network {name(deployment)}: no free subnet in 10.213.0.0/16; see docker network ls")
