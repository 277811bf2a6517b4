"""What an operator is woken by: every alert has its page, every metric is exported, every command exists."""

import re
import shlex
from dataclasses import fields
from pathlib import Path

import click
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tailrace.cli import main
from tailrace.deploy.journal import JournalEntry
from tailrace.deploy.status import SlotStatus, Status
from tailrace.service.metrics import Metrics
from tailrace.service.settings import Settings

ROOT = Path(__file__).parents[2]
RULES = [
    rule
    for group in yaml.safe_load((ROOT / "runbook/monitoring/alerts.yaml").read_text())["groups"]
    for rule in group["rules"]
]
PAGES = sorted((ROOT / "runbook/alerts").glob("*.md"))
SECTIONS = ["Meaning", "Impact", "Diagnosis", "Mitigation"]
JQ = {field.name for kind in (Status, SlotStatus, JournalEntry) for field in fields(kind)} | {
    "because"
}  # the last: /readyz


def exported() -> dict[str, set[str]]:
    """Return the labels of every series that a service exports, by name."""
    metrics = Metrics(Settings(provider_url="http://127.0.0.1:9/v1", release="r", colour="blue"))
    metrics.count_response("/readyz", 200)
    families = text_string_to_metric_families(metrics.text().decode())
    return {sample.name: set(sample.labels) for family in families for sample in family.samples}


def unknown(expression: str) -> set[str]:
    """Return the metrics of the service, and the labels, that an expression uses and nobody exports."""
    known = exported()
    names = set(re.findall(r"\btailrace_\w+", expression))
    matched = re.findall(r"(\btailrace_\w+)\{(.*?)\}", expression)
    grouped = {label.strip() for labels in re.findall(r"\bby \((.*?)\)", expression) for label in labels.split(",")}
    labels = {label for name, matchers in matched for label in re.findall(r"(\w+)\s*[=!]", matchers)} | grouped
    exists = {"instance", "job"}.union(*(known.get(name, set()) for name in names))
    return (names - set(known)) | (labels - exists)


def commands(page: str) -> list[str]:
    """Return each `tailrace …` that can be copied from a page, in a block or in a line."""
    code = "\n".join(block or line for block, line in re.findall(r"```sh\n(.*?)```|`([^`\n]+)`", page, re.S))
    found = re.findall(r"\btailrace [a-z][^\n)|\"]*", code)
    return [command.strip() for command in found]


def parse(command: str) -> None:
    """Parse a command line as the program would, without running it; raises click.UsageError."""
    name, *arguments = shlex.split(command)[1:]
    found = main.get_command(click.Context(main), name)
    if found is None:
        raise click.UsageError(f"no command {name}")
    found.make_context(name, arguments)


def test_every_alert_has_its_page_and_every_page_its_alert():
    """The page is named like the alert, and the alert names the page."""
    assert sorted(rule["alert"] for rule in RULES) == [page.stem for page in PAGES]
    assert all(rule["annotations"]["runbook"] == f"runbook/alerts/{rule['alert']}.md" for rule in RULES)
    assert all(rule["labels"]["severity"] in ("critical", "warning") and rule["for"] for rule in RULES)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_says_what_it_means_and_what_to_do(page):
    """Four sections, about thirty lines, and a command in diagnosis and mitigation each."""
    text = page.read_text()
    assert re.findall(r"^# (.+)$", text, re.M) == [page.stem]
    assert re.findall(r"^## (.+)$", text, re.M) == SECTIONS
    assert 25 <= len(text.splitlines()) <= 45
    assert all("tailrace " in part for part in text.split("\n## ")[3:])


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_uses_what_the_service_exports(rule):
    """Its metrics and labels are in what `/metrics` answers; those of the edge are asked of an edge elsewhere."""
    assert not unknown(re.sub(r"envoy_\w+(\{.*?\})?", "", rule["expr"]))
    assert rule["expr"].count("(") == rule["expr"].count(")")


def test_a_metric_or_label_that_nobody_exports_is_noticed():
    """The negative control."""
    assert unknown('rate(tailrace_requests{route="/ask"}[5m])') == {"tailrace_requests", "route"}
    assert unknown('sum by (le) (rate(tailrace_requests_total{code="500"}[5m]))') == {"code", "le"}


@pytest.mark.parametrize("command", sorted({c for page in PAGES for c in commands(page.read_text())}))
def test_a_command_on_a_page_exists_with_its_options(command):
    """It can be copied, and the program takes it."""
    parse(command)


@pytest.mark.parametrize("command", ["tailrace restart", "tailrace resume --force"])
def test_a_command_that_does_not_exist_is_noticed(command):
    """The negative control."""
    assert commands(f"type:\n\n```sh\n{command}\n```\n") == commands(f"type `{command}`") == [command]
    with pytest.raises(click.UsageError):
        parse(command)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_jq_is_asked_for_is_there(page):
    """Its names are those of the status, of the journal and of `/readyz`."""
    asked = re.findall(r"jq (?:-r )?('[^']+'|\.\w+)", page.read_text())
    assert {name for text in asked for name in re.findall(r"\.(\w+)", text)} <= JQ


def test_limits_are_those_of_the_profile_they_are_for():
    """The alerts' numbers and the profile `production` say the same."""
    slo = yaml.safe_load((ROOT / "runbook/profiles/production.yaml").read_text())["slo"]
    limits = {rule["alert"]: rule["expr"] for rule in RULES}
    assert f"> {slo['percentiles_ms']['p99'] / 1e3:g}" in limits["LatencyBeyondSlo"]
    assert f"> {slo['error_rate']:g}" in limits["EdgeFailing"]
