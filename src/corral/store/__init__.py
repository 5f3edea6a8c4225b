"""Apache ZooKeeper's transaction logs and snapshots: formats, recovery and retention, as cores."""
