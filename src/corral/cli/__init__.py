"""The command line."""

from __future__ import annotations

from typing import Final

INTERRUPTED: Final = 130
"""The exit code of what was stopped by Ctrl-C."""
