"""The options of `tailrace serve`."""

import subprocess
import sys


def test_the_help_does_not_import_the_client() -> None:
    """`--help` loads neither the SDK nor the server: they take a second. Running the service does, the control."""
    packages = ["openai", "aiohttp", "pydantic", "uvicorn"]
    for module, expected in (("command", []), ("process", packages)):
        program = f"import sys, tailrace.service.{module}; print([p for p in {packages} if p in sys.modules])"
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
        assert done.stdout.strip() == str(expected), module
