"""A real edge exports the metrics that the alerts use."""

import re
from pathlib import Path

import yaml

from tailrace.host.http import exchange

RULES = Path(__file__).parents[3] / "runbook" / "monitoring" / "alerts.yaml"


def used():
    """Return each metric of the edge that a rule uses, with its matchers."""
    rules = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
    return {metric for rule in rules for metric in re.findall(r"\b(envoy_\w+)\{(.*?)\}", rule["expr"])}


def exports(text, name, matchers):
    """Whether a series of that name has these labels."""
    labels = re.findall(r'(\w+)="(\w+)"', matchers)
    return any(
        line.startswith(name + "{") and all(f'{label}="{value}"' in line for label, value in labels)
        for line in text.splitlines()
    )


def test_the_edge_exports_what_the_alerts_use(deployment, release):
    """Each metric is there, under the name and labels that the rules have; the negative control is not."""
    d = deployment()
    d.up(release(d))
    exchange(f"{d.url}/error")
    text = exchange(f"{d.edge.layout.admin.url}/stats/prometheus").body.decode()
    missing = [(name, matchers) for name, matchers in sorted(used()) if not exports(text, name, matchers)]
    assert used()
    assert missing == []
    assert not exports(text, "envoy_nothing", 'a="b"')
