"""The steps that notebooks are made of: `begin` one, then let it run loads, add checks, draw and finish."""

from tailrace.notebook.step import Step, begin

__all__ = ["Step", "begin"]
