"""The embedded engine: instances and the edge are detached processes of this machine."""
