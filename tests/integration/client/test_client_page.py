"""The client's page keeps its word: each example runs as it stands."""

import re
from pathlib import Path

import prometheus_client
import pytest

PAGE = Path(__file__).parents[3] / "runbook" / "procedures" / "client.md"
SECTIONS = {text.splitlines()[0]: text for text in re.split(r"^## ", PAGE.read_text(), flags=re.MULTILINE)[1:]}
EXAMPLES = [
    pytest.param(code, id=f"{name}-{number}")
    for name, text in SECTIONS.items()
    for number, code in enumerate(re.findall(r"```python\n(.*?)```", text, re.DOTALL))
]


@pytest.mark.parametrize("code", EXAMPLES)
def test_an_example_runs(simulator, key, monkeypatch, tmp_path, code):
    """Copied from the page and run against the simulator, it does what it asserts."""
    monkeypatch.setenv("OPENAI_API_KEY", key)
    monkeypatch.setenv("OPENAI_BASE_URL", simulator.url)
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", key)
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", simulator.url.removesuffix("/v1"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(prometheus_client.registry.REGISTRY, "register", lambda _: None)
    exec(compile(code, str(PAGE), "exec"), {"__name__": "example"})  # our own page


def test_every_section_has_an_example():
    """No section promises something without showing it; the benchmark is a command."""
    assert [name for name, text in SECTIONS.items() if "```python" not in text] == ["Benchmark"]


def test_every_public_name_is_on_the_page():
    """What can be imported from `tailrace` is explained."""
    import tailrace

    assert [name for name in tailrace.__all__ if not re.search(rf"\b{name}\b", PAGE.read_text())] == []
