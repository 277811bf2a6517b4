"""The options of `tailrace simulate`."""

import subprocess
import sys


def test_the_help_does_not_import_the_simulator():
    """`--help` loads neither pydantic nor the parser. Running the simulator does, the control."""
    packages = ["pydantic", "httptools", "orjson"]
    for module, expected in (("command", []), ("process", packages)):
        program = f"import sys, tailrace.simulator.{module}; print([p for p in {packages} if p in sys.modules])"
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
        assert done.stdout.strip() == str(expected), module
