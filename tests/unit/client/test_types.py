"""The SDK's types hold for our clients."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parent / "typed" / "client_example.py"


def checked(path, root):
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", str(path)]
    return subprocess.run(command, capture_output=True, text=True, cwd=root, check=False)


def test_the_typed_example_holds(root):
    """Every call through our clients has the SDK's type."""
    answer = checked(EXAMPLE, root)
    assert answer.returncode == 0, answer.stdout


WRONG = [
    ('model="m", messages=[], stream=True)', 'model=7, messages=[], stream=True)', "call-overload"),
    ("timeout=20)", 'timeout="soon")', "arg-type"),
    ("policy=policy, base", "polcy=policy, base", "call-arg"),
]  # fmt: skip


def test_a_wrong_example_does_not_hold(root, tmp_path):
    """Negative control: mypy reports wrong arguments to the call, to the client and to the SDK."""
    text = EXAMPLE.read_text()
    for right, wrong, _ in WRONG:
        assert right in text
        text = text.replace(right, wrong, 1)
    wrong_example = tmp_path / "wrong_client_example.py"
    wrong_example.write_text(text)
    answer = checked(wrong_example, root)
    assert answer.returncode == 1
    assert all(f"[{code}]" in answer.stdout for *_, code in WRONG), answer.stdout


def test_the_public_names_are_sorted_and_there(root):
    """Every name in `__all__` can be imported, and both lists are sorted."""
    import tailrace
    import tailrace.client

    for module in (tailrace, tailrace.client):
        assert list(module.__all__) == sorted(module.__all__)
        assert all(hasattr(module, name) for name in module.__all__)
    assert set(tailrace.__all__) <= set(tailrace.client.__all__)
    with pytest.raises(AttributeError, match="nonsense"):
        tailrace.nonsense  # noqa: B018


def test_importing_is_light(root):
    """`import tailrace` loads no SDK; the client loads no pandas and no extra."""
    heavy = ["openai", "pandas", "numpy", "redis", "prometheus_client", "opentelemetry", "yaml"]
    code = "import sys, tailrace\nfirst = 'openai' in sys.modules\nimport tailrace.client\n"
    code += f"print(first, [name for name in {heavy[1:]} if name in sys.modules])"
    answer = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False []"
