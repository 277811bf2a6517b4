"""`python -m tailrace.simulator` is `tailrace simulate`."""

from tailrace.simulator.command import simulate

if __name__ == "__main__":
    simulate(prog_name="python -m tailrace.simulator")
