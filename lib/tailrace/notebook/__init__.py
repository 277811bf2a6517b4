"""What a notebook talks to: `begin` a step, then let it run, check, draw and finish."""

from tailrace.notebook.step import Step, begin

__all__ = ["Step", "begin"]
