"""Alerts agree with the rest: each has its page, its metrics are exported, the commands on its page exist."""

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
READYZ_FIELDS = {"because"}
JQ_NAMES = READYZ_FIELDS | {field.name for kind in (Status, SlotStatus, JournalEntry) for field in fields(kind)}


def exported() -> dict[str, set[str]]:
    """Return the labels of every series that a service exports, by name."""
    metrics = Metrics(Settings(provider_url="http://127.0.0.1:9/v1", release="r", colour="blue"))
    metrics.count_response("/readyz", 200)
    families = text_string_to_metric_families(metrics.text().decode())
    return {sample.name: set(sample.labels) for family in families for sample in family.samples}


def unknown(expression: str) -> set[str]:
    """Return the metrics and labels of the service that an expression uses and the service does not export."""
    known = exported()
    names = set(re.findall(r"\btailrace_\w+", expression))
    matched = re.findall(r"(\btailrace_\w+)\{(.*?)\}", expression)
    grouped = {label.strip() for labels in re.findall(r"\bby \((.*?)\)", expression) for label in labels.split(",")}
    labels = {label for name, matchers in matched for label in re.findall(r"(\w+)\s*[=!]", matchers)} | grouped
    exists = {"instance", "job"}.union(*(known.get(name, set()) for name in names))
    return (names - set(known)) | (labels - exists)


def commands(page: str) -> list[str]:
    """Return each `tailrace …` command of a page, in a block or in a line."""
    code = "\n".join(block or line for block, line in re.findall(r"```sh\n(.*?)```|`([^`\n]+)`", page, re.S))
    return [command.strip() for command in re.findall(r"\btailrace [a-z][^\n)|\"]*", code)]


def parse(command: str) -> None:
    """Parse a command line as the program does, without running it; raise click.UsageError when it cannot be parsed."""
    name, *arguments = shlex.split(command)[1:]
    command_of_name = main.get_command(click.Context(main), name)
    if command_of_name is None:
        raise click.UsageError(f"no command {name}")
    command_of_name.make_context(name, arguments)


def test_every_alert_has_its_page_and_every_page_its_alert():
    """The page is named like the alert, and the alert names the page."""
    assert sorted(rule["alert"] for rule in RULES) == [page.stem for page in PAGES]
    assert all(rule["annotations"]["runbook"] == f"runbook/alerts/{rule['alert']}.md" for rule in RULES)
    assert all(rule["labels"]["severity"] in ("critical", "warning") and rule["for"] for rule in RULES)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_has_its_sections_and_commands(page):
    """It has the four sections, about thirty lines, and a command in Diagnosis and in Mitigation."""
    text = page.read_text()
    assert re.findall(r"^# (.+)$", text, re.M) == [page.stem]
    assert re.findall(r"^## (.+)$", text, re.M) == SECTIONS
    assert 25 <= len(text.splitlines()) <= 45
    assert all("tailrace " in part for part in text.split("\n## ")[3:])


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_uses_what_the_service_exports(rule):
    """The service exports its metrics and labels; those of the edge are tested with a real edge elsewhere."""
    assert not unknown(re.sub(r"envoy_\w+(\{.*?\})?", "", rule["expr"]))
    assert rule["expr"].count("(") == rule["expr"].count(")")


def test_a_metric_or_label_that_is_not_exported_is_noticed():
    """Negative control: a misspelt metric and an unknown label are named."""
    assert unknown('rate(tailrace_requests{route="/ask"}[5m])') == {"tailrace_requests", "route"}
    assert unknown('sum by (le) (rate(tailrace_requests_total{code="500"}[5m]))') == {"code", "le"}


@pytest.mark.parametrize("command", sorted({c for page in PAGES for c in commands(page.read_text())}))
def test_a_command_on_a_page_exists_with_its_options(command):
    """The program accepts the command as it stands on the page."""
    parse(command)


@pytest.mark.parametrize("command", ["tailrace reboot", "tailrace resume --force"])
def test_a_command_that_does_not_exist_is_noticed(command):
    """Negative control: an unknown verb and an unknown option are refused."""
    assert commands(f"type:\n\n```sh\n{command}\n```\n") == commands(f"type `{command}`") == [command]
    with pytest.raises(click.UsageError):
        parse(command)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_jq_filter_uses_existing_names(page):
    """Its names are fields of the status, of the journal or of `/readyz`."""
    filters = re.findall(r"jq (?:-r )?('[^']+'|\.\w+)", page.read_text())
    assert {name for text in filters for name in re.findall(r"\.(\w+)", text)} <= JQ_NAMES


def test_limits_are_those_of_the_profile_they_are_for():
    """The limits in the alerts equal those of the profile `production`."""
    slo = yaml.safe_load((ROOT / "runbook/profiles/production.yaml").read_text())["slo"]
    limits = {rule["alert"]: rule["expr"] for rule in RULES}
    assert f"> {slo['latency_ms']['p99'] / 1e3:g}" in limits["LatencyBeyondSlo"]
    assert f"> {slo['error_rate']:g}" in limits["EdgeFailing"]
