"""Stores of answers. A store holds entries by key; the policy decides whether one may be used."""

from tailrace.client.stores.entry import Entry, Store
from tailrace.client.stores.memory import Memory
from tailrace.client.stores.sqlite import Sqlite

__all__ = ["Entry", "Memory", "Sqlite", "Store"]
