"""What belongs to the machine: processes, ports, locks, files that are replaced whole, and waiting."""
