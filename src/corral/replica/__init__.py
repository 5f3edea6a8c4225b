"""One server, whole, as a deterministic core."""
