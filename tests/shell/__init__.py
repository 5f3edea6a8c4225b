"""Whole servers with real sockets and disks: few, and only where those are the point."""
