"""An OpenAI-compatible provider that is not one: deterministic answers, lognormal latency, scripted faults.

    tailrace simulate --port 8100 --fault kind=rate_limit,probability=0.02

Answers depend on the whole request, credential included, so that a wrong cache hit is visible. Nothing here
understands a prompt, and token counts are an estimate (`tailrace.simulator.tokens`).
"""

from tailrace.simulator.faults import Fault
from tailrace.simulator.latency import Latency
from tailrace.simulator.server import Server, listening
from tailrace.simulator.settings import Settings

__all__ = ["Fault", "Latency", "Server", "Settings", "listening"]
