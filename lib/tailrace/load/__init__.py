"""The load generator: open-loop traffic from processes of its own, with a record of every request.

Choose when requests are sent (`arrivals`) and which (`Workload`), put both into a `Traffic`, and `run` or `start` it.
"""

from tailrace.load import arrivals, calibration, corpus, rate_search, rehearsal, sessions, traces
from tailrace.load.arrivals import Schedule, Users
from tailrace.load.driver import LoadRun, prepare, run, start
from tailrace.load.live import LoadSnapshot
from tailrace.load.outcome import RequestOutcome
from tailrace.load.summary import Summary
from tailrace.load.traces import Trace
from tailrace.load.traffic import Traffic
from tailrace.load.workload import Weighted, Workload

__all__ = [
    "LoadRun",
    "LoadSnapshot",
    "RequestOutcome",
    "Schedule",
    "Summary",
    "Trace",
    "Traffic",
    "Users",
    "Weighted",
    "Workload",
    "arrivals",
    "calibration",
    "corpus",
    "prepare",
    "rate_search",
    "rehearsal",
    "run",
    "sessions",
    "start",
    "traces",
]
