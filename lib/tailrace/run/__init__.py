"""The folder of a run: its evidence, its events, and the scan for credentials."""
