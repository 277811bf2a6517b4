"""The drivers carry out the effects that the policy yields: one with `await`, one by blocking a thread."""

from tailrace.client.drivers.asynchronous import AsyncDriver
from tailrace.client.drivers.threads import Driver

__all__ = ["AsyncDriver", "Driver"]
