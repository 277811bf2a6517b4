"""The docker engine: instances and the edge are hardened containers."""
